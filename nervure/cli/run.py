"""``nervure run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model import model_options, program_of
from .options import level_option
from .output import check_target, json_option, print_json, write_file

if TYPE_CHECKING:
    from ..ir.program import Program


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option("--backend", default="llvm", show_default=True)
@level_option
@click.option("--output", "outputs", multiple=True, metavar="NAME=@FILE", help="Write a result as .npy.")
@click.option(
    "--expect", multiple=True, metavar="NAME=@FILE", help="Compare a result with a .npy; exit code 1 if not."
)
@click.option(
    "--rtol", type=float, default=1e-5, show_default=True, help="Tolerance relative to what is expected."
)
@click.option("--atol", type=float, default=1e-6, show_default=True, help="Tolerance beside it.")
@click.option(
    "--tape",
    type=click.Path(path_type=Path),
    help="Keep every value on the way in FILE.npz; name a NaN's birth.",
)
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], backend: str, level: int,
    outputs: tuple[str, ...], expect: tuple[str, ...], rtol: float, atol: float,
    tape: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL on files or made-up inputs, and print, write or compare its results.

    Updates of a training step are applied to the weights in memory; no file is changed.
    """
    from dataclasses import replace

    from ..backends.signatures import ranges_of, signature_of
    from ..compiling import compile as compile_
    from ..inspect.compare import compare_arrays
    from ..inspect.crash import guard
    from ..inspect.reproduce import note_death
    from .values import input_arrays, named_paths, read_array, write_array

    program = program_of(model, types, init)
    signature = replace(signature_of(program), ranges=ranges_of(program.main))

    def died(signal: str) -> int:
        """Machine code died: keep what it ran on."""
        folder = note_death(program, backend, level, input_arrays(signature, inputs), signal)
        click.echo(f"error[NV0900]: a fault of nervure: the process died of {signal}", err=True)
        click.echo(f"  a reproducer was written to {folder}; its README.md says how to replay it", err=True)
        return 70

    guard(died)
    executable = compile_(program, backend=backend, opt=level)
    names = [name for name, _ in executable.signature.outputs]
    targets = named_paths("--output", outputs, names)
    for path in (*targets.values(), tape):
        check_target(path)
    wanted = {name: read_array(path) for name, path in named_paths("--expect", expect, names).items()}
    arrays = input_arrays(executable.signature, inputs)
    if tape is not None:
        _keep(tape, program, arrays, backend, level)
    found: Any = executable(*arrays)
    results: dict[str, Any] = (
        dict(zip(names, found if len(names) > 1 else (found,), strict=True)) if names else {}
    )
    for name, path in targets.items():
        write_array(path, results[name])
    if as_json:
        print_json({"backend": backend, "results": {name: _plain(array) for name, array in results.items()}})
    else:
        for name, array in results.items():
            click.echo(_shown(name, array))
    for name, array in wanted.items():
        compare_arrays(name, results[name], array, rtol=rtol, atol=atol)


def _keep(path: Path, program: Program, arrays: list[Any], backend: str, level: int) -> None:
    """Write a tape of the run, before it changes the store, and say where a NaN was born."""
    from ..inspect.births import birth
    from ..inspect.tape import tape

    found = tape(program, arrays, backend, level=level)
    write_file(path, found.to_npz())
    born = birth(found)
    if born is not None:
        click.echo(str(born), err=True)


def _shown(name: str, array: Any) -> str:
    import numpy as np

    text = np.array2string(array, precision=6, threshold=40, edgeitems=3, separator=", ")
    return f"{name}: {array.dtype}{list(array.shape)}\n{text}"


def _plain(array: Any) -> dict[str, Any]:
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.astype(object).tolist()}
