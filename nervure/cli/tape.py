"""``nervure tape``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, write_file


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option("--backend", default="reference", show_default=True)
@click.option(
    "--against",
    help="Another backend: name the first value that it has otherwise; exit code 1 if there is one.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write every value as FILE.npz.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], backend: str,
    against: str | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL and keep every value on the way: type, range, NaN and infinities; and the node where the first NaN was born."""
    from io import BytesIO

    import numpy as np

    from ..backends.signatures import signature_of
    from ..inspect.births import birth
    from ..inspect.tape import compare_tapes, tape
    from .values import input_arrays

    program = program_of(model, types, init)
    arrays = input_arrays(signature_of(program), inputs)
    found = tape(program, arrays, backend)
    other = None if against is None else tape(program, arrays, against)
    difference = None if other is None else compare_tapes(found, other)
    born = birth(found)
    if output is not None:
        buffer = BytesIO()
        contents: dict[str, Any] = {row.name: row.array for row in found}
        np.savez(buffer, allow_pickle=False, **contents)
        write_file(output, buffer.getvalue())
    if as_json:
        facts = {**found.to_json(), "birth": None if born is None else born.to_json()}
        print_json({**facts, "difference": None if difference is None else difference.to_json()})
    elif against is not None:
        click.echo(f"{backend} and {against} agree" if difference is None else str(difference))
    else:
        click.echo(str(found))
        if born is not None:
            click.echo(str(born))
    ctx.exit(1 if difference is not None else 0)
