"""Derivatives of what runs along an axis in order: running sums and products, sorting."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.graph import Node, Value
from ...ir.ops.cumulative import CumProd, CumSum
from ...ir.ops.sort import Sort, TopK
from ...ir.types import TensorType
from .rule import Cotangents, Rule, attributes_of, only, zeros_like

__all__ = ["RULES"]


def _cumsum(node: Node, g: Value) -> Cotangents:
    op = attributes_of(node, CumSum)
    return (b.cumsum(g, op.axis, op.exclusive, not op.reverse),)


def _cumprod(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, CumProd), node.operands[0]
    axis, size = op.axis, x.type.shape[op.axis]
    turned = [axis] if op.reverse else []
    x, g = b.reverse(x, turned), b.reverse(g, turned)
    if op.exclusive:  # the inclusive products one place later: their cotangents stand one place earlier
        g = _shift(g, axis, -1, 0)
    if isinstance(size, int):
        before = b.cumprod(x, axis, exclusive=True)
        dx = b.mul(before, _weighted_products_behind(x, g, axis, size))
    else:
        dx = _by_division(x, g, axis)
    return (b.reverse(dx, turned),)


def _shift(x: Value, axis: int, by: int, fill: float) -> Value:
    """x moved along the axis, towards its end where `by` is positive."""
    amounts = [by if k == axis else 0 for k in range(x.type.rank)]
    return b.pad(x, b.full(TensorType(x.type.dtype), fill), amounts, [-n for n in amounts])


def _weighted_products_behind(x: Value, g: Value, axis: int, size: int) -> Value:
    """s[k] = the sum over j >= k of g[j] x[k + 1] ... x[j], by s[k] = g[k] + x[k + 1] s[k + 1], in doubling steps."""
    factor, total, reach = _shift(x, axis, -1, 0), g, 1
    while reach < size:
        total = b.add(total, b.mul(factor, _shift(total, axis, -reach, 0)))
        factor = b.mul(factor, _shift(factor, axis, -reach, 0))
        reach *= 2
    return total


def _by_division(x: Value, g: Value, axis: int) -> Value:
    """The same where the number of elements is not known now.

    Right in first order; the second derivative behind an element that is 0 is not.
    """
    zero, one = zeros_like(x), b.full_like(x, 1)
    is_zero = b.eq(x, zero)
    zeros = b.cumsum(b.select(is_zero, one, zero), axis)
    first = b.and_(is_zero, b.eq(zeros, one))
    safe = b.select(is_zero, one, x)
    without = b.cumprod(b.select(first, one, x), axis)
    at_zero = b.cumsum(b.mul(g, without), axis, reverse=True)
    before = b.div(b.cumsum(b.mul(g, b.cumprod(x, axis)), axis, reverse=True), safe)
    return b.select(first, at_zero, b.select(b.eq(zeros, zero), before, zero))


def _written_back(axis: int, node: Node, g: Value) -> Cotangents:
    x, indices = node.operands[0], node.results[1]
    if indices.type.size == 0:
        return (zeros_like(x),)
    return (b.scatter_elements(zeros_like(x), indices, g, axis),)


RULES: Mapping[str, Rule] = {
    # dx = the running sum of g from the other end
    "cumsum": only(_cumsum),
    # dx[k] = x[0] ... x[k - 1] s[k],  s[k] = g[k] + x[k + 1] s[k + 1]      right at zeros, in every order
    "cumprod": only(_cumprod),
    # dx[indices[j]] = g[j]
    "sort": only(lambda node, g: _written_back(attributes_of(node, Sort).axis, node, g)),
    "top_k": only(lambda node, g: _written_back(attributes_of(node, TopK).axis, node, g)),
}
