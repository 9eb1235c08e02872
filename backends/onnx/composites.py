"""Composites that ONNX has."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...ir.graph import Node
from ...ir.ops.gates import SQRT_2_OVER_PI, TANH_CUBE, Gelu
from ...ir.ops.layer_norm import LayerNorm
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


def silu(w: Writer, node: Node, names: list[str]) -> str:
    return w.node("Mul", [names[0], w.node("Sigmoid", names)])


def gelu(w: Writer, node: Node, names: list[str]) -> str:
    """Gelu, which opset 20 has; before that x (1 + erf(x / sqrt 2)) / 2, or with tanh."""
    assert isinstance(node.op, Gelu)
    if w.opset >= 20:
        return w.node("Gelu", names, approximate=node.op.approximate)
    dtype = NARROW.get(node.operands[0].type.dtype.name, node.operands[0].type.dtype)
    x = names[0]

    def times(name: str, number: float) -> str:
        return w.node("Mul", [name, w.scalar(number, dtype)])

    if node.op.approximate == "none":
        gate = w.node("Erf", [times(x, math.sqrt(0.5))])
    else:
        cube = w.node("Mul", [w.node("Mul", [x, x]), x])
        gate = w.node("Tanh", [times(w.node("Add", [x, times(cube, TANH_CUBE)]), SQRT_2_OVER_PI)])
    return w.node("Mul", [times(x, 0.5), w.node("Add", [gate, w.scalar(1, dtype)])])


def hard_swish(w: Writer, node: Node, names: list[str]) -> str:
    return w.node("HardSwish", names)


def layer_norm(w: Writer, node: Node, names: list[str]) -> str:
    assert isinstance(node.op, LayerNorm)
    return w.node("LayerNormalization", names, axis=node.op.axis, epsilon=node.op.eps)


EMITTERS: dict[str, Emitter] = {
    "linear": widened(linear),
    "softmax": widened(softmax),
    "log_softmax": widened(softmax),
    "batch_norm": widened(batch_norm),
    "avg_pool": widened(avg_pool),
    "silu": widened(silu),
    "gelu": widened(gelu),
    "hard_swish": widened(hard_swish),
    "layer_norm": widened(layer_norm),
}
