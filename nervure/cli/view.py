"""``nervure view``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .options import level_option
from .output import json_option, print_json, write_file


@click.command()
@model_options
@click.option("--backend", default="llvm", show_default=True)
@level_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="FILE.html, .svg, .dot or .mmd; NAME.html if not given.",
)
@json_option
def command(
    model: str,
    types: tuple[str, ...],
    init: Any,
    backend: str,
    level: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show MODEL as one page without a network: what each pass changed, the graph, kernels and code; or as a picture.

    \b
    nervure view lenet
    nervure view vgg -o vgg.svg
    """
    from ..ir.errors import InputError
    from ..view import dot, mermaid, page, svg

    program = program_of(model, types, init)
    target = output if output is not None else Path(f"{program.name}.html")
    match target.suffix:
        case ".html":
            text = page(program, backend=backend, level=level)
        case ".svg":
            text = svg(program.main)
        case ".dot":
            text = dot(program.main)
        case ".mmd":
            text = mermaid(program.main)
        case ending:
            raise InputError(
                f"{target}: {ending or 'no ending'} is no picture", hint=".html, .svg, .dot or .mmd"
            )
    write_file(target, text)
    if as_json:
        print_json({"file": str(target), "kind": target.suffix[1:], "bytes": len(text.encode())})
    elif output is None:
        click.echo(f"wrote {target}")
