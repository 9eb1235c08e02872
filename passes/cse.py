"""Compute equal things once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, make, rebuild
from .base import Pass, Remarks
from .regions import fingerprint, map_regions

__all__ = ["CommonSubexpressions"]


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Nodes with equal op, operands and regions become one, and so do reads of one store entry. Exact."""

    name: ClassVar[str] = "cse"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        return map_regions(graph, lambda g: _merge(g, remarks))


def _merge(graph: Graph, remarks: Remarks) -> Graph:
    leaves: dict[Value, Value] = {}
    first: dict[str, Value] = {}
    for read in graph.reads():
        assert read.entry is not None
        kept = first.setdefault(read.entry, read)
        if kept is not read and remarks.allow("cse-reads"):
            leaves[read] = kept
    known: dict[object, tuple[Value, ...]] = {}

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        key = (node.op, operands, tuple(fingerprint(r) for r in node.regions))
        found = known.get(key)
        if found is not None and remarks.allow("cse"):
            return found
        if operands == node.operands:
            known[key] = node.results
            return None
        known[key] = make(node.op, *operands, regions=node.regions, names=[r.name for r in node.results])
        return known[key]

    return rebuild(graph, rewrite, leaves)
