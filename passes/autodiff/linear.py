"""Derivatives of reductions, contractions and windows."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.errors import TypeInferenceError
from ...ir.graph import Node, Value
from ...ir.ops.contract import DotGeneral
from ...ir.ops.reduce import Reduction
from ...ir.ops.window import Conv, WindowSum
from ...ir.types import TensorType
from .elementwise import Cotangents, Rule
from .move import Result, only

__all__ = ["RULES"]


def reduce_sum(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Reduction)
    return (None if g is None else b.expand(g, node.operands[0].type.shape, node.op.axes),)


def reduce_extreme(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert isinstance(node.op, Reduction)
    if g is None:
        return (None,)
    x, axes = node.operands[0], node.op.axes
    best = b.eq(x, b.expand(node.results[0], x.type.shape, axes))
    mask = b.cast(best, g.type.dtype)
    share = b.div(g, b.reduce_sum(mask, axes))
    return (b.mul(mask, b.expand(share, x.type.shape, axes)),)


def reduce_prod(node: Node, cotangents: Cotangents) -> Result:
    """The product of the others: without the zeros where there is one, 0 where there are two or more."""
    g = only(cotangents)
    assert isinstance(node.op, Reduction)
    if g is None:
        return (None,)
    x, axes, shape = node.operands[0], node.op.axes, node.operands[0].type.shape
    one = b.full_like(x, 1)
    is_zero = b.eq(x, b.full_like(x, 0))
    zeros = b.expand(b.reduce_sum(b.cast(is_zero, x.type.dtype), axes), shape, axes)
    safe = b.select(is_zero, one, x)
    rest = b.expand(b.reduce_prod(safe, axes), shape, axes)
    spread = b.expand(g, shape, axes)
    nothing = b.full_like(x, 0)
    without = b.select(b.eq(zeros, nothing), b.div(rest, safe), nothing)
    lone = b.select(b.and_(is_zero, b.eq(zeros, one)), rest, nothing)
    return (b.mul(spread, b.add(without, lone)),)


def dot_general(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op = node.op
    assert isinstance(op, DotGeneral)
    if g is None:
        return None, None
    x, y = node.operands
    free_x, free_y = op.free_axes(x.type.rank, y.type.rank)
    batch = len(op.lhs_batch)
    at_batch = tuple(range(batch))
    at_x = tuple(range(batch, batch + len(free_x)))
    at_y = tuple(range(batch + len(free_x), g.type.rank))
    # dx[batch, free x, contracted] = g . y over y's free axes, then back into x's order
    dx = b.dot_general(g, y, at_y, free_y, at_batch, op.rhs_batch, op.acc)
    contracted_x = _paired(op.lhs_contract, op.rhs_contract, y.type.rank, op.rhs_batch, free_y)
    dx = b.permute(dx, _inverse((*op.lhs_batch, *free_x, *contracted_x)))
    # dy[batch, free y, contracted] = g . x over x's free axes
    dy = b.dot_general(g, x, at_x, free_x, at_batch, op.lhs_batch, op.acc)
    contracted_y = _paired(op.rhs_contract, op.lhs_contract, x.type.rank, op.lhs_batch, free_x)
    dy = b.permute(dy, _inverse((*op.rhs_batch, *free_y, *contracted_y)))
    return dx, dy


def _paired(
    mine: Sequence[int], others: Sequence[int], rank: int, batch: Sequence[int], free: Sequence[int]
) -> tuple[int, ...]:
    """My contracted axes in the order in which the other operand's remain as free ones."""
    remaining = [axis for axis in range(rank) if axis not in (*batch, *free)]
    return tuple(mine[list(others).index(axis)] for axis in remaining)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=list(axes).__getitem__))


def conv(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op = node.op
    assert isinstance(op, Conv)
    if g is None:
        return None, None
    x, w = node.operands
    return _conv_input(op, g, x, w), _conv_weight(op, g, x, w)


def _static(dim: Dim, what: str) -> int:
    if not isinstance(dim, int):
        raise TypeInferenceError(f"gradient: conv needs a constant {what}, found {dim}")
    return dim


def _reach(op: Conv, w: Value, axis: int) -> int:
    return (_static(w.type.shape[axis + 2], "window") - 1) * op.rhs_dilation[axis] + 1


def _spread(size: Dim, base: int) -> Dim:
    return size if base == 1 else (size - 1) * base + 1


def _conv_input(op: Conv, g: Value, x: Value, w: Value) -> Value:
    """dx = conv of g with the window turned round and input and output channels exchanged, strides and
    lhs_dilation exchanged."""
    groups, spatial = op.groups, len(op.strides)
    out, each, *window = w.type.shape
    turned = b.reverse(w, tuple(range(2, 2 + spatial)))
    if groups > 1:
        grouped = b.reshape(turned, (groups, out // groups, each, *window))
        swapped = b.permute(grouped, (0, 2, 1, *range(3, 3 + spatial)))
        kernel = b.reshape(swapped, (groups * each, out // groups, *window))
    else:
        kernel = b.permute(turned, (1, 0, *range(2, 2 + spatial)))
    padding: list[tuple[int, int]] = []
    for axis in range(spatial):
        low = _reach(op, w, axis) - 1 - op.padding[axis][0]
        wanted = _spread(x.type.shape[axis + 2], op.lhs_dilation[axis])
        have = _spread(g.type.shape[axis + 2], op.strides[axis])
        high = wanted - have - low + _reach(op, w, axis) - 1
        padding.append((low, _static(high, "remainder of the stride on spatial axis")))
    return b.conv(g, kernel, op.lhs_dilation, padding, op.strides, op.rhs_dilation, groups)


def _conv_weight(op: Conv, g: Value, x: Value, w: Value) -> Value:
    """dw = conv of x with g, batch and channels exchanged, strides and rhs_dilation exchanged."""
    groups, spatial = op.groups, len(op.strides)
    axes = tuple(range(2, 2 + spatial))
    batch, each = x.type.shape[0], w.type.shape[1]
    if groups > 1:
        parts = b.reshape(x, (batch, groups, each, *x.type.shape[2:]))
        swapped = b.permute(parts, (2, 1, 0, *(a + 1 for a in axes)))
        image = b.reshape(swapped, (each, groups * batch, *x.type.shape[2:]))
    else:
        image = b.permute(x, (1, 0, *axes))
    kernel = b.permute(g, (1, 0, *axes))
    padding: list[tuple[int, int]] = []
    for axis in range(spatial):
        low = op.padding[axis][0]
        have = _spread(x.type.shape[axis + 2], op.lhs_dilation[axis])
        used = (g.type.shape[axis + 2] - 1) * op.strides[axis] + _reach(op, w, axis)
        padding.append((low, _static(used - have - low, "remainder of the stride on spatial axis")))
    found = b.conv(image, kernel, op.rhs_dilation, padding, op.lhs_dilation, op.strides, groups)
    return b.permute(found, (1, 0, *axes))


def max_pool(node: Node, cotangents: Cotangents) -> Result:
    g = cotangents[0]
    x, indices = node.operands[0], node.results[1]
    if g is None or not g.type.dtype.is_float:
        return (None,)
    count = indices.type.size
    zeros = b.full(TensorType(g.type.dtype, (x.type.size,)), 0)
    flat = b.scatter_elements(zeros, b.reshape(indices, (count,)), b.reshape(g, (count,)), 0)
    return (b.reshape(flat, x.type.shape),)


def window_sum(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    op, x = node.op, node.operands[0]
    assert isinstance(op, WindowSum)
    if g is None:
        return (None,)
    padding: list[tuple[int, int]] = []
    for axis, size in enumerate(op.window):
        reach = (size - 1) * op.dilation[axis] + 1
        low = reach - 1 - op.padding[axis][0]
        wanted = _spread(x.type.shape[axis + 2], op.base_dilation[axis])
        have = _spread(g.type.shape[axis + 2], op.strides[axis])
        high = wanted - have - low + reach - 1
        padding.append((low, _static(high, "remainder of the stride on spatial axis")))
    return (b.window_sum(g, op.window, op.base_dilation, padding, op.dilation, op.strides),)


RULES: dict[str, Rule] = {
    # every summand gets the cotangent
    "reduce_sum": reduce_sum,
    # the largest gets it; equals share it
    "reduce_max": reduce_extreme,
    "reduce_min": reduce_extreme,
    # each factor gets it times the product of the others
    "reduce_prod": reduce_prod,
    # dx = g . y, dy = g . x
    "dot_general": dot_general,
    # dx = conv(g, turned w), dw = conv(x, g)
    "conv": conv,
    # the element that won gets it
    "max_pool": max_pool,
    # each element gets the sum over the windows it was in
    "window_sum": window_sum,
}
