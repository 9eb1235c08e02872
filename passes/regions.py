"""Apply a transformation of graphs to a graph and every region in it, innermost first."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.graph import Graph, Node, Value, make, rebuild

__all__ = ["map_regions"]


def map_regions(graph: Graph, transform: Callable[[Graph], Graph]) -> Graph:
    """The graph after `transform` on its regions and then on itself; the same object where nothing changed.

    Regions nest at most as deep as the verifier allows, so this may recurse over them.
    """

    def rewrite(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not node.regions:
            return None
        regions = tuple(map_regions(region, transform) for region in node.regions)
        if all(new is old for new, old in zip(regions, node.regions, strict=True)):
            return None
        return make(node.op, *operands, regions=regions, names=[r.name for r in node.results])

    return transform(rebuild(graph, rewrite))
