"""``nervure compile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import print_text, write_file

STAGES = ("ir", "kernels", "plan", "llvm", "asm", "obj", "onnx")


@click.command()
@model_options
@click.option("--backend", default="llvm", show_default=True)
@click.option(
    "-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="How much to optimise."
)
@click.option(
    "--emit", type=click.Choice(STAGES), default="ir", show_default=True, help="The stage to print."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the stage to FILE.")
def command(
    model: str, types: tuple[str, ...], init: Any, backend: str, level: int, emit: str, output: Path | None
) -> None:
    """Compile MODEL, and print or write one stage of it.

    ir is the program after the passes; kernels, plan, llvm, asm and obj are the LLVM backend's; onnx is a file.
    """
    from ..compiling import compile as compile_
    from ..inspect.stages import stage

    found = stage(compile_(program_of(model, types, init), backend=backend, opt=level), emit)
    if output is not None:
        write_file(output, found)
    elif isinstance(found, bytes):
        raise click.UsageError(f"--emit {emit} is binary: give a file with -o FILE")
    else:
        print_text(found)
