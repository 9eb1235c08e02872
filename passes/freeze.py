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

    The result no longer follows the weights.
    """

    name: ClassVar[str] = "freeze"

    def run_program(self, program: Program, remarks: Remarks) -> Program:
        graph = program.main
        updated = {name for name, _ in graph.updates}
        reads = [v for v in graph.reads() if v.entry not in updated]
        if not reads:
            return program
        run_prepare(program)
        leaves: dict[Value, Value] = {}
        for read in reads:
            assert read.entry is not None
            if remarks.allow("freeze"):
                leaves[read] = b.constant(program.store[read.entry].data, name=read.entry)
        frozen = rebuild(graph, lambda node, _: None, leaves)
        kept = {v.entry for v in frozen.reads() if v.entry is not None} | updated
        return Program(program.name, [frozen], program.store.only(kept))
