"""Data movement and indexing in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from ...ir.dims import Dim, bounds
from ...ir.graph import Node, Value
from ...ir.ops.constant import Constant, Iota
from ...ir.ops.index import Gather, GatherElements, ScatterElements
from ...ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from ...ir.ops.reduce import ArgReduce
from ...ir.ops.sort import Sort, TopK
from ...ir.ops.window import MaxPool
from ...ir.types import DType, f32, i32, i64, u64
from .elementwise import NARROW, Emitter, convert
from .writer import Writer, result

__all__ = ["EMITTERS", "pad_tensor"]

BEYOND = 2**63 - 1
BACKWARDS_END = -(2**63)
SAME_ELEMENTS = ("reshape", "broadcast_in_dim", "permute", "reverse")


def constant(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Constant)
    result(w, node, w.constant(node.op.value.array))


def iota(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Iota)
    size = w.reshape(w.dim(op.shape[op.axis]), ())
    line = w.node("Range", [w.scalar(0, i64), size, w.scalar(1, i64)])
    line = convert(w, line, i64, op.dtype)
    rank = len(op.shape)
    others = [a for a in range(rank) if a != op.axis]
    if others:
        line = w.node("Unsqueeze", [line, w.vector(others)])
        line = expand(w, line, op.shape, op.dtype)
    result(w, node, line)


def expand(w: Writer, name: str, shape: Sequence[Dim], dtype: DType) -> str:
    if 0 in shape and all(isinstance(d, int) for d in shape):
        # onnxruntime takes an Expand of a dim to 0 away before Min and Max, and keeps the dim
        return w.constant(np.zeros(cast(Sequence[int], shape), dtype.numpy))
    inner = f32 if dtype.name == "bf16" else dtype
    wide = w.cast(name, dtype, inner)
    return w.cast(w.node("Expand", [wide, w.shape(shape)]), inner, dtype)


def broadcast_in_dim(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, BroadcastInDim)
    missing = [a for a in range(len(op.shape)) if a not in op.axes]
    name = w.tensor(node.operands[0])
    if missing:
        name = w.node("Unsqueeze", [name, w.vector(missing)])
    result(w, node, expand(w, name, op.shape, node.results[0].type.dtype))


def reshape(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Reshape)
    result(w, node, w.reshape(w.tensor(node.operands[0]), node.op.shape))


def permute(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Permute)
    name = w.tensor(node.operands[0])
    moved = (
        w.node("Transpose", [name], perm=list(node.op.axes)) if node.op.axes else w.node("Identity", [name])
    )
    result(w, node, moved)


def itself(w: Writer, node: Node) -> None:
    result(w, node, w.node("Identity", [w.tensor(node.operands[0])]))


def slice_(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Slice)
    axes = w.vector(range(len(op.starts)))
    bounds = [w.shape(op.starts), w.shape(op.limits)]
    result(w, node, w.node("Slice", [w.tensor(node.operands[0]), *bounds, axes, w.vector(op.strides)]))


def reverse(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Reverse)
    axes = node.op.axes
    ends = [w.vector([n] * len(axes)) for n in (-1, BACKWARDS_END)]
    steps = w.vector([-1] * len(axes))
    result(w, node, w.node("Slice", [w.tensor(node.operands[0]), *ends, w.vector(axes), steps]))


def concat(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Concat)
    result(w, node, w.node("Concat", [w.tensor(o) for o in node.operands], axis=node.op.axis))


def pad(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pad)
    x, value = node.operands
    dtype = x.type.dtype
    inner = {"i16": i32, "bf16": f32}.get(dtype.name, dtype)
    names = w.widened([w.tensor(x), w.tensor(value)], dtype, inner)
    found = pad_tensor(w, names[0], names[1], x.type.shape, op.low, op.high, op.interior)
    result(w, node, w.cast(found, inner, dtype))


def pad_tensor(
    w: Writer,
    x: str,
    value: str,
    shape: Sequence[Dim],
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int],
) -> str:
    """Elements apart by a new axis that is padded and merged; then the edges; then what negative amounts cut."""
    sizes = list(shape)
    rank = len(sizes)
    for axis, gap in enumerate(interior):
        if not gap:
            continue
        x = w.node("Unsqueeze", [x, w.vector([axis + 1])])
        x = _edges(w, x, value, rank + 1, [axis + 1], [0], [gap])
        merged: list[Dim] = list(sizes)
        merged[axis] = sizes[axis] * (gap + 1)
        x = w.reshape(x, merged)
        x = w.node("Slice", [x, w.vector([0]), w.vector([-gap]), w.vector([axis])])
        sizes[axis] = (sizes[axis] - 1) * (gap + 1) + 1
    more = [a for a in range(rank) if low[a] > 0 or high[a] > 0]
    if more:
        x = _edges(w, x, value, rank, more, [max(low[a], 0) for a in more], [max(high[a], 0) for a in more])
    cut = [a for a in range(rank) if low[a] < 0 or high[a] < 0]
    if cut:
        starts = w.vector([max(-low[a], 0) for a in cut])
        ends = w.vector([min(high[a], 0) or BEYOND for a in cut])
        x = w.node("Slice", [x, starts, ends, w.vector(cut)])
    return x


def _edges(
    w: Writer, x: str, value: str, rank: int, axes: Sequence[int], low: Sequence[int], high: Sequence[int]
) -> str:
    amounts = [0] * (2 * rank)
    for axis, lo, hi in zip(axes, low, high, strict=True):
        amounts[axis], amounts[rank + axis] = lo, hi
    return w.node("Pad", [x, w.vector(amounts), value])


def indices_of(w: Writer, value: Value, size: Dim) -> str:
    """Indices as i64 within an axis; the clamp is left out where they cannot lie outside."""
    dtype, name = value.type.dtype, w.tensor(value)
    if always_within(value, size):
        return w.cast(name, dtype, i64)
    if dtype == u64:
        name = w.node("Min", [name, w.scalar(2**63 - 1, u64)])
    last = w.node("Sub", [w.dim(size), w.vector([1])])
    return w.node("Max", [w.node("Min", [w.cast(name, dtype, i64), last]), w.vector([0])])


def always_within(value: Value, size: Dim) -> bool:
    """Whether every index is known to lie on an axis of that size: a constant, a counter, or a position found."""
    source = value
    while source.node is not None and source.node.op.mnemonic in SAME_ELEMENTS:
        source = source.node.operands[0]
    if source.node is None:
        return False
    match source.node.op:
        case Constant(value=literal):
            found = literal.array
            return not found.size or bool(found.min() >= 0 and found.max() < bounds(size)[0])
        case Iota(shape=shape, axis=axis):
            return source.type.dtype in (i32, i64) and _at_most(shape[axis], size)
        case MaxPool(dilation=dilation):
            return (
                source.index == 1
                and set(dilation) == {1}
                and _at_most(source.node.operands[0].type.size, size)
            )
        case ArgReduce(axis=axis) | Sort(axis=axis) | TopK(axis=axis):
            return _at_most(source.node.operands[0].type.shape[axis], size)
        case _:
            return False


def _at_most(count: Dim, size: Dim) -> bool:
    return bounds(count - size)[1] <= 0


def gather(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Gather)
    x, indices = node.operands
    at = indices_of(w, indices, x.type.shape[node.op.axis])
    if indices.type.rank == 0:
        at = w.reshape(at, ())
    result(w, node, w.node("Gather", [w.tensor(x), at], axis=node.op.axis))


def gather_elements(w: Writer, node: Node) -> None:
    assert isinstance(node.op, GatherElements)
    x, indices = node.operands
    at = indices_of(w, indices, x.type.shape[node.op.axis])
    result(w, node, w.node("GatherElements", [w.tensor(x), at], axis=node.op.axis))


def scatter_elements(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, ScatterElements)
    x, indices, updates = node.operands
    at = indices_of(w, indices, x.type.shape[op.axis])
    dtype = x.type.dtype
    if op.mode == "set":
        result(w, node, w.node("ScatterElements", [w.tensor(x), at, w.tensor(updates)], axis=op.axis))
        return
    inner = NARROW.get(dtype.name, dtype)
    base, added = w.widened([w.tensor(x), w.tensor(updates)], dtype, inner)
    if op.mode in ("min", "max"):
        w.need(18)
    found = w.node("ScatterElements", [base, at, added], axis=op.axis, reduction=op.mode)
    result(w, node, w.cast(found, inner, dtype))


EMITTERS: dict[str, Emitter] = {
    "constant": constant,
    "iota": iota,
    "broadcast_in_dim": broadcast_in_dim,
    "reshape": reshape,
    "permute": permute,
    "opt_barrier": itself,
    "slice": slice_,
    "reverse": reverse,
    "concat": concat,
    "pad": pad,
    "gather": gather,
    "gather_elements": gather_elements,
    "scatter_elements": scatter_elements,
}
