"""`--size B=8`: sizes of symbols on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

__all__ = ["check_sizes", "sizes_of"]


def sizes_of(given: Sequence[str]) -> dict[str, int]:
    """What `--size B=8` says of symbols."""
    found: dict[str, int] = {}
    for text in given:
        name, _, size = text.partition("=")
        if not size.isdigit():
            raise click.UsageError(f"--size {text}: expected SYMBOL=N")
        found[name] = int(size)
    return found


def check_sizes(given: Mapping[str, int], used: Iterable[str]) -> None:
    """Refuse the size of a symbol that there is not."""
    names = list(used)
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise click.UsageError(
            f"--size: no symbol is named {unknown}; there are {', '.join(names) or 'none'}"
        )
