"""``nervure trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import print_text


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write FILE.nv instead of printing.")
@click.option("--data/--no-data", default=True, help="Whether -o writes the weights beside it.")
def command(model: str, types: tuple[str, ...], init: Any, output: Path | None, data: bool) -> None:
    """Trace MODEL into a program, and print it or write it to a file."""
    from ..ir.text import print_program, save
    from .output import write_file

    program = program_of(model, types, init)
    if output is None:
        print_text(print_program(program))
    elif data:
        save(program, output)
    else:
        write_file(output, print_program(program))
