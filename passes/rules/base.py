"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir.graph import Node, Value
from ...ir.op import Accuracy, Op

__all__ = ["Function", "Rule", "is_full", "producer"]

Function = Callable[[Node, tuple[Value, ...]], "Value | None"]


@dataclass(frozen=True)
class Rule:
    """A named rewrite of one node.

    Args:
        name:     for counting, bisecting and reading
        op:       the class of the node that it looks at
        apply:    given the node and its new operands, the value that stands for its result, or None
        accuracy: how far results may move: EXACT keeps bits
    """

    name: str
    op: type[Op]
    apply: Function
    accuracy: Accuracy = Accuracy.EXACT


def producer(value: Value, op: type[Op]) -> Node | None:
    """The node that makes the value, where it applies this op."""
    return value.node if value.node is not None and isinstance(value.node.op, op) else None


def is_full(value: Value, number: float) -> bool:
    """Whether every element of the value is this number, as far as constants and broadcasts tell."""
    from ...ir.ops.constant import Constant
    from ...ir.ops.move import BroadcastInDim, Reshape

    while value.node is not None and isinstance(value.node.op, (BroadcastInDim, Reshape)):
        value = value.node.operands[0]
    if value.node is None or not isinstance(value.node.op, Constant):
        return False
    array = value.node.op.value.array
    return array.size == 1 and bool(array.reshape(-1)[0] == number)
