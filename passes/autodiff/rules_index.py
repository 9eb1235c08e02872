"""Derivatives of reading and writing at computed positions."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Node, Value
from ...ir.ops.index import Gather, GatherElements, ScatterElements
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
    kept = b.scatter_elements(g, indices, zeros_like(updates), op.axis, "set")
    writer = b.iota(i64, indices.type.shape, op.axis)
    nobody = b.full(x.type.with_dtype(i64), -1)
    last = b.gather_elements(b.scatter_elements(nobody, indices, writer, op.axis, "set"), indices, op.axis)
    return kept, None, b.select(b.eq(last, writer), read, zeros_like(updates))


RULES: Mapping[str, Rule] = {
    # dx[a, indices[i], b] += g[a, i, b]
    "gather": only(_gather),
    # dx[a, indices[a, j, b], b] += g[a, j, b]
    "gather_elements": only(_gather_elements),
    # add: dx = g, du = g[indices]
    # set: dx = g, 0 where something was written; du = g[indices] for the last that wrote there
    "scatter_elements": only(_scatter_elements),
}
