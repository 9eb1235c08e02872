"""The smallest program that still shows a fault: delta debugging on the nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..ir.errors import InputError
from ..ir.interpret import evaluate_graph, run_prepare
from ..ir.program import Program
from ..ir.types import Array
from ..ir.verify import verify_program
from ..passes.manager import Pipeline, run_pipeline
from .bisect import bisect
from .cuts import Contents, bypasses, copied, only, opened_regions, smaller_dims, static, without_prepare
from .movement import reference
from .tolerance import Yardstick

__all__ = ["Check", "pass_check", "reduce", "same_blame"]

Check = Callable[[Program, Sequence[Array]], Any]
"""What is wrong with a program on these inputs, as something true that can be compared; something false if nothing is."""

Sample = tuple[Program, list[Array]]

LIMIT = 5000
"""Programs that are checked at most."""


def reduce(program: Program, inputs: Sequence[Array], check: Check, *, limit: int = LIMIT) -> Sample:
    """A program with as few nodes as possible, and its inputs, of which the check says what it says of the given one.

    Nodes are dropped, their values become inputs with the content that the reference computes, nodes are bypassed by an
    operand of their type, calls and loops are written out, dims shrink, numbers are rounded. Each step is kept where the
    check returns the same as for the program as it was given. The program that is given, and its store, stay as they are.

    Args:
        check: returns something true for the program that is given; an exception counts as false
        limit: programs that are checked at most

    Raises:
        InputError: the check finds nothing wrong with the program as it is given
    """
    with np.errstate(all="ignore"):
        return _Reduction(copied(program), list(inputs), check, limit).run()


def same_blame(pipeline: Pipeline, backend: str | None = None) -> Check:
    """Checks with `bisect`: the pass and the rewrite, or the kernel, that is to blame."""

    def check(program: Program, inputs: Sequence[Array]) -> tuple[str, ...] | None:
        verdict = bisect(program, pipeline, inputs, backend=backend)
        return verdict.blame if verdict.kind in ("pass", "backend") else None

    return check


def pass_check(pipeline: Pipeline) -> Check:
    """Checks whether some passes change a result beyond rounding, or fail: "wrong", or the error's name."""

    def check(program: Program, inputs: Sequence[Array]) -> str:
        yardstick = Yardstick(program, inputs)
        try:
            result = run_pipeline(program, pipeline)
            found = reference(result.program, inputs)
        except Exception as error:
            return type(error).__name__
        return "wrong" if yardstick.compare(found, "").wrong else ""

    return check


class _Reduction:
    """The smallest program so far."""

    def __init__(self, program: Program, inputs: list[Array], check: Check, limit: int) -> None:
        self.program = program
        self.inputs = inputs
        self.check = check
        self.left = limit
        self.wanted = check(program, inputs)
        if not self.wanted:
            raise InputError("reduce: the check finds nothing wrong with the program as it is given")

    def run(self) -> Sample:
        self._accept(lambda: (without_prepare(self.program), self.inputs))
        self._accept(lambda: static(self.program, self.inputs))
        size = -1
        while size != self._size() and self.left > 0:
            size = self._size()
            self._drop_nodes()
            self._drop_updates()
            self._take_any(bypasses)
            self._take_any(opened_regions)
            self._shrink()
        self._accept(lambda: (self.program, [_rounded(a) for a in self.inputs]))
        return self.program, self.inputs

    def _size(self) -> int:
        """Nodes, regions' nodes included, and elements of all leaves: what must go down."""
        main = self.program.main
        elements = sum(a.size for a in self.inputs) + sum(e.data.size for e in self.program.store.values())
        return sum(1 for _ in main.walk()) * 1_000_000_000 + len(main.roots) * 1_000_000 + elements

    # candidates
    def _shows(self, program: Program, inputs: Sequence[Array]) -> bool:
        """Whether the check says of a candidate what it says of the program that was given."""
        if self.left <= 0:
            return False
        self.left -= 1
        try:
            verify_program(program)
            return bool(self.check(program, inputs) == self.wanted)
        except Exception:
            return False

    def _accept(self, make: Callable[[], Sample]) -> bool:
        """Go on with a candidate, if it can be made and shows the fault."""
        try:
            program, inputs = make()
        except Exception:
            return False
        if not self._shows(program, inputs):
            return False
        self.program, self.inputs = program, list(inputs)
        return True

    def _take_any(self, candidates: Callable[[Program], Iterable[Callable[[], Program]]]) -> None:
        """Candidates of the program that stands, anew after each that is taken."""
        taken = True
        while taken and self.left > 0:
            taken = any(
                self._accept(lambda make=make: (make(), self.inputs)) for make in candidates(self.program)
            )

    # steps
    def _drop_nodes(self) -> None:
        program, inputs, values = self.program, self.inputs, self._contents()
        updates = range(len(program.main.updates))

        def shows(kept: list[int]) -> bool:
            return self._accept(lambda: only(program, inputs, values, kept, updates))

        every = list(range(len(program.main.nodes)))
        shows(every)  # without leaves that nothing reads
        minimal(every, shows)

    def _drop_updates(self) -> None:
        program, inputs, values = self.program, self.inputs, self._contents()
        if not program.main.updates:
            return
        nodes = range(len(program.main.nodes))

        def shows(kept: list[int]) -> bool:
            return self._accept(lambda: only(program, inputs, values, nodes, kept))

        if not shows([]):
            minimal(list(range(len(program.main.updates))), shows)

    def _shrink(self) -> None:
        sizes = sorted({d for a in self._leaves() for d in a.shape if d > 1}, reverse=True)
        for size in sizes:
            for smaller in dict.fromkeys((1, 2, (size + 1) // 2)):
                if smaller < size and self._accept(
                    lambda size=size, smaller=smaller: smaller_dims(self.program, self.inputs, size, smaller)
                ):
                    break

    def _leaves(self) -> list[Array]:
        return [*self.inputs, *(e.data for e in self.program.store.values())]

    def _contents(self) -> Contents:
        """What the reference computes for every value of the main graph."""
        program = self.program
        run_prepare(program)
        graph = program.main
        reads = {v.entry: program.store[v.entry].data for v in graph.reads() if v.entry is not None}
        found: Contents = dict(zip(graph.inputs, self.inputs, strict=True))

        def keep(node: Any, results: tuple[Array, ...]) -> None:
            found.update(zip(node.results, map(np.array, results), strict=True))

        evaluate_graph(graph, self.inputs, reads, observe=keep)
        return found


def minimal(items: list[int], shows: Callable[[list[int]], bool]) -> list[int]:
    """A part of the items that shows the fault and of which no single item can be left out.

    Source: A. Zeller and R. Hildebrandt, Simplifying and isolating failure-inducing input, 2002
    """
    count = 2
    while len(items) > 1:
        size = -(-len(items) // count)
        parts = [items[k : k + size] for k in range(0, len(items), size)]
        for k, part in enumerate(parts):
            if len(parts) > 2 and len(part) < len(items) and shows(part):
                items, count = part, 2
                break
            rest = [item for other in (*parts[:k], *parts[k + 1 :]) for item in other]
            if rest and shows(rest):
                items, count = rest, max(count - 1, 2)
                break
        else:
            if size == 1:
                break
            count = min(2 * count, len(items))
    return items


def _rounded(array: Array) -> Array:
    return np.round(array, 1) if array.dtype.kind == "f" else array
