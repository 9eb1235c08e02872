"""Derivatives of reductions: the cotangent g of the result, carried back along the axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Node, Value
from ...ir.ops.reduce import ReduceMax, ReduceMin, ReduceProd, ReduceSum
from ...ir.types import TensorType
from .rule import Cotangents, Rule, attributes_of, only, zeros_like
from .rules_move import inverse

__all__ = ["RULES"]


def _sum(node: Node, g: Value) -> Cotangents:
    axes = attributes_of(node, ReduceSum).axes
    return (b.expand(g, node.operands[0].type.shape, axes),)


def _prod(node: Node, g: Value) -> Cotangents:
    axes, x = attributes_of(node, ReduceProd).axes, node.operands[0]
    size = product(tuple(x.type.shape[a] for a in axes))
    if isinstance(size, int):
        others = _product_of_others(x, axes, size)
    else:
        others = _product_of_others_by_division(x, axes, node.results[0])
    return (b.mul(b.expand(g, x.type.shape, axes), others),)


def _product_of_others(x: Value, axes: tuple[int, ...], size: int) -> Value:
    """For each element the product of the rest, without a division: those before it times those after it."""
    kept = tuple(k for k in range(x.type.rank) if k not in axes)
    moved = b.permute(x, kept + axes)
    line = b.reshape(moved, (*(x.type.shape[k] for k in kept), size))
    one = b.full(TensorType(x.type.dtype), 1)

    def shift(y: Value, by: int) -> Value:
        none = [0] * len(kept)
        return b.pad(y, one, [*none, by], [*none, -by])

    def running(sign: int) -> Value:
        total, reach = shift(line, sign), 1
        while reach < size:
            total, reach = b.mul(total, shift(total, sign * reach)), 2 * reach
        return total

    others = line if size == 0 else b.mul(running(1), running(-1))
    return b.permute(b.reshape(others, moved.type.shape), inverse(kept + axes))


def _product_of_others_by_division(x: Value, axes: tuple[int, ...], y: Value) -> Value:
    """For each element the product of the rest, where the number of elements is not known now.

    Right in first order; the second derivative where an element is 0 is not.
    """
    shape = x.type.shape
    zero, one = zeros_like(x), b.full_like(x, 1)
    is_zero = b.eq(x, zero)
    safe = b.select(is_zero, one, x)
    zeros = b.expand(b.reduce_sum(b.select(is_zero, one, zero), axes), shape, axes)
    rest = b.expand(b.reduce_prod(safe, axes), shape, axes)
    alone = b.and_(is_zero, b.eq(zeros, one))
    return b.select(b.eq(zeros, zero), b.div(rest, safe), b.select(alone, rest, zero))


def _extreme(axes_of: Callable[[Node], tuple[int, ...]]) -> Rule:
    def rule(node: Node, g: Value) -> Cotangents:
        axes, x, y = axes_of(node), node.operands[0], node.results[0]
        shape, zero = x.type.shape, zeros_like(x)
        largest = b.eq(x, b.expand(y, shape, axes))
        count = b.reduce_sum(b.select(largest, b.full_like(x, 1), zero), axes)
        return (b.select(largest, b.expand(b.div(g, count), shape, axes), zero),)

    return only(rule)


RULES: Mapping[str, Rule] = {
    # d sum = sum of dx
    "reduce_sum": only(_sum),
    # d prod = sum of (product of the others) dx            right at zeros too
    "reduce_prod": only(_prod),
    # d max = dx of the largest, the mean over equals
    "reduce_max": _extreme(lambda node: attributes_of(node, ReduceMax).axes),
    "reduce_min": _extreme(lambda node: attributes_of(node, ReduceMin).axes),
}
