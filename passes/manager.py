"""Running a pipeline: verification, timing, printing, dumps and bisection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ir.errors import InputError, NervureError, reason_of
from ..ir.program import Program
from ..ir.text import print_graph, print_program, save
from ..ir.verify import verify_program
from .base import Pass, Remarks
from .pipeline import Pipeline, pass_text, passes_by_name, suggest

__all__ = ["Pipeline", "PipelineResult", "Record", "passes_by_name", "run_pipeline"]


@dataclass(frozen=True)
class Record:
    """What one pass did.

    Args:
        pass_:         the pass, as text
        seconds:       how long it took, verification apart
        changed:       whether the program is another one
        before, after: nodes of all graphs, regions included
        rewrites:      how many by name
        notes:         what the pass has to say
        touched:       the user's lines that each rewrite had a part in
    """

    pass_: str
    seconds: float
    changed: bool
    before: int
    after: int
    rewrites: Mapping[str, int]
    notes: tuple[str, ...]
    touched: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        done = ", ".join(f"{count} {name}" for name, count in self.rewrites.items()) or "nothing"
        return f"{self.pass_}: {self.before} -> {self.after} nodes, {1e3 * self.seconds:.1f} ms: {done}"


@dataclass(frozen=True)
class PipelineResult:
    """The improved program, and a record a pass."""

    program: Program
    records: tuple[Record, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What all passes have to say, in order."""
        return tuple(note for record in self.records for note in record.notes)

    @property
    def rewrites(self) -> int:
        """How many rewrites were applied in all: the end of the range in which to bisect with `stop_after`."""
        return sum(count for record in self.records for count in record.rewrites.values())


def run_pipeline(
    program: Program,
    pipeline: Pipeline,
    *,
    verify: bool = True,
    dump_dir: Path | None = None,
    print_after: str | None = None,
    echo: Callable[[str], None] = print,
    stop_after: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    watch: Callable[[Program], None] | None = None,
) -> PipelineResult:
    """Run the passes in order.

    Args:
        verify:      check the program before the first pass and after each that changed it
        dump_dir:    write one numbered ``.nv`` for the input and for each pass that changed something
        print_after: "changed" for the graphs that a pass changed, "all" for every graph after every pass, or the
                     name of a pass for the graphs that it changed
        echo:        where the printed graphs go
        stop_after:  apply at most so many rewrites, for bisection of a wrong result
        clock:       seconds, for the records
        watch:       called with the program after each pass

    Raises:
        VerifyError: a pass broke the program; the error names the pass
        InputError: print_after names no pass
    """
    if print_after not in (None, "changed", "all", *passes_by_name()):
        hint = suggest(print_after, ("changed", "all", *passes_by_name()))
        raise InputError(f"print_after: no pass is named {print_after}", hint=hint, code="NV0402")
    if verify:
        verify_program(program)
    if dump_dir is not None:
        _make_folder(dump_dir)
        save(program, dump_dir / "00_input.nv")
    budget = stop_after
    records: list[Record] = []
    for number, pass_ in enumerate(pipeline.passes, start=1):
        remarks = Remarks(budget=budget)
        start = clock()
        result = pass_.run_program(program, remarks)
        seconds = clock() - start
        changed = result is not program
        if changed and verify:
            _verify_after(result, pass_)
        if print_after in ("all", "changed", pass_.name):
            _print(program, result, pass_, print_after == "all", echo)
        if changed and dump_dir is not None:
            save(result, dump_dir / f"{number:02d}_{pass_.name}.nv")
        counts = count_nodes(program), count_nodes(result)
        touched = {name: tuple(sorted(lines)) for name, lines in remarks.touched.items()}
        records.append(
            Record(
                pass_text(pass_), seconds, changed, *counts, remarks.rewrites, tuple(remarks.notes), touched
            )
        )
        if watch is not None:
            watch(result)
        budget, program = remarks.budget, result
    return PipelineResult(program, tuple(records))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason_of(error, path)}", code="NV0304") from error


def _verify_after(program: Program, pass_: Pass) -> None:
    try:
        verify_program(program)
    except NervureError as error:
        error.message = f"after pass {pass_.name}: {error.message}"
        error.details = (*error.details, *print_program(program).splitlines()[:40])
        raise


def _print(
    before: Program, after: Program, pass_: Pass, everything: bool, echo: Callable[[str], None]
) -> None:
    for name, graph in after.graphs.items():
        if everything or before.graphs.get(name) is not graph:
            echo(f"// after {pass_text(pass_)}\n{print_graph(graph)}")


def count_nodes(program: Program) -> int:
    """Nodes of all graphs, regions included."""
    return sum(1 for graph in program.graphs.values() for _ in graph.walk())
