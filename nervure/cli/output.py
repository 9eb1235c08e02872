"""How commands print: text, coloured on a terminal alone; tables; JSON; files that are whole or absent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

__all__ = ["check_target", "coloured", "json_option", "print_json", "print_table", "print_text", "write_file"]

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """The option ``--json``, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def coloured() -> bool:
    """Whether standard output is a terminal that wants colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def print_json(value: Any) -> None:
    """One JSON document; numbers that JSON lacks are null."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast(list[Any], value)]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def print_text(text: str) -> None:
    """A program or another dump; coloured on a terminal."""
    if not coloured():
        click.echo(text, nl=not text.endswith("\n"))
        return
    from rich.console import Console
    from rich.highlighter import RegexHighlighter
    from rich.theme import Theme

    class Marks(RegexHighlighter):
        base_style = "nv."
        highlights = [
            r"(?P<entry>@[\w.\-]+)",
            r"(?P<value>%[\w.\-]+)",
            r"(?P<type>\b(f64|f32|f16|bf16|i64|i32|i16|i8|u64|u32|u16|u8|bool)\[[^\]]*\])",
            r'(?P<origin>@ ".*)$',
        ]

    theme = Theme({"nv.entry": "magenta", "nv.value": "cyan", "nv.type": "green", "nv.origin": "dim"})
    console = Console(theme=theme, highlighter=Marks(), soft_wrap=True)
    for line in text.splitlines():
        console.print(line, markup=False, emoji=False)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Aligned columns; those of `right` to the right. Rules and bold heads on a terminal alone."""
    if coloured():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False)
        for k, name in enumerate(head):
            table.add_column(Text(name), justify="right" if k in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]
    for row in (head, *rows):
        cells = [
            c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def check_target(path: Path | None) -> None:
    """Refuse an output path that cannot be written, before the work whose result it is for.

    Raises:
        InputError: its folder is missing, is none, or may not be written
    """
    from ..ir.errors import InputError, reason_of

    if path is None:
        return
    reason = None
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = reason_of(FileNotFoundError(), path)
    elif not os.access(path.parent, os.W_OK):
        reason = "permission denied"
    if reason is not None:
        raise InputError(f"cannot write {path}: {reason}", code="NV0304")


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file so that it is either as before or complete.

    Raises:
        InputError: it cannot be written
    """
    from ..ir.text.files import write_atomically

    write_atomically(path, content.encode() if isinstance(content, str) else content)
