"""``nervure tune``."""

from __future__ import annotations

from typing import Any

import click

from .model import model_options, program_of
from .options import level_option
from .output import json_option, print_json, print_table


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@level_option
@click.option(
    "--seconds", type=click.FloatRange(0, 3600), default=10.0, show_default=True, help="How long to measure."
)
@click.option("--dry-run", is_flag=True, help="Measure and print; remember nothing.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], level: int, seconds: float, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure a few schedules of every kernel of MODEL on this machine, and remember the quickest.

    Compilations that use the cache take what is remembered, and so does nervure build for this machine. The weights stay as
    they are. nervure cache clear forgets.

    \b
    nervure tune lenet --input x=64x1x28x28:rand
    """
    from dataclasses import replace

    from ..backends.signatures import ranges_of, signature_of
    from ..inspect.tune import HEAD, tune
    from .values import input_arrays

    program = program_of(model, types, init)
    signature = replace(signature_of(program), ranges=ranges_of(program.main))
    found = tune(program, input_arrays(signature, inputs), level=level, seconds=seconds, remember=not dry_run)
    if as_json:
        print_json(found.to_json())
        return
    print_table(HEAD, found.table(), right=(1, 2, 3))
    click.echo(
        f"\nwhole call {1e6 * found.before:.1f} us, tuned {1e6 * found.after:.1f} us; "
        + ("remembered" if found.remembered else "not remembered")
    )
