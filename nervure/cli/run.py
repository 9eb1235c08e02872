"""``nervure run``."""

from __future__ import annotations

from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option("--backend", default="llvm", show_default=True)
@click.option(
    "-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="How much to optimise."
)
@click.option("--output", "outputs", multiple=True, metavar="NAME=@FILE", help="Write a result as .npy.")
@click.option(
    "--expect", multiple=True, metavar="NAME=@FILE", help="Compare a result with a .npy; exit code 1 if not."
)
@click.option(
    "--rtol", type=float, default=1e-5, show_default=True, help="Tolerance relative to what is expected."
)
@click.option("--atol", type=float, default=1e-6, show_default=True, help="Tolerance beside it.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], backend: str, level: int,
    outputs: tuple[str, ...], expect: tuple[str, ...], rtol: float, atol: float, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL on files or made-up inputs, and print, write or compare its results.

    Updates of a training step are applied to the weights in memory; no file is changed.
    """
    from ..compiling import compile as compile_
    from ..inspect.compare import compare_arrays
    from .values import input_arrays, named_paths, read_array, write_array

    executable = compile_(program_of(model, types, init), backend=backend, opt=level)
    names = [name for name, _ in executable.signature.outputs]
    targets = named_paths("--output", outputs, names)
    wanted = {name: read_array(path) for name, path in named_paths("--expect", expect, names).items()}
    found: Any = executable(*input_arrays(executable.signature, inputs))
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


def _shown(name: str, array: Any) -> str:
    import numpy as np

    text = np.array2string(array, precision=6, threshold=40, edgeitems=3, separator=", ")
    return f"{name}: {array.dtype}{list(array.shape)}\n{text}"


def _plain(array: Any) -> dict[str, Any]:
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.astype(object).tolist()}
