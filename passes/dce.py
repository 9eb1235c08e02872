"""Drop what nothing needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, collect, make, rebuild
from ..ir.ops.control import Fuse, Scan
from ..ir.ops.loops import If, While
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["DeadCode"]


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes that no output and no update depends on; and, of loops, branches and fused regions, results and
    carries that nothing depends on and operands that no region reads. Exact.
    """

    name: ClassVar[str] = "dce"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def clean(g: Graph) -> Graph:
            kept = g.replace()
            dead = len(g.nodes) - len(kept.nodes)
            return _narrow(kept if dead and remarks.allow("dce") else g, remarks)

        before = None
        while before is not graph:
            before, graph = graph, map_regions(graph, clean)
        return graph


def _narrow(graph: Graph, remarks: Remarks) -> Graph:
    """Make the interfaces of regions as narrow as their use."""
    if not any(node.regions for node in graph.nodes):
        return graph
    used = set(graph.uses())

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, (Scan, Fuse, If, While)):
            return None
        asked = {k for k, r in enumerate(node.results) if r in used}
        fixed = int(isinstance(op, If))  # operands that the regions do not see
        carries = op.carries if isinstance(op, (Scan, While)) else 0
        results, inputs = _needed(node, carries, asked)
        same = len(results) == len(node.results) and len(inputs) == len(operands) - fixed
        if same or not results or not remarks.allow(f"dce-{op.mnemonic}"):
            return None
        left = sum(k < carries for k in inputs)
        if isinstance(op, Scan):
            op = replace(op, carries=left, xs=sum(carries <= k < carries + op.xs for k in inputs))
        elif isinstance(op, While):
            op = replace(op, carries=left)
        regions = [
            r.replace(
                inputs=_pick(r.inputs, inputs),
                outputs=r.outputs
                if isinstance(op, While) and r is node.regions[0]
                else _pick(r.outputs, results),
            )
            for r in node.regions
        ]
        names = [node.results[k].name for k in results]
        given = (*operands[:fixed], *_pick(operands[fixed:], inputs))
        made = make(op, *given, regions=regions, names=names)
        found = list(node.results)
        for k, value in zip(results, made, strict=True):
            found[k] = value
        return found

    return rebuild(graph, rewrite)


def _needed(node: Node, carries: int, asked: set[int]) -> tuple[list[int], list[int]]:
    """The results, and the inputs of the regions, that what is asked for depends on; a carry with its input."""
    always = node.regions[0].outputs if isinstance(node.op, While) else ()
    bodies = node.regions[1:] if isinstance(node.op, While) else node.regions
    while True:
        roots = [*always, *(body.outputs[k] for body in bodies for k in sorted(asked))]
        read = {o for n in collect(roots) for o in n.operands} | set(roots)
        inputs = {k for region in node.regions for k, v in enumerate(region.inputs) if v in read}
        more = {k for k in inputs if k < carries} - asked
        if not more:
            return sorted(asked), sorted(inputs | {k for k in asked if k < carries})
        asked = asked | more


def _pick(values: Sequence[Value], places: Iterable[int]) -> list[Value]:
    return [values[k] for k in places]
