"""Bring a graph into its canonical form: folds and rules, until none applies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Op
from .base import Pass, Remarks
from .driver import to_fixed_point
from .rules import RULES, Rule

__all__ = ["Canonicalize"]

MAX_CHAIN = 32
"""Rewrites in a row at one node; the rules terminate, this only bounds a mistake in them."""


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Apply what folds and the rules of the table, region by region, to a fixed point.

    A rule applies where it moves the result no further than the op's own accuracy allows; exact ones always do.
    """

    name: ClassVar[str] = "canonicalize"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
            if len(node.results) != 1:
                return None
            value = improve(node, operands, remarks)
            return None if value is None else [value]

        return to_fixed_point(graph, lambda g: rebuild(g, rewrite), remarks, name=self.name)


def improve(node: Node, operands: tuple[Value, ...], remarks: Remarks) -> Value | None:
    """The canonical form of one node's result, or None where it has it already."""
    result: Value | None = None
    current, inputs = node, operands
    for _ in range(MAX_CHAIN):
        step = _once(current, inputs, remarks)
        if step is None:
            return result
        result = step
        if step.node is None or step.node is current or len(step.node.results) != 1:
            return result
        current, inputs = step.node, step.node.operands
    return result


def _once(node: Node, operands: tuple[Value, ...], remarks: Remarks) -> Value | None:
    folded = node.op.fold(*operands)
    if folded is not None and remarks.allow(f"fold-{node.op.mnemonic}"):
        return folded
    for rule in rules_for(type(node.op)):
        value = rule.apply(node, operands)
        if value is not None and remarks.allow(rule.name):
            return value
    return None


@cache
def rules_for(kind: type[Op]) -> tuple[Rule, ...]:
    """The rules that look at an op, in the table's order."""
    return tuple(r for r in RULES if issubclass(kind, r.op) and r.accuracy.value <= kind.accuracy.value)
