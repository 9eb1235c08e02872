"""Put the weights into the program, for exports that stand alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Value, rebuild
from ..ir.interpret import run_prepare
from ..ir.program import Program
from .base import Pass, Remarks

__all__ = ["Freeze"]


@dataclass(frozen=True)
class Freeze(Pass):
    """Reads of entries that the program does not update become constants; `prepare` is evaluated and goes.

    The result no longer follows the weights. What is left of the store is what the program updates.
    """

    name: ClassVar[str] = "freeze"

    def run_program(self, program: Program, remarks: Remarks) -> Program:
        graphs = [g for g in program.graphs.values() if g.name != "prepare"]
        updated = {name for g in graphs for name, _ in g.updates}
        if not any(r.entry not in updated for g in graphs for r in g.reads()):
            return program
        run_prepare(program)
        constants: dict[str, Value] = {}

        def frozen(graph: Graph) -> Graph:
            leaves: dict[Value, Value] = {}
            for read in graph.reads():
                entry = read.entry
                if entry is None or entry in updated:
                    continue
                if entry not in constants and remarks.allow("freeze"):
                    constants[entry] = b.constant(program.store[entry].data, name=entry)
                if entry in constants:
                    leaves[read] = constants[entry]
            return rebuild(graph, lambda node, _: None, leaves)

        after = [frozen(g) for g in graphs]
        kept = {r.entry for g in after for r in g.reads() if r.entry is not None} | updated
        needs = program.prepare is not None and any(name in kept for name, _ in program.prepare.updates)
        if needs and program.prepare is not None:
            kept |= {name for name, _ in program.prepare.updates}
            kept |= {r.entry for r in program.prepare.reads() if r.entry is not None}
            after = [program.prepare, *after]
        return Program(program.name, after, program.store.only(kept))
