"""Composites that ONNX has, and loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.graph import Node, Value
from ...ir.ops.control import Scan
from ...ir.ops.nn import AvgPool, BatchNorm, LogSoftmax, Softmax
from ...ir.types import DType, i64
from .elementwise import NARROW, Emitter
from .writer import Writer, dim_parameter, onnx_type, result

__all__ = ["EMITTERS"]


def widened(compute: Callable[[Writer, Node, list[str]], str]) -> Emitter:
    """The composite in f32 where its operands are f16."""

    def emit(w: Writer, node: Node) -> None:
        dtype = node.operands[0].type.dtype
        inner: DType = NARROW.get(dtype.name, dtype)
        names = w.widened([w.tensor(o) for o in node.operands], dtype, inner)
        result(w, node, w.cast(compute(w, node, names), inner, dtype))

    return emit


def linear(w: Writer, node: Node, names: list[str]) -> str:
    if node.operands[0].type.rank == 2:
        return w.node("Gemm", names, transB=1)
    product = w.node("MatMul", [names[0], w.node("Transpose", [names[1]], perm=[1, 0])])
    return product if len(names) == 2 else w.node("Add", [product, names[2]])


def softmax(w: Writer, node: Node, names: list[str]) -> str:
    assert isinstance(node.op, (Softmax, LogSoftmax))
    return w.node("Softmax" if isinstance(node.op, Softmax) else "LogSoftmax", names, axis=node.op.axis)


def batch_norm(w: Writer, node: Node, names: list[str]) -> str:
    assert isinstance(node.op, BatchNorm)
    return w.node("BatchNormalization", names, epsilon=node.op.eps)


def avg_pool(w: Writer, node: Node, names: list[str]) -> str:
    op = node.op
    assert isinstance(op, AvgPool)
    return w.node(
        "AveragePool", names, kernel_shape=list(op.window), strides=list(op.strides),
        pads=[p[0] for p in op.padding] + [p[1] for p in op.padding], count_include_pad=int(op.count_include_pad),
    )  # fmt: skip


def scan(w: Writer, node: Node) -> None:
    """ONNX Scan; consts are read from around the body, and a counter is scanned where there is nothing else."""
    from onnx import helper

    op, (body,) = node.op, node.regions
    assert isinstance(op, Scan)
    inner = Writer(w.opset, w)
    moving = body.inputs[: op.carries + op.xs]
    given = [w.tensor(o) for o in node.operands]
    inputs: list[Any] = []
    for value in moving:
        name = w.fresh(value.name or "step")
        inner.bind(value, name)
        inputs.append(_info(name, value))
    for value, name in zip(body.inputs[op.carries + op.xs :], given[op.carries + op.xs :], strict=True):
        inner.bind(value, name)
    scanned = given[: op.carries + op.xs]
    count = op.xs
    if not count:
        length = w.reshape(w.dim(op.length), ())
        scanned = [*scanned, w.node("Range", [w.scalar(0, i64), length, w.scalar(1, i64)])]
        inputs.append(helper.make_tensor_value_info(w.fresh("step"), onnx_type(i64), []))
        count = 1
    inner.write(body)
    outputs: list[Any] = []
    for value in body.outputs:
        name = inner.node("Identity", [inner.tensor(value)])
        outputs.append(_info(name, value))
    graph = helper.make_graph(inner.nodes, w.fresh("body"), inputs, outputs)
    extra: dict[str, Any] = {}
    if op.reverse:
        extra = {
            "scan_input_directions": [1] * count,
            "scan_output_directions": [1] * (len(body.outputs) - op.carries),
        }
    names = w.multi("Scan", scanned, [""] * len(node.results), body=graph, num_scan_inputs=count, **extra)
    for index, name in enumerate(names):
        result(w, node, name, index)


def _info(name: str, value: Value) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(
        name, onnx_type(value.type.dtype), [dim_parameter(d) for d in value.type.shape]
    )


EMITTERS: dict[str, Emitter] = {
    "linear": widened(linear),
    "softmax": widened(softmax),
    "log_softmax": widened(softmax),
    "batch_norm": widened(batch_norm),
    "avg_pool": widened(avg_pool),
    "scan": scan,
}
