"""Move what depends on weights alone out of the call, into the graph `prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Value, rebuild
from ..ir.program import Program
from ..ir.store import Entry
from .base import Pass, Remarks

__all__ = ["SplitPrepare"]

CHEAP = ("constant", "iota", "broadcast_in_dim", "reshape")
"""Ops that are no work: a value made of them alone is not worth an entry."""


@dataclass(frozen=True)
class SplitPrepare(Pass):
    """Values that depend on store entries which the program does not update become derived entries.

    The graph `prepare` computes them, at load and when the store's version moved. Exact: the same ops run, earlier.
    """

    name: ClassVar[str] = "split-prepare"

    def run_program(self, program: Program, remarks: Remarks) -> Program:
        graph = program.main
        if program.prepare is not None:
            return program
        moved = _moved(graph)
        moved = [v for v in moved if remarks.allow("split-prepare")]
        if not moved:
            return program
        taken = set(program.store)
        entries: list[Entry] = []
        reads: dict[Value, Value] = {}
        for value in moved:
            name = f"prepared.{len(entries)}"
            assert name not in taken, name
            entries.append(Entry(name, value.type, "derived"))
            reads[value] = Value(value.type, entry=name, name=name)
            remarks.note(f"split-prepare: {value.type} of {value.op.mnemonic if value.op else '?'} becomes @{name}")
        prepare = Graph("prepare", [], [], [(e.name, v) for e, v in zip(entries, moved, strict=True)])
        rest = rebuild(graph, lambda node, _: [reads.get(r, r) for r in node.results] if any(r in reads for r in node.results) else None)
        store = program.store.with_entries(entries)
        return Program(program.name, [prepare, rest], store)


def _moved(graph: Graph) -> list[Value]:
    """The frontier: fixed values, more than cheap, that something not fixed uses."""
    updated = {name for name, _ in graph.updates}
    fixed: set[Value] = set()
    worthy: set[Value] = set()
    for node in graph.nodes:
        leaves = [o for o in node.operands if o.node is None]
        if any(o.entry is None or o.entry in updated for o in leaves):
            continue
        if any(o not in fixed for o in node.operands if o.node is not None):
            continue
        if not all(r.type.is_static for r in node.results):
            continue
        fixed.update(node.results)
        reads = bool(leaves) or any(o in worthy for o in node.operands)
        if reads:
            worthy.update(node.results)
    work: dict[Value, bool] = {}
    frontier: dict[Value, None] = {}
    for node in graph.nodes:
        for result in node.results:
            if result in fixed:
                own = node.op.mnemonic not in CHEAP
                work[result] = own or any(work.get(o, False) for o in node.operands)
        if not any(r in fixed for r in node.results):
            for operand in node.operands:
                if operand in worthy and work.get(operand, False):
                    frontier[operand] = None
    for root in graph.roots:
        if root in worthy and work.get(root, False):
            frontier[root] = None
    return list(frontier)
