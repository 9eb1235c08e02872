"""Which values a derivative goes through, and which nodes stand between two sets of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir.graph import Node, Value
from .rules import NOT_DIFFERENTIABLE

__all__ = ["between", "depending"]


def depending(order: Iterable[Node], wrt: Iterable[Value]) -> set[Value]:
    """The float values that depend on one of `wrt`, as far as derivatives are concerned."""
    found = {v for v in wrt if v.type.dtype.is_float}
    for node in order:
        if node.op.mnemonic not in NOT_DIFFERENTIABLE and any(o in found for o in node.operands):
            found.update(r for r in node.results if r.type.dtype.is_float)
    return found


def between(heads: Sequence[Value], stops: Iterable[Value]) -> list[Node]:
    """The nodes that the heads need on this side of the stops, operands first."""
    known = set(stops)
    order: dict[Node, None] = {}
    for head in heads:
        stack = [] if head in known or head.node is None else [(head.node, 0)]
        while stack:
            node, k = stack.pop()
            if node in order:
                continue
            while k < len(node.operands):
                operand = node.operands[k]
                k += 1
                if operand not in known and operand.node is not None and operand.node not in order:
                    stack += [(node, k), (operand.node, 0)]
                    break
            else:
                order[node] = None
    return list(order)
