"""One loop for several that do not wait for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, make
from ..ir.ops.control import Scan
from ..ir.origin import merge_origins
from .base import Pass, Remarks
from .inline import inline
from .regions import map_regions
from .scan_form import ScanForm, cloned

__all__ = ["MergeScans"]


@dataclass(frozen=True)
class MergeScans(Pass):
    """Join scans of equal length and direction of which none depends on another, where they share an operand or
    `shared` is false. Exact; `cse` and `simplify-scans` find what the joined bodies have in common.

    Args:
        shared: only scans that read a common operand other than a constant
    """

    name: ClassVar[str] = "merge-scans"
    shared: bool = True

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def merge(g: Graph) -> Graph:
            while True:
                group = _group(g, self.shared)
                if not group or not remarks.allow("merge-scans"):
                    return g
                g = _merged(g, group)

        return map_regions(graph, merge)


def _group(graph: Graph, shared: bool) -> list[Node]:
    """Two or more scans that may be one; the first such in graph order."""
    scans = [n for n in graph.nodes if isinstance(n.op, Scan)]
    if len(scans) < 2:
        return []
    behind = _behind(graph, scans)
    for k, node in enumerate(scans):
        group = [node]
        for other in scans[k + 1 :]:
            alone = all(member not in behind[other] for member in group)
            if alone and _fits(node, other) and (not shared or any(_share(m, other) for m in group)):
                group.append(other)
        if len(group) > 1:
            return group
    return []


def _behind(graph: Graph, scans: Sequence[Node]) -> dict[Node, set[Node]]:
    """The scans that each node needs."""
    inside = set(scans)
    needs: dict[Node, set[Node]] = {}
    for node in graph.nodes:
        found: set[Node] = set()
        for operand in node.operands:
            if operand.node is not None:
                found |= needs[operand.node]
                if operand.node in inside:
                    found.add(operand.node)
        needs[node] = found
    return needs


def _fits(a: Node, c: Node) -> bool:
    assert isinstance(a.op, Scan) and isinstance(c.op, Scan)
    return (a.op.length, a.op.reverse, a.op.unroll) == (c.op.length, c.op.reverse, c.op.unroll)


def _share(a: Node, c: Node) -> bool:
    return any(o in c.operands and (o.node is None or o.node.operands) for o in a.operands)


def _merged(graph: Graph, group: Sequence[Node]) -> Graph:
    """The graph with one scan for the group. No member needs another, so the operands of all are there before."""
    results = _joined(group)
    mapping: dict[Value, Value] = {}
    for node in group:
        mapping.update(zip(node.results, results[node], strict=True))
    mapping = cloned([n for n in graph.nodes if n not in results], mapping)
    return graph.replace(
        outputs=[mapping.get(v, v) for v in graph.outputs],
        updates=[(n, mapping.get(v, v)) for n, v in graph.updates],
    )


def _joined(group: Sequence[Node]) -> dict[Node, list[Value]]:
    """The results of each member, made by one scan; what several read is one operand."""
    forms = [ScanForm.of(node, node.operands) for node in group]
    rows: dict[Value, Value] = {}
    outer: dict[Value, Value] = {}
    carries: list[Value] = []
    outputs: list[list[Value]] = []
    for form, node in zip(forms, group, strict=True):
        own = [Value(c.type, name=c.name) for c in form.carries]
        for row, x in zip(form.rows, form.xs, strict=True):
            rows.setdefault(row, Value(x.type, name=x.name))
        for value, c in zip(form.outer, form.consts, strict=True):
            outer.setdefault(value, Value(c.type, name=c.name))
        given = [*own, *(rows[r] for r in form.rows), *(outer[v] for v in form.outer)]
        outputs.append(inline(node.regions[0], given))
        carries += own
    counts = [len(f.carries) for f in forms]
    nexts = [v for out, n in zip(outputs, counts, strict=True) for v in out[:n]]
    ys = [v for out, n in zip(outputs, counts, strict=True) for v in out[n:]]
    body = Graph("body", [*carries, *rows.values(), *outer.values()], [*nexts, *ys])
    op = replace(forms[0].op, carries=len(carries), xs=len(rows))
    inits = [v for f in forms for v in f.inits]
    origins = merge_origins(*(n.origins for n in group))
    names = [r.name for n, k in zip(group, counts, strict=True) for r in n.results[:k]]
    names += [r.name for n, k in zip(group, counts, strict=True) for r in n.results[k:]]
    found = make(op, *inits, *rows, *outer, regions=(body,), names=names, origins=origins)
    last, steps = iter(found[: len(carries)]), iter(found[len(carries) :])
    return {
        node: [*(next(last) for _ in range(n)), *(next(steps) for _ in node.results[n:])]
        for node, n in zip(group, counts, strict=True)
    }
