"""Pools behind convolutions, computed where the sums are: the map between is never stored."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from ....ir.graph import Node, Value
from ....ir.ops.window import Conv, MaxPool
from .. import kernel_ir as k
from ..target import Target
from .conv_plan import across_columns, plan_conv
from .tails import tail_root
from .weights_plan import plan_weights

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["larger", "pooled", "takes_pool"]

MOST = 16
"""Places of a window whose sums wait in the first cache."""


def larger(best: k.Expr, element: k.Expr) -> k.Expr:
    """The larger of two elements, the first of equal ones; NaN above all."""
    found = k.select(element > best, element, best)
    return k.select(element.ne(element), element, found) if element.dtype.is_float else found


def pooled(lowering: Lowering, value: Value) -> tuple[Node, Value] | None:
    """The convolution in whose kernel a pool is computed, and the end of its tail, which nothing else reads; else None."""
    node = value.node
    if node is None or not isinstance(node.op, MaxPool) or value is not node.results[0]:
        return None
    source = lowering.resolve(node.operands[0])
    read = [v for v in (source, node.results[1]) if v in lowering.wanted or lowering.uses.get(v, 0)]
    if read != [source] or lowering.uses[source] != 1 or lowering.memory_of(source) is not None:
        return None
    maker = source.node
    root = maker if maker is not None and isinstance(maker.op, Conv) else tail_root(lowering, source)
    if (
        root is None
        or source in lowering.wanted
        or not takes_pool(root, node, lowering.target, lowering.resolve)
    ):
        return None
    return root, source


def takes_pool(
    node: Node, pool: Node, target: Target, resolve: Callable[[Value], Value] = lambda value: value
) -> bool:
    """Whether the kernel of a convolution can pool its results: windows side by side that lie within its tiles, sizes that are known."""
    op, shape, window = pool.op, node.results[0].type.shape, node.operands[1].type.shape[2:]
    if not isinstance(node.op, Conv) or not isinstance(op, MaxPool) or len(shape) != 4:
        return False
    apart = op.strides == op.window and {*op.dilation} == {1} and not any(map(any, op.padding))
    known = all(isinstance(d, int) for d in (*shape[2:], *window)) and pool.operands[0].type.shape == shape
    width = shape[3]
    if not apart or not known or not isinstance(width, int) or width < 2 or set(window) == {1}:
        return False
    plan = None if plan_weights(node, target, resolve) is not None else plan_conv(node, target)
    match None if plan is None else plan.kind:
        case "winograd":
            return all(4 % size == 0 for size in op.window) and {*node.op.rhs_dilation} == {1}
        case "across":
            return prod(op.window) <= MOST and across_columns(width, target) % op.window[1] == 0
        case "direct":
            return prod(op.window) <= MOST
        case _:
            return False
