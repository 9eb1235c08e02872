"""The driver of rewrites: bounded sweeps over a graph and its regions, until one changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.graph import Graph
from ..ir.op import Op
from .base import Remarks
from .regions import map_regions

__all__ = ["to_fixed_point"]

MAX_SWEEPS = 64


def to_fixed_point(
    graph: Graph,
    sweep: Callable[[Graph], Graph],
    remarks: Remarks,
    *,
    name: str,
    closed: tuple[type[Op], ...] = (),
) -> Graph:
    """Sweep until nothing changes; a note says so where MAX_SWEEPS were not enough.

    Args:
        sweep:  one pass over the nodes of a graph; it returns the graph itself where nothing changed
        name:   of the pass, for the note
        closed: ops whose regions are left alone
    """
    for _ in range(MAX_SWEEPS):
        after = map_regions(graph, sweep, closed=closed)
        if after is graph:
            return graph
        graph = after
    remarks.note(f"{name}: stopped after {MAX_SWEEPS} sweeps")
    return graph
