"""Convolutions, pools and window sums in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.ops.common import accumulator
from ...ir.ops.elementwise import Add
from ...ir.ops.move import BroadcastInDim
from ...ir.ops.window import Conv, MaxPool, Pads, WindowSum
from ...ir.types import DType, f32, f64, i32
from .elementwise import Emitter
from .move import pad_tensor
from .writer import Writer, result

__all__ = ["EMITTERS"]


def conv(w: Writer, node: Node) -> None:
    """Conv, with the bias that follows; ConvTranspose where x is spread."""
    op = node.op
    assert isinstance(op, Conv)
    x, kernel = node.operands
    dtype = x.type.dtype
    acc = accumulator(dtype, None)
    names = w.widened([w.tensor(x), w.tensor(kernel)], dtype, acc)
    window = _constants(kernel.type.shape[2:])
    around = None if window is None else transposed_padding(op, window)
    if around is not None and window is not None:
        filters = _swapped(w, names[1], kernel, op.groups)
        found = _transposed(w, names[0], filters, window, op.lhs_dilation, op.rhs_dilation, around, op.groups)
        result(w, node, w.cast(found, acc, dtype))
        return
    image, padding = _prepared(w, names[0], x.type.shape, op.padding, op.lhs_dilation, acc)
    bias = _bias_of(w, node)
    if bias is not None:
        names.append(w.tensor(bias[1]))
    known: dict[str, Any] = {} if window is None else {"kernel_shape": window}
    found = w.node(
        "Conv", [image, *names[1:]], strides=list(op.strides), dilations=list(op.rhs_dilation), group=op.groups,
        pads=_pads(padding), **known,
    )  # fmt: skip
    if bias is None:
        result(w, node, w.cast(found, acc, dtype))
    else:
        w.absorb(bias[0])
        result(w, bias[0], found)


def _bias_of(w: Writer, node: Node) -> tuple[Node, Value] | None:
    """The sum that alone uses the convolution and adds one number a channel, and those numbers, known before."""
    added = w.only_user(node.results[0])
    if added is None or not isinstance(added.op, Add) or node.results[0].type.dtype != f32:
        return None
    for operand in added.operands:
        spread = operand.node
        if spread is not None and isinstance(spread.op, BroadcastInDim) and spread.op.axes == (1,):
            bias = spread.operands[0]
            full = bias.type.shape == node.results[0].type.shape[1:2]
            if full and w.find(bias) is not None:
                return added, bias
    return None


def _constants(shape: Sequence[Dim]) -> list[int] | None:
    found = [d for d in shape if isinstance(d, int)]
    return found if len(found) == len(shape) else None


def _pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    return [p[0] for p in padding] + [p[1] for p in padding]


Around = list[tuple[int, int, int]]
"""For each axis how much ConvTranspose cuts before and behind, and how much it adds behind."""


def transposed_padding(op: Conv | WindowSum, window: Sequence[int]) -> Around | None:
    """The padding of the ConvTranspose that a window over a spread operand is; None where there is none.

    A window of reach R = (K - 1) * dilation over x spread by s, padded by (low, high), is a transposed convolution
    of stride s that cuts R - low before and R - high behind; onnxruntime adds less than a stride behind.
    """
    dilations = op.rhs_dilation if isinstance(op, Conv) else op.dilation
    spread = op.lhs_dilation if isinstance(op, Conv) else op.base_dilation
    if max(spread) == 1 or max(op.strides) > 1:
        return None
    found: Around = []
    for k, d, s, (low, high) in zip(window, dilations, spread, op.padding, strict=True):
        reach = (k - 1) * d
        before, behind, more = reach - low, max(reach - high, 0), max(high - reach, 0)
        if before < 0 or more >= s:
            return None
        found.append((before, behind, more))
    return found


def _transposed(
    w: Writer,
    x: str,
    filters: str,
    window: list[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    around: Around,
    groups: int = 1,
) -> str:
    return w.node(
        "ConvTranspose", [x, filters], kernel_shape=window, strides=list(strides), dilations=list(dilations),
        group=groups, pads=_pads([(a[0], a[1]) for a in around]), output_padding=[a[2] for a in around],
    )  # fmt: skip


def _swapped(w: Writer, name: str, kernel: Value, groups: int) -> str:
    """Filters [O, C / groups, window] as ConvTranspose wants them: [C, O / groups, window reversed]."""
    out, channels, *window = kernel.type.shape
    rank = len(window)
    axes = list(range(2, 2 + rank))
    ends = [w.vector([n] * rank) for n in (-1, -(2**63))]
    name = w.node("Slice", [name, *ends, w.vector(axes), w.vector([-1] * rank)])
    if groups == 1:
        return w.node("Transpose", [name], perm=[1, 0, *axes])
    name = w.reshape(name, (groups, out // groups, channels, *window))
    name = w.node("Transpose", [name], perm=[0, 2, 1, *(a + 1 for a in axes)])
    return w.reshape(name, (groups * channels, out // groups, *window))


def _prepared(
    w: Writer, x: str, shape: Sequence[Dim], padding: Pads, base: Sequence[int], dtype: DType
) -> tuple[str, list[tuple[int, int]]]:
    """x with its elements apart and negative padding cut; and the padding that is left."""
    if not (any(b > 1 for b in base) or any(min(p) < 0 for p in padding)):
        return x, list(padding)
    low = [0, 0, *(min(p[0], 0) for p in padding)]
    high = [0, 0, *(min(p[1], 0) for p in padding)]
    interior = [0, 0, *(b - 1 for b in base)]
    image = pad_tensor(w, x, w.scalar(0, dtype), shape, low, high, interior)
    return image, [(max(p[0], 0), max(p[1], 0)) for p in padding]


def max_pool(w: Writer, node: Node) -> None:
    """MaxPool; of x cut first, where the padding is negative, and then the positions are those within what is left."""
    op = node.op
    assert isinstance(op, MaxPool)
    dtype, shape = node.operands[0].type.dtype, node.operands[0].type.shape
    inner = {"f16": f32, "bf16": f32, "i16": f32, "i32": f64, "u32": f64}.get(dtype.name, dtype)
    x = w.cast(w.tensor(node.operands[0]), dtype, inner)
    x, padding = _prepared(w, x, shape, op.padding, (1,) * len(op.window), inner)
    # onnxruntime has a fast kernel for pools that keep no positions
    hints = ["", ""] if w.is_used(node.results[1]) else [""]
    values, *positions = w.multi(
        "MaxPool", [x], hints, kernel_shape=list(op.window), strides=list(op.strides), dilations=list(op.dilation),
        pads=_pads(padding),
    )  # fmt: skip
    if not positions:
        result(w, node, w.cast(values, inner, dtype), 0)
        return
    (indices,) = positions
    if padding != list(op.padding):
        indices = _positions_before(w, indices, shape, op.padding)
    result(w, node, indices, 1)
    result(w, node, w.cast(values, inner, dtype), 0)


def _positions_before(w: Writer, positions: str, shape: Sequence[Dim], padding: Pads) -> str:
    """Flat positions within x that was cut, as flat positions within the whole of x."""
    rest = positions
    stride: Dim = 1
    total: str | None = None
    for size, (low, high) in zip(reversed(shape[2:]), reversed(padding), strict=True):
        left = w.dim(size + min(low, 0) + min(high, 0))
        place = w.node("Add", [w.node("Mod", [rest, left]), w.vector([max(-low, 0)])])
        rest = w.node("Div", [rest, left])
        here = w.node("Mul", [place, w.dim(stride)])
        total = here if total is None else w.node("Add", [total, here])
        stride = stride * size
    assert total is not None
    return w.node("Add", [w.node("Mul", [rest, w.dim(stride)]), total])


def window_sum(w: Writer, node: Node) -> None:
    """f32: a convolution with ones, each channel an image of its own; else the sum of shifted slices."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, WindowSum)
    dtype = x.type.dtype
    acc = accumulator(dtype, None)
    name = w.cast(w.tensor(x), dtype, acc)
    found = _sum_with_ones(w, op, name, node) if acc == f32 else _sum_of_slices(w, op, name, node, acc)
    result(w, node, w.cast(found, acc, dtype))


def _sum_with_ones(w: Writer, op: WindowSum, x: str, node: Node) -> str:
    shape = node.operands[0].type.shape
    flat: tuple[Dim, ...] = (shape[0] * shape[1], 1, *shape[2:])
    x = w.reshape(x, flat)
    ones = w.constant(np.ones((1, 1, *op.window), np.float32))
    around = transposed_padding(op, op.window)
    if around is not None:
        found = _transposed(w, x, ones, list(op.window), op.base_dilation, op.dilation, around)
    else:
        image, padding = _prepared(w, x, flat, op.padding, op.base_dilation, f32)
        found = w.node(
            "Conv", [image, ones], kernel_shape=list(op.window), strides=list(op.strides),
            dilations=list(op.dilation), pads=_pads(padding),
        )  # fmt: skip
    return w.reshape(found, node.results[0].type.shape)


def _sum_of_slices(w: Writer, op: WindowSum, x: str, node: Node, acc: DType) -> str:
    shape, out = node.operands[0].type.shape, node.results[0].type.shape
    wide = {"i8": i32, "i16": i32, "u8": i32}.get(acc.name, acc)
    low, high = [0, 0, *(p[0] for p in op.padding)], [0, 0, *(p[1] for p in op.padding)]
    interior = [0, 0, *(b - 1 for b in op.base_dilation)]
    padded = pad_tensor(w, w.cast(x, acc, wide), w.scalar(0, wide), shape, low, high, interior)
    axes = w.vector(range(2, len(shape)))
    total: str | None = None
    for offset in np.ndindex(*op.window):
        start = [o * d for o, d in zip(offset, op.dilation, strict=True)]
        ends = w.shape([s + (n - 1) * t + 1 for s, n, t in zip(start, out[2:], op.strides, strict=True)])
        part = w.node("Slice", [padded, w.vector(start), ends, axes, w.vector(op.strides)])
        total = part if total is None else w.node("Add", [total, part])
    assert total is not None
    return w.cast(total, wide, acc)


EMITTERS: dict[str, Emitter] = {
    "conv": conv,
    "max_pool": max_pool,
    "window_sum": window_sum,
}
