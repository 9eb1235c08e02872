"""``nervure profile``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .options import level_option
from .output import json_option, print_json, print_table, write_file


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@level_option
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="That share the loops.")
@click.option("--runs", type=click.IntRange(1), default=200, show_default=True, help="At most so many.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the quickest run as a trace for chrome://tracing or Perfetto.",
)
@json_option
def command(
    model: str,
    types: tuple[str, ...],
    init: Any,
    inputs: tuple[str, ...],
    level: int,
    threads: int,
    runs: int,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Time every kernel of MODEL on the LLVM backend: calls, time, operations, bytes, share of the roofline, what was fused and
    the bytes that this saved, your lines."""
    from ..compiling import compile as compile_
    from ..inspect.profile import HEAD, profile
    from .values import input_arrays

    executable = compile_(program_of(model, types, init), opt=level, threads=threads)
    found = profile(executable, input_arrays(executable.signature, inputs), runs)
    if trace is not None:
        write_file(trace, json.dumps(found.chrome_trace(), allow_nan=False) + "\n")
    if as_json:
        print_json(found.to_json())
        return
    print_table(HEAD, found.table(), right=(1, 2, 3, 4, 5, 6, 8))
    click.echo(
        f"\nwhole call {1e6 * found.seconds:.1f} us, median of {found.runs};"
        f" peak {1e-9 * found.peak:.1f} GFLOP/s, copies {1e-9 * found.bandwidth:.1f} GB/s on one thread;"
        f" taking the times cost {100 * found.overhead:.1f} %"
    )
