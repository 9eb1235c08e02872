"""``nervure trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, print_text


@click.command()
@model_options
@click.option("--input", "inputs", multiple=True, metavar="NAME=TYPE", help="The same as --type.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write FILE.nv instead of printing.")
@click.option("--data/--no-data", default=True, help="Whether -o writes the weights beside it.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], output: Path | None, data: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Trace MODEL into a program, and print it or write it to a file.

    \b
    nervure trace lenet
    nervure trace net.py:Net --type 'x=f32[B,784]' -o net.nv
    """
    from ..ir.text import print_program, save
    from .output import write_file

    program = program_of(model, (*types, *inputs), init)
    if output is not None and data:
        save(program, output)
    elif output is not None:
        write_file(output, print_program(program))
    if as_json:
        from ..inspect.outline import outline

        text = print_program(program) if output is None else None
        print_json({**outline(program), "file": None if output is None else str(output), "program": text})
    elif output is None:
        print_text(print_program(program))
