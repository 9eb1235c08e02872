"""Derivatives of data movement and indexing: the transposed movement."""

from __future__ import annotations

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.ops.index import Gather, GatherElements, ScatterElements
from ...ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reverse, Slice
from ...ir.types import TensorType, i64
from .elementwise import Cotangents, Rule

__all__ = ["RULES"]

Result = tuple["Value | None", ...]


def only(cotangents: Cotangents) -> Value | None:
    """The one cotangent, or None where the values are no floats."""
    (g,) = cotangents
    assert g is not None
    return g if g.type.dtype.is_float else None


def reshape(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    return (None if g is None else b.reshape(g, node.operands[0].type.shape),)


def permute(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Permute)
    inverse = tuple(sorted(range(len(node.op.axes)), key=node.op.axes.__getitem__))
    return (None if g is None else b.permute(g, inverse),)


def broadcast_in_dim(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, BroadcastInDim)
    if g is None:
        return (None,)
    x = node.operands[0].type
    repeated = [
        axis
        for axis in range(g.type.rank)
        if axis not in node.op.axes or (x.shape[node.op.axes.index(axis)] == 1 and node.op.shape[axis] != 1)
    ]
    return (b.reshape(b.reduce_sum(g, repeated), x.shape),)


def slice_(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op, x = node.op, node.operands[0].type
    assert isinstance(op, Slice)
    if g is None:
        return (None,)
    low: list[int] = []
    high: list[int] = []
    interior: list[int] = []
    for axis, (start, step) in enumerate(zip(op.starts, op.strides, strict=True)):
        size = g.type.shape[axis]
        if isinstance(start, int) and isinstance(size, int) and isinstance(x.shape[axis], int):
            spread = (size - 1) * step + 1 if size else 0
            low.append(start)
            high.append(x.shape[axis] - start - spread)  # type: ignore[operator]
            interior.append(step - 1 if size else 0)
        elif x.shape[axis] == size and step == 1:
            low.append(0)
            high.append(0)
            interior.append(0)
        else:
            rest: Dim = x.shape[axis] - start - ((size - 1) * step + 1)
            if not isinstance(start, int) or not isinstance(rest, int):
                return (_scattered_slice(g, node),)
            low.append(start)
            high.append(rest)
            interior.append(step - 1)
    return (b.pad(g, b.full(TensorType(g.type.dtype), 0), low, high, interior),)


def _scattered_slice(g: Value, node: Node) -> Value:
    """Bounds that are symbolic: the elements are put back one axis at a time by index."""
    op, x = node.op, node.operands[0].type
    assert isinstance(op, Slice)
    result = g
    for axis in reversed(range(x.rank)):
        if result.type.shape[axis] == x.shape[axis]:
            continue
        shape = (*result.type.shape[:axis], x.shape[axis], *result.type.shape[axis + 1 :])
        place = b.iota(i64, result.type.shape, axis)
        start = op.starts[axis]
        if not isinstance(start, int):
            ones = b.full(TensorType(i64, (start,)), 1)
            offset = b.broadcast_in_dim(b.reduce_sum(ones, (0,)), place.type.shape, ())
        else:
            offset = b.full_like(place, start)
        at = b.add(b.mul(place, b.full_like(place, op.strides[axis])), offset)
        result = b.scatter_elements(b.full(TensorType(g.type.dtype, shape), 0), at, result, axis)
    return result


def pad(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op, x = node.op, node.operands[0].type
    assert isinstance(op, Pad)
    if g is None:
        return None, None
    # undo the edges (a negative pad is a cut, whose elements get 0), then take every (interior + 1)-th element
    zero = b.full(TensorType(g.type.dtype), 0)
    inner = b.pad(g, zero, [-n for n in op.low], [-n for n in op.high]) if any((*op.low, *op.high)) else g
    shape = inner.type.shape
    dx = b.slice_(inner, (0,) * x.rank, shape, [i + 1 for i in op.interior])
    everything = tuple(range(x.rank))
    ones = b.pad(b.full(x.with_dtype(g.type.dtype), 1), zero, op.low, op.high, op.interior)
    outside = b.select(b.eq(ones, b.full_like(ones, 0)), g, b.full_like(g, 0))
    return dx, b.reduce_sum(outside, everything)


def concat(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Concat)
    if g is None:
        return (None,) * len(node.operands)
    axis, start = node.op.axis, 0
    parts: list[Value] = []
    at: Dim = start
    for x in node.operands:
        starts: list[Dim] = [0] * g.type.rank
        limits = list(g.type.shape)
        starts[axis], limits[axis] = at, at + x.type.shape[axis]
        at = limits[axis]
        parts.append(b.slice_(g, starts, limits))
    return tuple(parts)


def reverse(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Reverse)
    return (None if g is None else b.reverse(g, node.op.axes),)


def gather(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Gather)
    if g is None:
        return None, None
    x, indices = node.operands
    axis = node.op.axis
    count = indices.type.size
    # the picked slices as one axis, and the index of each repeated over the slice
    flat = b.reshape(g, (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :]))
    at = b.broadcast_in_dim(b.reshape(b.cast(indices, i64), (count,)), flat.type.shape, (axis,))
    return b.scatter_elements(b.full_like(x, 0), at, flat, axis), None


def gather_elements(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, GatherElements)
    if g is None:
        return None, None
    x, indices = node.operands
    return b.scatter_elements(b.full_like(x, 0), indices, g, node.op.axis), None


def scatter_elements(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op = node.op
    assert isinstance(op, ScatterElements)
    if g is None:
        return None, None, None
    x, indices, updates = node.operands
    picked = b.gather_elements(g, indices, op.axis)
    if op.mode == "add":
        return g, None, picked
    # set: the last update of a place wins; each names itself, and whoever still stands there afterwards won
    mine = b.reshape(b.iota(i64, (updates.type.size,), 0), updates.type.shape)
    winner = b.scatter_elements(b.full(x.type.with_dtype(i64), -1), indices, mine, op.axis, "set")
    kept = b.eq(winner, b.full_like(winner, -1))
    won = b.eq(b.gather_elements(winner, indices, op.axis), mine)
    zero = b.full_like(picked, 0)
    return b.select(kept, g, b.full_like(g, 0)), None, b.select(won, picked, zero)


RULES: dict[str, Rule] = {
    # the transposed movement: the same elements back
    "reshape": reshape,
    "permute": permute,
    "reverse": reverse,
    # an element that was repeated gets the sum
    "broadcast_in_dim": broadcast_in_dim,
    # what a slice left out gets 0
    "slice": slice_,
    # what a pad added goes to the value
    "pad": pad,
    "concat": concat,
    # an element that was picked several times gets the sum
    "gather": gather,
    "gather_elements": gather_elements,
    "scatter_elements": scatter_elements,
}
