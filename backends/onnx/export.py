"""From a program to an ONNX model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...ir.dims import dim_text
from ...ir.errors import BackendError, InputError, UnsupportedError
from ...ir.graph import Graph, Value, rebuild
from ...ir.interpret import run_prepare
from ...ir.ops.control import Scan
from ...ir.program import Program
from ...ir.text.files import write_atomically
from ...ir.types import Array, bf16
from .table import NO_BF16
from .tensors import EXTERNAL_ABOVE, check_model, tensor, write_with_data_file
from .writer import NeedsOpset, Writer, dim_parameter, onnx_type

if TYPE_CHECKING:
    from ...passes.manager import Pipeline

__all__ = ["OPSETS", "export_onnx", "onnx_model", "reads_of"]

OPSETS = range(17, 22)
MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit of a message, with room for the graph."""

Weights = Literal["initializers", "inputs"]
Loops = Literal["nodes", "scan", "unrolled"]

_LOOPS: dict[str, str] = {
    "nodes": "",
    "scan": "decompose{only=rnn+lstm+gru}",
    "unrolled": "decompose{only=rnn+lstm+gru},unroll{max=1000000000}",
}
"""What is done to loops first."""


def export_onnx(
    program: Program,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    external_above: int = EXTERNAL_ABOVE,
    loops: Loops = "nodes",
) -> None:
    """Write a program as an ONNX file that a stock onnxruntime runs.

    An inference program holds its weights. A program with updates, such as a training step, takes every store entry
    as an input of the entry's name, and returns the new content as an output named ``<entry>.next``.

    Args:
        opset:          17 to 21; the smallest that the program needs if not given
        external_above: more bytes of weights than this go to a second file, ``<path>.data``
        loops:          "nodes": recurrent layers as LSTM, GRU and RNN where these mean the same, other loops as Scan, Loop
                        and If; "scan": recurrent layers too; "unrolled": scans step by step

    Raises:
        UnsupportedError: listing every op that ONNX or onnxruntime lacks
        InputError: a file cannot be written, the opset is too low, or a scan that is to be unrolled has no constant length
    """
    from ...passes.manager import run_pipeline
    from ..base import find_backend

    pipeline = _of_loops(loops) + find_backend("onnx").pipeline(1)
    legal = run_pipeline(_preparing_itself(program), pipeline, verify=False).program
    if loops == "unrolled":
        _refuse_scans(legal)
    target = Path(path)
    with legal.store.ledger.lock:
        model, weights = _build(legal, opset, None)
        if sum(array.nbytes for array in weights.values()) > external_above:
            write_with_data_file(model, weights, target)
            return
        complete = _with_weights(model, weights)
    write_atomically(target, complete.SerializeToString(deterministic=True))


def _of_loops(loops: str) -> Pipeline:
    from ...passes.manager import Pipeline

    if loops not in _LOOPS:
        raise InputError(f"onnx: loops is {loops!r}, expected one of {', '.join(_LOOPS)}")
    return Pipeline.parse(_LOOPS[loops])


def _refuse_scans(program: Program) -> None:
    for node in program.main.walk():
        if isinstance(node.op, Scan):
            raise InputError(
                f"onnx: a scan of {dim_text(node.op.length)} steps cannot be unrolled",
                where=[str(o) for o in node.origins],
                hint="give the axis a constant size, or export it as a loop",
            )


def onnx_model(program: Program, *, opset: int | None = None, weights: Weights | None = None) -> Any:
    """The ModelProto of a program that went through the onnx backend's pipeline.

    Args:
        opset:   see `export_onnx`
        weights: whether store entries are initializers or inputs; inputs where the program updates some
    """
    return _with_weights(*_build(program, opset, weights))


def _preparing_itself(program: Program) -> Program:
    """A program with updates computes its derived entries anew in each step, from the weights that it is given."""
    if program.prepare is None or not program.main.updates:
        return program
    known = dict(program.prepare.updates)
    leaves = {r: known[r.entry] for r in program.main.reads() if r.entry is not None and r.entry in known}
    return Program(program.name, [rebuild(program.main, lambda node, _: None, leaves)], program.store)


def _with_weights(model: Any, weights: dict[str, Array]) -> Any:
    """The model with its weights inside, checked."""
    size = model.ByteSize() + sum(array.nbytes for array in weights.values())
    if size > MAX_BYTES:
        raise BackendError(f"onnx: the model takes {size} bytes, more than one message may have")
    model.graph.initializer.extend(tensor(name, array) for name, array in weights.items())
    check_model(model)
    return model


def _build(program: Program, opset: int | None, weights: Weights | None) -> tuple[Any, dict[str, Array]]:
    """The model without its weights, at the smallest opset that serves; and the weights."""
    if opset is not None and opset not in OPSETS:
        raise InputError(f"onnx: opset {opset} is not within {OPSETS[0]}..{OPSETS[-1]}")
    how: Weights = weights or ("inputs" if program.main.updates else "initializers")
    wanted = opset or OPSETS[0]
    while True:
        try:
            return _write(program, wanted, how)
        except NeedsOpset as error:
            if opset is not None:
                raise InputError(
                    f"onnx: the program needs opset {error.opset}, {opset} was asked for"
                ) from error
            wanted = error.opset


def _write(program: Program, opset: int, how: Weights) -> tuple[Any, dict[str, Array]]:
    from onnx import helper

    graph = program.main
    writer = Writer(opset)
    inputs = [_input(writer, v, v.name or f"arg{k}") for k, v in enumerate(graph.inputs)]
    writer.bind_symbols(graph)
    results = [(v, writer.fresh(v.name or f"result{k}")) for k, v in enumerate(graph.outputs)]
    results += [(v, writer.fresh(f"{name}.next")) for name, v in graph.updates]
    weights: dict[str, Array] = {}
    if how == "initializers":
        run_prepare(program)
    for entry, reads in reads_of(graph).items():
        if how == "initializers":
            name = writer.fresh(entry)
            weights[name] = program.store[entry].data
        else:
            inputs.append(_input(writer, reads[0], entry))
            name = inputs[-1].name
        for read in reads:
            writer.bind(read, name)
    writer.write(graph)
    outputs = [_output(writer, v, name) for v, name in results]
    constants = [tensor(name, array) for name, array in writer.constants.values()]
    model = helper.make_model(
        helper.make_graph(writer.nodes, program.name or "program", inputs, outputs, constants),
        producer_name="nervure",
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8 if opset < 19 else 9 if opset < 21 else 10,
    )
    if program.symbols:
        ranges = ", ".join(f"{s.name} in {s.lo}..{s.hi}" for s in program.symbols)
        helper.set_model_props(model, {"nervure.symbols": ranges})
    return model, weights


def reads_of(graph: Graph) -> dict[str, list[Value]]:
    """The reads of each entry, in order of first use."""
    found: dict[str, list[Value]] = {}
    for read in graph.reads():
        assert read.entry is not None
        found.setdefault(read.entry, []).append(read)
    return found


def _input(writer: Writer, value: Value, hint: str) -> Any:
    name = writer.fresh(hint)
    writer.bind(value, name)
    return _info(name, value)


def _output(writer: Writer, value: Value, name: str) -> Any:
    """An output under the name that is kept for it: a value may be returned twice, or be an input."""
    writer.copy(writer.tensor(value), name)
    return _info(name, value)


def _info(name: str, value: Value) -> Any:
    """What the model takes or returns. No op's check has seen a value that is only passed through."""
    from onnx import helper

    if value.type.dtype == bf16:
        raise UnsupportedError("onnx: a value cannot be passed", details=[f"{name}: {value.type}: {NO_BF16}"])
    return helper.make_tensor_value_info(
        name, onnx_type(value.type.dtype), [dim_parameter(d) for d in value.type.shape]
    )
