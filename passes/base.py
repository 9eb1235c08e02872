"""What a pass is, and a pipeline of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.graph import Graph
from ..ir.origin import current_origins
from ..ir.program import Program

__all__ = ["Pass", "Remarks"]


@dataclass
class Remarks:
    """What a pass has to say for itself: what it did or refused, and why; one line an event.

    Attributes:
        rewrites: how many rewrites were applied, by name
        touched:  the user's lines that each rewrite had a part in
        notes:    sentences such as ``fuse: conv -> relu refused: the conv has 2 users``
        budget:   how many more rewrites may be applied, or None for no limit; for bisection
    """

    rewrites: dict[str, int] = field(default_factory=dict[str, int])
    touched: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    notes: list[str] = field(default_factory=list[str])
    budget: int | None = None

    def allow(self, name: str) -> bool:
        """Count one rewrite; False once the budget is spent."""
        if self.budget is not None:
            if self.budget <= 0:
                return False
            self.budget -= 1
        self.rewrites[name] = self.rewrites.get(name, 0) + 1
        lines = (f"{origin.file}:{origin.line}" for origin in current_origins())
        self.touched.setdefault(name, {}).update(dict.fromkeys(lines))
        return True

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __iter__(self) -> Iterator[str]:
        return iter(self.notes)


@dataclass(frozen=True)
class Pass:
    """Valid graph in, valid graph out, same signature and meaning; deterministic; the input is untouched.

    A subclass is a frozen dataclass whose fields are its options, with a `name`. It implements `run`; one that reads
    or extends the store implements `run_program` instead.
    """

    name: ClassVar[str]

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        """The improved graph; the same object where nothing changed."""
        raise NotImplementedError(self.name)

    def run_program(self, program: Program, remarks: Remarks) -> Program:
        """The program with every graph improved; the same object where nothing changed."""
        graphs = {name: self.run(graph, remarks) for name, graph in program.graphs.items()}
        changed = [g for name, g in graphs.items() if g is not program.graphs[name]]
        return program.with_graphs(*changed) if changed else program
