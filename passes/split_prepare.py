"""Move what depends on weights alone out of the call, into the graph `prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.ops.move import BroadcastInDim
from ..ir.program import Program
from ..ir.store import Entry
from .base import Pass, Remarks

__all__ = ["SplitPrepare"]

CHEAP = ("constant", "iota", "broadcast_in_dim", "reshape", "opt_barrier")
"""Ops that are no work: a value made of them alone is not worth an entry."""


@dataclass(frozen=True)
class SplitPrepare(Pass):
    """Values that depend on store entries which the program does not update become derived entries.

    The graph `prepare` computes them, at load and when the store's version moved. Exact: the same ops run, earlier.
    Entries are named prepared.0, prepared.1, ... in the order in which they are first used. Run again, it adds to
    what is prepared.
    """

    name: ClassVar[str] = "split-prepare"

    def run_program(self, program: Program, remarks: Remarks) -> Program:
        moved = [v for v in fixed_frontier(program) if remarks.allow("split-prepare")]
        if not moved:
            return program
        entries: list[Entry] = []
        reads: dict[Value, Value] = {}
        names = (name for k in count() if (name := f"prepared.{k}") not in program.store)
        for value, name in zip(moved, names, strict=False):
            assert value.op is not None
            entries.append(Entry(name, value.type, "derived"))
            reads[value] = Value(value.type, entry=name, name=name)
            remarks.note(f"split-prepare: {value.type} of {value.op.mnemonic} becomes @{name}")
        graphs = {g.name: g for g in program.graphs.values() if g.name != "prepare"}
        graphs[program.main.name] = _reading(program.main, reads)
        prepare = _prepare(program, [e.name for e in entries], moved)
        return Program(program.name, [prepare, *graphs.values()], program.store.with_entries(entries))


def _reading(graph: Graph, reads: dict[Value, Value]) -> Graph:
    """The graph with reads of entries in place of values."""

    def rewrite(node: Node, _: tuple[Value, ...]) -> Sequence[Value] | None:
        if not any(r in reads for r in node.results):
            return None
        return [reads.get(r, r) for r in node.results]

    return rebuild(graph, rewrite)


def _prepare(program: Program, names: Sequence[str], values: Sequence[Value]) -> Graph:
    """What `prepare` did so far, and the new entries; a derived entry that those need is computed, not read."""
    before = () if program.prepare is None else program.prepare.updates
    known = dict(before)
    new = Graph("prepare", [], [], zip(names, values, strict=True))
    leaves = {r: known[r.entry] for r in new.reads() if r.entry is not None and r.entry in known}
    new = rebuild(new, lambda node, _: None, leaves)
    return Graph("prepare", [], [], (*before, *new.updates))


def fixed_frontier(program: Program) -> list[Value]:
    """The values that depend on entries which no graph updates, with some work, and that something else uses."""
    graph = program.main
    updated = {n for g in program.graphs.values() if g.name != "prepare" for n, _ in g.updates}
    fixed: set[Value] = set()
    reading: set[Value] = set()
    worked: set[Value] = set()
    frontier: dict[Value, None] = {}
    for node in graph.nodes:
        if _is_fixed(node, fixed, updated):
            fixed.update(node.results)
            if any(o.entry is not None or o in reading for o in node.operands):
                reading.update(node.results)
            if node.op.mnemonic not in CHEAP or any(o in worked for o in node.operands):
                worked.update(node.results)
        else:
            frontier.update((o, None) for o in node.operands)
    frontier.update((root, None) for root in graph.roots)
    kept = dict.fromkeys(map(_before_broadcast, frontier))
    return [v for v in kept if v in reading and v in worked]


def _before_broadcast(value: Value) -> Value:
    """What a broadcast repeats, which is less to keep and no work to repeat again."""
    while value.node is not None and isinstance(value.node.op, BroadcastInDim):
        value = value.node.operands[0]
    return value


def _is_fixed(node: Node, fixed: set[Value], updated: set[str]) -> bool:
    for operand in node.operands:
        if operand not in fixed and (operand.entry is None or operand.entry in updated):
            return False
    return all(r.type.is_static for r in node.results)
