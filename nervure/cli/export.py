"""``nervure export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file FILE.onnx.")
@click.option("--opset", type=int, help="17 to 21; the smallest that serves if not given.")
@click.option(
    "--loops",
    type=click.Choice(("nodes", "scan", "unrolled")),
    default="nodes",
    show_default=True,
    help="Recurrent layers as LSTM, GRU and RNN nodes, as Scan, or step by step.",
)
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, output: Path, opset: int | None, loops: Any, as_json: bool
) -> None:
    """Write MODEL as an ONNX file that a stock onnxruntime runs; a training step trains there.

    \b
    nervure export lenet -o lenet.onnx
    """
    from ..backends.onnx import export_onnx

    program = program_of(model, types, init)
    export_onnx(program, output, opset=opset, loops=loops)
    if as_json:
        from ..inspect.outline import outline

        print_json({**outline(program), "file": str(output), **_facts(output)})


def _facts(path: Path) -> dict[str, Any]:
    import onnx

    found: Any = onnx.load(path, load_external_data=False)  # pyright: ignore[reportUnknownMemberType]
    return {
        "opset": found.opset_import[0].version,
        "ir_version": found.ir_version,
        "onnx_nodes": len(found.graph.node),
    }
