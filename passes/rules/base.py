"""What a rule is, and the questions that rules ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.op import Accuracy, Op
from ...ir.ops.constant import Constant
from ...ir.ops.elementwise import Binary, Cast, Clamp, Compare, Predicate, Select, Unary
from ...ir.ops.move import BroadcastInDim, Reshape
from ...ir.ops.nn import Relu
from ...ir.ops.pointwise import Bitcast, Fma, Step

__all__ = ["ELEMENTWISE", "Function", "Rule", "is_constant", "is_full", "number_of", "producer"]

ELEMENTWISE: tuple[type[Op], ...] = (
    Unary, Binary, Compare, Predicate, Select, Clamp, Cast, Relu, Step, Fma, Bitcast,
)  # fmt: skip
"""Families whose result at an index depends on their operands at that index alone."""

Function = Callable[[Node, tuple[Value, ...]], "Value | None"]


@dataclass(frozen=True)
class Rule:
    """A named rewrite of one node.

    Laws: the graph does not get worse; constants go right and moves go towards the inputs or vanish, so that the set
    terminates; no state.

    Args:
        name:     for counting, bisecting and reading
        op:       the class or family of the node that it looks at
        apply:    given the node and its new operands, the value that stands for its result, or None
        accuracy: how far the result may move: EXACT keeps bits; a looser rule is for ops that are as loose
    """

    name: str
    op: type[Op]
    apply: Function
    accuracy: Accuracy = Accuracy.EXACT


def producer(value: Value, op: type[Op]) -> Node | None:
    """The node that makes the value, where it applies this op."""
    return value.node if value.node is not None and isinstance(value.node.op, op) else None


def _behind_moves(value: Value) -> Value:
    """What a chain of broadcasts and reshapes repeats."""
    while value.node is not None and isinstance(value.node.op, (BroadcastInDim, Reshape)):
        value = value.node.operands[0]
    return value


def is_constant(value: Value) -> bool:
    """Whether the value is a constant, or one broadcast or reshaped."""
    return producer(_behind_moves(value), Constant) is not None


def number_of(value: Value) -> np.generic[Any] | None:
    """The number that every element of the value is, as far as constants and broadcasts tell."""
    node = producer(_behind_moves(value), Constant)
    if node is None or not isinstance(node.op, Constant) or node.op.value.array.size != 1:
        return None
    return node.op.value.array.reshape(-1)[0]


def is_full(value: Value, number: float) -> bool:
    """Whether every element equals the number; -0 equals 0."""
    found = number_of(value)
    return found is not None and bool(found == number)


def matching_axes(shape: Sequence[Dim], other: Sequence[Dim]) -> dict[int, int] | None:
    """For two shapes that differ by axes of size 1 alone: which axis of the other each longer axis is."""
    mine = [k for k, d in enumerate(shape) if d != 1]
    theirs = [k for k, d in enumerate(other) if d != 1]
    if [shape[k] for k in mine] != [other[k] for k in theirs]:
        return None
    return dict(zip(mine, theirs, strict=True))
