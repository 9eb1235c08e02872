"""Derivatives of data movement: the transposed movement of the cotangent g."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.dims import Dim, Shape
from ...ir.graph import Node, Value
from ...ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reverse, Slice
from ...ir.types import TensorType, bool_
from .rule import Cotangents, Rule, attributes_of, only, zeros_like

__all__ = ["RULES", "fit", "inverse"]


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes a permutation."""
    return tuple(axes.index(k) for k in range(len(axes)))


def _zeros(like: Value, axis: int, size: Dim) -> Value:
    shape = list(like.type.shape)
    shape[axis] = size
    return b.full(like.type.with_shape(tuple(shape)), 0)


def _prefix(x: Value, axis: int, size: Dim) -> Value:
    """The first elements of x along an axis."""
    limits = list(x.type.shape)
    limits[axis] = size
    return b.slice_(x, [0] * len(limits), limits)


def fit(x: Value, shape: Shape) -> Value:
    """x cut off or filled with zeros at the end of each axis, for sizes that are not known now."""
    for axis, size in enumerate(shape):
        if x.type.shape[axis] != size:
            x = _prefix(b.concat([x, _zeros(x, axis, size)], axis), axis, size)
    return x


def _reshape(node: Node, g: Value) -> Cotangents:
    return (b.reshape(g, node.operands[0].type.shape),)


def _permute(node: Node, g: Value) -> Cotangents:
    return (b.permute(g, inverse(attributes_of(node, Permute).axes)),)


def _broadcast(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, BroadcastInDim), node.operands[0].type
    source = dict(zip(op.axes, x.shape, strict=True))
    repeated = [k for k, size in enumerate(op.shape) if source.get(k) != size]
    return (b.reshape(b.reduce_sum(g, repeated), x.shape),)


def _slice(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, Slice), node.operands[0].type
    low, high, interior = [0] * x.rank, [0] * x.rank, [0] * x.rank
    later: list[int] = []
    for axis, (start, step, n, d) in enumerate(
        zip(op.starts, op.strides, g.type.shape, x.shape, strict=True)
    ):
        rest = d - start - ((n - 1) * step + 1) if n != 0 else d - start
        if isinstance(start, int) and isinstance(rest, int) and (step == 1 or isinstance(n, int)):
            low[axis], high[axis] = start, rest
            interior[axis] = step - 1 if n != 0 else 0
        else:
            later.append(axis)
    if any((*low, *high, *interior)):
        g = b.pad(g, b.full(TensorType(g.type.dtype), 0), low, high, interior)
    for axis in later:
        spread = _spread(g, axis, op.strides[axis])
        g = fit(b.concat([_zeros(g, axis, op.starts[axis]), spread], axis), _with(g, axis, x.shape[axis]))
    return (g,)


def _with(x: Value, axis: int, size: Dim) -> Shape:
    return (*x.type.shape[:axis], size, *x.type.shape[axis + 1 :])


def _spread(x: Value, axis: int, step: int) -> Value:
    """step - 1 zeros after each element along an axis, which may be empty."""
    if step == 1:
        return x
    shape = x.type.shape
    split = b.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    nothing = [0] * split.type.rank
    behind = [step - 1 if k == axis + 1 else 0 for k in range(split.type.rank)]
    padded = b.pad(split, b.full(TensorType(x.type.dtype), 0), nothing, behind)
    return b.reshape(padded, _with(x, axis, shape[axis] * step))


def _pad(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, Pad), node.operands[0].type
    zero = b.full(TensorType(g.type.dtype), 0)
    low = [-lo for lo in op.low]
    high = [gap - hi for gap, hi in zip(op.interior, op.high, strict=True)]
    steps = [gap + 1 for gap in op.interior]
    spread = b.pad(g, zero, low, high) if any((*low, *high)) else g
    limits = [d * step for d, step in zip(x.shape, steps, strict=True)]
    dx = b.slice_(spread, [0] * x.rank, limits, steps)
    inside = b.full(x.with_dtype(bool_), True)
    mask = b.pad(inside, b.full(TensorType(bool_), False), op.low, op.high, op.interior)
    dvalue = b.reduce_sum(b.select(mask, zeros_like(g), g), range(x.rank))
    return dx, dvalue


def _concat(node: Node, g: Value) -> Cotangents:
    axis = attributes_of(node, Concat).axis
    parts: list[Value | None] = []
    start: Dim = 0
    for x in node.operands:
        end = start + x.type.shape[axis]
        starts: list[Dim] = [0] * x.type.rank
        starts[axis] = start
        limits = list(x.type.shape)
        limits[axis] = end
        parts.append(b.slice_(g, starts, limits))
        start = end
    return parts


def _reverse(node: Node, g: Value) -> Cotangents:
    return (b.reverse(g, attributes_of(node, Reverse).axes),)


RULES: Mapping[str, Rule] = {
    # reshape is undone by a reshape
    "reshape": only(_reshape),
    # permute(x, p) is undone by permute(g, p^-1)
    "permute": only(_permute),
    # what was repeated is summed
    "broadcast_in_dim": only(_broadcast),
    # what was picked with strides is put back with zeros between and around
    "slice": only(_slice),
    # what was put apart is picked with strides; the value gets the sum of g everywhere else
    "pad": only(_pad),
    # each operand gets its part of g
    "concat": only(_concat),
    # reverse is its own inverse
    "reverse": only(_reverse),
}
