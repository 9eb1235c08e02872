"""Derivatives of reading and writing at computed positions."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Node, Value
from ...ir.ops.index import DynamicSlice, Gather, GatherElements, ScatterElements
from ...ir.types import i64
from .rule import Cotangents, Rule, attributes_of, only, zeros_like

__all__ = ["RULES"]


def _gather(node: Node, g: Value) -> Cotangents:
    axis, (x, indices) = attributes_of(node, Gather).axis, node.operands
    count = product(indices.type.shape)
    shape = (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :])
    places = b.broadcast_in_dim(b.reshape(indices, (count,)), shape, (axis,))
    return b.scatter_elements(zeros_like(x), places, b.reshape(g, shape), axis), None


def _gather_elements(node: Node, g: Value) -> Cotangents:
    x, indices = node.operands
    return b.scatter_elements(zeros_like(x), indices, g, attributes_of(node, GatherElements).axis), None


def _scatter_elements(node: Node, g: Value) -> Cotangents:
    op, (x, indices, updates) = attributes_of(node, ScatterElements), node.operands
    read = b.gather_elements(g, indices, op.axis)
    if op.mode == "add":
        return g, None, read
    if op.mode == "mul":
        return _product(node, g)
    if op.mode != "set":
        return _shared(node, g)
    kept = b.scatter_elements(g, indices, zeros_like(updates), op.axis, "set")
    writer = b.iota(i64, indices.type.shape, op.axis)
    nobody = b.full(x.type.with_dtype(i64), -1)
    last = b.gather_elements(b.scatter_elements(nobody, indices, writer, op.axis, "set"), indices, op.axis)
    return kept, None, b.select(b.eq(last, writer), read, zeros_like(updates))


def _product(node: Node, g: Value) -> Cotangents:
    """By division; where x is 0, or one update at its place, the product without it is computed."""
    op, (x, indices, updates), y = attributes_of(node, ScatterElements), node.operands, node.results[0]
    one, ones = b.full_like(x, 1), b.full_like(updates, 1)
    safe_x = b.select(b.eq(x, zeros_like(x)), one, x)
    dx = b.div(b.mul(g, b.scatter_elements(safe_x, indices, updates, op.axis, "mul")), safe_x)
    is_zero = b.eq(updates, zeros_like(updates))
    zeros = b.scatter_elements(
        zeros_like(x), indices, b.select(is_zero, ones, zeros_like(updates)), op.axis, "add"
    )
    alone = b.and_(is_zero, b.eq(b.gather_elements(zeros, indices, op.axis), ones))
    rest = b.scatter_elements(x, indices, b.select(alone, ones, updates), op.axis, "mul")
    without = b.gather_elements(b.mul(g, rest), indices, op.axis)
    by_division = b.div(b.gather_elements(b.mul(g, y), indices, op.axis), b.select(is_zero, ones, updates))
    return dx, None, b.select(alone, without, by_division)


def _shared(node: Node, g: Value) -> Cotangents:
    op, (x, indices, updates), y = attributes_of(node, ScatterElements), node.operands, node.results[0]
    zero, none = zeros_like(x), zeros_like(updates)
    mine = b.eq(x, y)
    theirs = b.eq(updates, b.gather_elements(y, indices, op.axis))
    written = b.select(theirs, b.full_like(updates, 1), none)
    count = b.scatter_elements(b.select(mine, b.full_like(x, 1), zero), indices, written, op.axis, "add")
    share = b.div(g, b.max(count, b.full_like(x, 1)))  # NaN equals nothing
    return (
        b.select(mine, share, zero),
        None,
        b.select(theirs, b.gather_elements(share, indices, op.axis), none),
    )


def _dynamic_slice(node: Node, g: Value) -> Cotangents:
    assert isinstance(node.op, DynamicSlice)
    x, starts = node.operands
    return b.dynamic_update_slice(zeros_like(x), g, starts), None


def _dynamic_update_slice(node: Node, g: Value) -> Cotangents:
    _, update, starts = node.operands
    kept = b.dynamic_update_slice(g, zeros_like(update), starts)
    return kept, b.dynamic_slice(g, starts, update.type.shape), None


RULES: Mapping[str, Rule] = {
    # dx[a, indices[i], b] += g[a, i, b]
    "gather": only(_gather),
    # dx[a, indices[a, j, b], b] += g[a, j, b]
    "gather_elements": only(_gather_elements),
    # add: dx = g, du = g[indices]
    # set: dx = g, 0 where something was written; du = g[indices] for the last that wrote there
    # mul: dx = g y / x, du = (g y)[indices] / u; where the divisor is 0, the product without it
    # min, max: g shared among x and all updates that equal y
    "scatter_elements": only(_scatter_elements),
    # dx = g in a box of zeros
    "dynamic_slice": only(_dynamic_slice),
    # dx = g, zeros in the box; du = the box of g
    "dynamic_update_slice": only(_dynamic_update_slice),
}
