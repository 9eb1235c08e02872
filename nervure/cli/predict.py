"""``nervure predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, module_of
from .output import json_option, print_json, write_file


@click.command()
@model_options
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help=".npz, IDX, CSV or a folder of images."
)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option("--backend", default="llvm", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write predictions as .npy or, a line each, text."
)
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, data: Path, batch: int, backend: str, output: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Predict with MODEL: the label, or the label of each step, with the largest score where there are scores, else the
    outputs themselves."""
    import numpy as np

    from .. import data as data_
    from ..compiling import compile as compile_
    from ..train.arrays import as_features
    from .train import text_steps
    from .values import write_array

    module, specs = module_of(model, types, init)
    x, y = data_.load(data, text_steps(specs))
    run = compile_(module, *specs, backend=backend)
    features = as_features(x, run.signature.inputs[0][1])
    parts = [run(features[k : k + batch]) for k in range(0, len(features), batch)]
    scores = np.concatenate(parts) if parts else np.zeros((0, 0))
    steps = scores.ndim == 3 and scores.shape[:2] == y.shape
    several = (scores.ndim == 2 or steps) and scores.shape[-1] > 1
    labels = y.dtype.kind in "iub" and several
    found = scores.argmax(axis=-1) if labels else scores
    right = int((found == y).sum()) if labels else None
    if output is not None and output.suffix == ".npy":
        write_array(output, found)
    elif output is not None:
        write_file(output, "".join(f"{_line(row)}\n" for row in found))
    if as_json:
        accuracy = None if right is None else right / max(found.size, 1)
        print_json({"count": len(found), "accuracy": accuracy, "predictions": found.tolist()})
        return
    if output is None:
        for row in found:
            click.echo(_line(row))
    if right is not None:
        click.echo(
            f"{right} of {found.size} right, accuracy {100 * right / max(found.size, 1):.2f} %", err=True
        )


def _line(row: Any) -> str:
    return " ".join(f"{v:g}" for v in row.reshape(-1)) if getattr(row, "ndim", 0) else f"{row:g}"
