"""``nervure export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file FILE.onnx.")
@click.option("--opset", type=int, help="17 to 21; the smallest that serves if not given.")
def command(model: str, types: tuple[str, ...], init: Any, output: Path, opset: int | None) -> None:
    """Write MODEL as an ONNX file that a stock onnxruntime runs; a training step trains there."""
    from ..backends.onnx import export_onnx

    export_onnx(program_of(model, types, init), output, opset=opset)
