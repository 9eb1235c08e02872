"""From a program to an ONNX model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from ...ir.errors import BackendError, InputError
from ...ir.graph import Graph, Value
from ...ir.interpret import run_prepare
from ...ir.program import Program
from ...ir.text.files import write_atomically
from ...ir.types import Array, DType, dtype_of
from .writer import NeedsOpset, Writer, dim_parameter, onnx_type

__all__ = ["OPSETS", "export_onnx", "onnx_model"]

OPSETS = range(17, 22)
MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit of a message, with room for the graph."""

Weights = Literal["initializers", "inputs"]


def export_onnx(program: Program, path: str | os.PathLike[str], *, opset: int | None = None) -> None:
    """Write a program as an ONNX file that a stock onnxruntime runs.

    An inference program holds its weights. A program with updates, such as a training step, takes every store entry
    as an input of the entry's name, and returns the new content as an output named ``<entry>.next``.

    Args:
        opset: 17 to 21; the smallest that the program needs if not given

    Raises:
        UnsupportedError: listing every op that ONNX or onnxruntime lacks
        InputError: the file cannot be written, or the opset is too low
    """
    from ...passes.manager import run_pipeline
    from .backend import OnnxBackend

    legal = run_pipeline(program, OnnxBackend().pipeline(1), verify=False).program
    model = onnx_model(legal, opset=opset)
    write_atomically(Path(path), model.SerializeToString(deterministic=True))


def onnx_model(program: Program, *, opset: int | None = None, weights: Weights | None = None) -> Any:
    """The ModelProto of a program that went through the onnx backend's pipeline.

    Args:
        opset:   see `export_onnx`
        weights: whether store entries are initializers or inputs; inputs where the program updates some
    """
    import onnx

    if opset is not None and opset not in OPSETS:
        raise InputError(f"onnx: opset {opset} is not within {OPSETS[0]}..{OPSETS[-1]}")
    how: Weights = weights or ("inputs" if program.main.updates else "initializers")
    wanted = opset or OPSETS[0]
    while True:
        try:
            model = _write(program, wanted, how)
            break
        except NeedsOpset as error:
            if opset is not None:
                raise InputError(
                    f"onnx: the program needs opset {error.opset}, {opset} was asked for"
                ) from error
            wanted = error.opset
    size = model.ByteSize()
    if size > MAX_BYTES:
        raise BackendError(f"onnx: the model takes {size} bytes, more than one file may have")
    check = cast(Any, onnx.checker.check_model)  # pyright: ignore[reportUnknownMemberType]  # its types name a missing module
    check(model, full_check=True)
    return model


def _write(program: Program, opset: int, weights: Weights) -> Any:
    from onnx import helper

    graph = program.main
    writer = Writer(opset)
    inputs = [_input(writer, v, v.name or f"arg{k}") for k, v in enumerate(graph.inputs)]
    writer.bind_symbols(graph)
    initializers: list[Any] = []
    if weights == "initializers":
        run_prepare(program)
    for read in _reads(graph):
        assert read.entry is not None
        if weights == "initializers":
            name = writer.fresh(read.entry)
            initializers.append(_tensor(name, program.store[read.entry].data))
            for same in graph.reads():
                if same.entry == read.entry:
                    writer.bind(same, name)
        else:
            info = _input(writer, read, read.entry)
            inputs.append(info)
            for same in graph.reads():
                if same.entry == read.entry:
                    writer.bind(same, info.name)
    writer.write(graph)
    outputs = [_output(writer, v, v.name or f"result{k}") for k, v in enumerate(graph.outputs)]
    outputs += [_output(writer, v, f"{name}.next") for name, v in graph.updates]
    initializers += [_tensor(name, array) for name, array in writer.constants.values()]
    made = helper.make_graph(writer.nodes, program.name, inputs, outputs, initializers)
    model = helper.make_model(
        made,
        producer_name="nervure",
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8 if opset < 19 else 9 if opset < 21 else 10,
    )
    return model


def _reads(graph: Graph) -> Sequence[Value]:
    """One read of each entry, in order."""
    first: dict[str, Value] = {}
    for read in graph.reads():
        assert read.entry is not None
        first.setdefault(read.entry, read)
    return list(first.values())


def _input(writer: Writer, value: Value, hint: str) -> Any:
    name = writer.fresh(hint)
    writer.bind(value, name)
    return _info(name, value.type.dtype, value)


def _output(writer: Writer, value: Value, hint: str) -> Any:
    """An output under a name of its own: a value may be returned twice, or be an input."""
    name = writer.node("Identity", [writer.tensor(value)], hint)
    return _info(name, value.type.dtype, value)


def _info(name: str, dtype: DType, value: Value) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, onnx_type(dtype), [dim_parameter(d) for d in value.type.shape])


def _tensor(name: str, array: Array) -> Any:
    from onnx import TensorProto

    tensor = TensorProto()
    tensor.name = name
    tensor.data_type = onnx_type(dtype_of(array))
    tensor.dims.extend(array.shape)
    tensor.raw_data = array.tobytes()
    return tensor
