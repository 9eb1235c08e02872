"""Composites that ONNX has."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.graph import Node
from ...ir.ops.nn import AvgPool, BatchNorm, LogSoftmax, Softmax
from ...ir.types import DType
from .elementwise import NARROW, Emitter
from .writer import Writer, result

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


EMITTERS: dict[str, Emitter] = {
    "linear": widened(linear),
    "softmax": widened(softmax),
    "log_softmax": widened(softmax),
    "batch_norm": widened(batch_norm),
    "avg_pool": widened(avg_pool),
}
