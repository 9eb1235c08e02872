"""Bring a graph into its canonical form: folds and rules, until none applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Accuracy
from .base import Pass, Remarks
from .regions import map_regions
from .rules import RULES, Rule

__all__ = ["Canonicalize"]

MAX_SWEEPS = 64
MAX_CHAIN = 32
"""Rewrites in a row at one node; the rules terminate, this only bounds a mistake in them."""


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Apply what folds and every exact rule of the table, region by region, to a fixed point."""

    name: ClassVar[str] = "canonicalize"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        for _ in range(MAX_SWEEPS):
            improved = map_regions(graph, lambda g: self._sweep(g, remarks))
            if improved is graph:
                break
            graph = improved
        return graph

    def _sweep(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
            if len(node.results) != 1:
                return None
            value = improve(node, operands, remarks)
            return None if value is None else [value]

        return rebuild(graph, rewrite)


def improve(node: Node, operands: tuple[Value, ...], remarks: Remarks) -> Value | None:
    """The canonical form of one node's result, or None where it has it already."""
    result: Value | None = None
    current, inputs = node, operands
    for _ in range(MAX_CHAIN):
        step = _once(current, inputs, remarks)
        if step is None:
            return result
        result = step
        if step.node is None or step.node is node or len(step.node.results) != 1:
            return result
        current, inputs = step.node, step.node.operands
    return result


def _once(node: Node, operands: tuple[Value, ...], remarks: Remarks) -> Value | None:
    folded = node.op.fold(*operands)
    if folded is not None and folded.type == node.results[0].type and remarks.allow(f"fold-{node.op.mnemonic}"):
        return folded
    for rule in _rules_for(node):
        if rule.accuracy is not Accuracy.EXACT:
            continue
        value = rule.apply(node, operands)
        if value is not None and remarks.allow(rule.name):
            return value
    return None


def _rules_for(node: Node) -> list[Rule]:
    return [rule for rule in RULES if isinstance(node.op, rule.op)]
