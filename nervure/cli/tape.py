"""``nervure tape``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, write_file

if TYPE_CHECKING:
    from ..inspect.tape import Tape
    from ..ir.program import Program


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option("--backend", default="reference", show_default=True)
@click.option(
    "--against",
    help="Another backend, or another program such as a dump: name the first value that it has otherwise; exit code 1 if"
    " there is one.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write every value as FILE.npz.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], backend: str,
    against: str | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL and keep every value on the way: type, range, NaN and infinities; and the node where the first NaN was born."""
    from ..backends.signatures import signature_of
    from ..inspect.births import birth
    from ..inspect.tape import compare_tapes, tape
    from .values import input_arrays

    program = program_of(model, types, init)
    arrays = input_arrays(signature_of(program), inputs)
    found = tape(program, arrays, backend)
    other = None if against is None else _other(against, program, arrays, backend, init)
    difference = None if other is None else compare_tapes(found, other)
    born = birth(found)
    if output is not None:
        write_file(output, found.to_npz())
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


def _other(against: str, program: Program, arrays: list[Any], backend: str, init: Any) -> Tape:
    """The tape to compare with: of the same program on another backend, or of another program."""
    from ..inspect.tape import tape

    if not against.endswith((".nv", ".onnx")) and ".py:" not in against:
        return tape(program, arrays, against)
    other = program_of(against, (), init)
    fitting = [a.astype(v.type.dtype.numpy) for a, v in zip(arrays, other.main.inputs, strict=False)]
    return tape(other, fitting, backend)
