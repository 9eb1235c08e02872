"""Graphs with regions: apply a transformation to every region, and tell equal regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.op import Op

__all__ = ["fingerprint", "map_regions"]


def map_regions(
    graph: Graph,
    transform: Callable[[Graph], Graph],
    *,
    closed: tuple[type[Op], ...] = (),
    inner: Callable[[Graph], Graph] | None = None,
) -> Graph:
    """The graph after `transform` on its regions and then on itself; the same object where nothing changed.

    Regions nest at most as deep as the verifier allows, so this may recurse over them.

    Args:
        closed: ops whose regions are left alone
        inner:  the transformation of regions, where it is another one
    """
    inside = transform if inner is None else inner

    def rewrite(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not node.regions or isinstance(node.op, closed):
            return None
        regions = tuple(map_regions(region, inside, closed=closed) for region in node.regions)
        if all(new is old for new, old in zip(regions, node.regions, strict=True)):
            return None
        return make(node.op, *operands, regions=regions, names=[r.name for r in node.results])

    has_regions = any(node.regions for node in graph.nodes)
    return transform(rebuild(graph, rewrite) if has_regions else graph)


def fingerprint(graph: Graph) -> tuple[Any, ...]:
    """Equal for graphs that compute the same in the same order, whatever their values are called."""
    number: dict[Value, int] = {v: k for k, v in enumerate(graph.inputs)}
    rows: list[Any] = [tuple(v.type for v in graph.inputs)]

    def place(value: Value) -> Any:
        return value.entry if value.entry is not None else number[value]

    for node in graph.nodes:
        operands = tuple(place(o) for o in node.operands)
        rows.append((node.op, operands, tuple(fingerprint(r) for r in node.regions)))
        for result in node.results:
            number[result] = len(number)
    rows.append(tuple(place(v) for v in graph.outputs))
    rows.append(tuple((name, place(v)) for name, v in graph.updates))
    return tuple(rows)
