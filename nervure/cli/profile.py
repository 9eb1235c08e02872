"""``nervure profile``."""

from __future__ import annotations

from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, print_table


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option(
    "-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="How much to optimise."
)
@click.option("--runs", type=click.IntRange(1), default=200, show_default=True, help="At most so many.")
@json_option
def command(
    model: str,
    types: tuple[str, ...],
    init: Any,
    inputs: tuple[str, ...],
    level: int,
    runs: int,
    as_json: bool,
) -> None:
    """Time every kernel of MODEL on the LLVM backend: time, operations, bytes, share of the roofline, lines."""
    from ..compiling import compile as compile_
    from ..inspect.profile import profile
    from .values import input_arrays

    executable = compile_(program_of(model, types, init), opt=level)
    found = profile(executable, input_arrays(executable.signature, inputs), runs)
    if as_json:
        print_json(found.to_json())
        return
    head = ("kernel", "us", "share", "GFLOP/s", "GB/s", "roofline", "lines")
    print_table(head, found.table(), right=(1, 2, 3, 4, 5))
    click.echo(
        f"\nwhole call {1e6 * found.seconds:.1f} us, median of {found.runs};"
        f" peak {1e-9 * found.peak:.1f} GFLOP/s, copies {1e-9 * found.bandwidth:.1f} GB/s, one thread"
    )
