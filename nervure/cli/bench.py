"""``nervure bench``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, print_table


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option("--backend", default="llvm", show_default=True)
@click.option(
    "--against", default="onnx", show_default=True, help="Other backends, with commas between them."
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="For each backend."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="For each backend.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], backend: str, against: str,
    seconds: float, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Time MODEL on several backends in short turns within one process; results are compared first."""
    from ..backends.signatures import ranges_of, signature_of
    from ..inspect.bench import bench
    from .values import input_arrays

    program = program_of(model, types, init)
    signature = replace(signature_of(program), ranges=ranges_of(program.main))
    arrays = input_arrays(signature, inputs)
    names = list(dict.fromkeys([backend, *filter(None, against.split(","))]))
    found = bench(program, arrays, names, seconds, threads)
    if as_json:
        print_json(found.to_json())
        return
    head = ("backend", "best us", "median us", f"times {backend}", "compile ms", "error")
    print_table(head, found.table(), right=(1, 2, 3, 4, 5))
