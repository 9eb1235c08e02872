"""One scan where there were two of the same steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph
from .autodiff.loops import shared
from .base import Pass, Remarks

__all__ = ["ShareScans"]


@dataclass(frozen=True)
class ShareScans(Pass):
    """Let a scan stand for the same one with fewer results, as differentiation leaves both. Exact.

    It sees the two by their nodes, so it comes before passes that exchange these; `merge-scans` finds more.
    """

    name: ClassVar[str] = "share-scans"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        after = shared(graph)
        return after if after is not graph and remarks.allow("share-scans") else graph
