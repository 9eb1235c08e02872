"""Drop what nothing needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.ops.control import Fuse, Scan
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["DeadCode"]


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes that no output and no update depends on; and, of scans and fused regions, results that nobody
    uses and operands that the body does not read. Carries of a scan stay. Exact.
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
        if not isinstance(node.op, (Scan, Fuse)):
            return None
        carries = node.op.carries if isinstance(node.op, Scan) else 0
        (body,) = node.regions
        results = [k for k, r in enumerate(node.results) if k < carries or r in used]
        outputs = [body.outputs[k] for k in results]
        narrower = body.replace(outputs=outputs)
        read = set(narrower.uses())
        inputs = [k for k, v in enumerate(body.inputs) if k < carries or v in read]
        same = len(results) == len(node.results) and len(inputs) == len(operands)
        if same or not results or not remarks.allow(f"dce-{node.op.mnemonic}"):
            return None
        op = node.op
        if isinstance(op, Scan):
            op = replace(op, xs=sum(carries <= k < carries + op.xs for k in inputs))
        narrower = narrower.replace(inputs=_pick(body.inputs, inputs))
        made = make(
            op,
            *_pick(operands, inputs),
            regions=(narrower,),
            names=[node.results[k].name for k in results],
        )
        found = list(node.results)
        for k, value in zip(results, made, strict=True):
            found[k] = value
        return found

    return rebuild(graph, rewrite)


def _pick(values: Sequence[Value], places: Iterable[int]) -> list[Value]:
    return [values[k] for k in places]
