"""``nervure build``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .options import level_option, winograd_option
from .output import json_option, print_json


@click.command()
@model_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file; its header goes beside it.",
)
@click.option(
    "--kind",
    type=click.Choice(["so", "obj", "static", "exe"]),
    help="Shared library, object, static library or program; by the file's suffix if not given.",
)
@click.option(
    "--target",
    metavar="TARGET",
    help="A CPU (haswell, x86-64-v2), a triple (aarch64-linux, x86_64-windows, wasm32) or TRIPLE:CPU; this machine"
    " if not given.",
)
@click.option(
    "--weights",
    type=click.Choice(["rodata", "file"]),
    default="rodata",
    show_default=True,
    help="Put the weights into the file, or beside it.",
)
@click.option(
    "--threads", is_flag=True, help="Let a call take a number of threads; the file then holds a pool."
)
@click.option(
    "--prefix", help="What every name in the header begins with; from the file's name if not given."
)
@level_option
@winograd_option
@click.option("--example", is_flag=True, help="Also write a C program and a CMake file that use the library.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, output: Path, kind: str | None, target: str | None, weights: str,
    threads: bool, prefix: str | None, level: int, winograd: str, example: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write MODEL as a file that needs no Python.

    A library has one function to call, described by the C header beside it; it allocates nothing. A program reads .npy files or
    standard input and writes .npy files or standard output. The weights are those that MODEL has now.

    \b
    nervure build lenet -o lenet.so
    nervure build lenet -o lenet && ./lenet x.npy -o y.npy
    nervure build lenet -o lenet.o --target aarch64-linux:cortex-a72
    """
    from ..native.build import build

    made = build(
        program_of(model, types, init),
        output=output,
        kind=kind,
        target=target,
        weights=weights,
        threads=threads,
        prefix=prefix,
        opt=level,
        example=example,
        winograd=winograd,
    )
    if as_json:
        print_json(
            {"files": [str(f) for f in made.files], "target": made.target.triple, "cpu": made.target.cpu}
        )
        return
    for file in made.files:
        click.echo(f"{file}  {file.stat().st_size} bytes")
