"""Drop what nothing needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["DeadCode"]


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes that no output and no update depends on. Exact."""

    name: ClassVar[str] = "dce"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def clean(g: Graph) -> Graph:
            kept = g.replace()
            dead = len(g.nodes) - len(kept.nodes)
            return kept if dead and remarks.allow("dce") else g

        return map_regions(graph, clean)
