"""Everything that a page shows, as plain data: passes, stages, source, code, memory and profile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..backends.base import find_backend
from ..ir.program import Program
from ..passes.manager import Pipeline, Record, run_pipeline
from .pool import Budget, Identities, Pool, Stage, drawn_graphs, graph_json, listing_json

if TYPE_CHECKING:
    from ..backends.llvm.executable import LLVMExecutable
    from ..inspect.profile import Profile

__all__ = ["Compilation", "compilation", "page_data"]

BYTES = 4_300_000
BYTES_A_NODE = 1600
MOST_BYTES = 24_000_000
"""Of a page's data; what does not fit is left out, and the page says so. Programs of thousands of nodes may have more."""

AROUND = 30
"""Lines of a source file shown around those that the program comes from."""

LONGEST_SOURCE = 3000
NODES_TO_COMPILE = 3000
"""Programs of more nodes are shown without machine code."""

NODES_TO_UNFOLD = 1500
"""Graphs of more nodes are drawn with their repeats folded alone."""


@dataclass(frozen=True)
class Compilation:
    """A run of a pipeline, with every program on the way.

    Args:
        programs:   the input, then one after each pass
        records:    one a pass
        backend:    by name, or empty
        executable: of the last program, where the backend has kernels to show
        refusal:    why there is none
    """

    programs: tuple[Program, ...]
    records: tuple[Record, ...]
    backend: str
    executable: LLVMExecutable | None = None
    refusal: str = ""


def compilation(
    program: Program,
    backend: str = "llvm",
    level: int = 2,
    pipeline: Pipeline | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Compilation:
    """Run a backend's pipeline, or another one, and compile what comes out.

    Raises:
        NervureError: a pass fails, or there is no such backend
    """
    from ..backends.llvm.executable import LLVMExecutable
    from ..ir.errors import NervureError

    chosen = find_backend(backend)
    programs = [program]
    result = run_pipeline(
        program, pipeline or chosen.pipeline(level), clock=clock, watch=programs.append, verify=False
    )
    last = result.program
    made = Compilation(tuple(programs), result.records, backend)
    count = sum(1 for graph in last.graphs.values() for _ in graph.walk())
    if count > NODES_TO_COMPILE:
        return replace(made, refusal=f"programs above {NODES_TO_COMPILE} nodes are shown without kernels")
    try:
        executable = chosen.compile(last)
    except NervureError as error:
        return replace(made, refusal=str(error))
    if not isinstance(executable, LLVMExecutable):
        return replace(made, refusal=f"backend {backend} has no kernels to show")
    executable.program = last
    return replace(made, executable=executable)


def page_data(
    made: Compilation, profile: Profile | None = None, roots: Sequence[Path] = ()
) -> dict[str, Any]:
    """What the page's script reads. What is needed comes first, then the rest as long as it fits.

    Args:
        roots: folders in which sources are looked for
    """
    pool, origins = Pool(), Pool()
    last = made.programs[-1]
    counts = [sum(len(g.nodes) for g in p.graphs.values()) for p in made.programs]
    budget = Budget(pool, max(BYTES, min(BYTES_A_NODE * max(counts), MOST_BYTES)))
    data: dict[str, Any] = {
        "name": pool(last.name or "program"),
        "backend": made.backend,
        "refusal": made.refusal,
        "strings": pool.strings,
        "origins": origins.strings,
        "left_out": [],
    }
    shown, number = _changes(made)
    data["passes"] = [
        _pass(r, pool, number[k + 1], counts[k], counts[k + 1]) for k, r in enumerate(made.records)
    ]
    data["memory"] = None
    if made.executable is not None:
        from .machine import memory_json

        data["memory"] = memory_json(made.executable, pool)
    data["profile"] = _profile(profile, pool) if profile is not None else None
    budget.spend(data["passes"])
    data["stages"], numbered = _stages(made, shown, pool, origins, budget, data["left_out"])
    data["facts"] = _facts(made)
    data["code"] = []
    if made.executable is not None:
        from .machine import code_json

        data["code"] = code_json(made.executable, pool, origins, budget, data["left_out"])
    data["sources"] = _sources(origins.strings, roots, pool)
    _unfold(data["stages"], numbered, pool, budget)
    return data


def _changes(made: Compilation) -> tuple[list[int], list[int]]:
    """The programs that differ from the one before; and for each program, which of these it is."""
    shown, number = [0], [0]
    for k in range(1, len(made.programs)):
        if made.programs[k] is not made.programs[k - 1]:
            shown.append(k)
        number.append(len(shown) - 1)
    return shown, number


def _pass(record: Record, pool: Pool, stage: int, before: int, after: int) -> dict[str, Any]:
    """A record; its nodes are counted without those of regions, as they are drawn."""
    return {
        "name": pool(record.pass_),
        "seconds": round(record.seconds, 6),
        "changed": record.changed,
        "before": before,
        "after": after,
        "rewrites": [[pool(n), c] for n, c in sorted(record.rewrites.items())],
        "notes": [pool(note) for note in record.notes[:200]],
        "stage": stage,
    }


def _stages(
    made: Compilation, shown: Sequence[int], pool: Pool, origins: Pool, budget: Budget, left_out: list[str]
) -> tuple[list[dict[str, Any]], list[Stage]]:
    """The first, the last, then the others, with listing and drawings; and the nodes' numbers in each."""
    identities = Identities()
    numbered: list[Stage] = []
    for k in shown:
        numbered.append(identities.stage(made.programs[k], numbered[-1] if numbered else None))
    titles = ["as traced", *(made.records[k - 1].pass_ for k in shown[1:])]
    stages: list[dict[str, Any]] = [{"title": pool(t), "lines": None, "graphs": []} for t in titles]
    order = sorted(range(len(shown)), key=lambda k: (k not in (0, len(shown) - 1), k))
    fits = True
    for k in order:
        lines = listing_json(numbered[k], pool, origins, identities.numbers)
        fits = budget.spend(lines) and fits
        if fits or k in (0, len(shown) - 1):
            stages[k]["lines"] = lines
        else:
            left_out.append(f"the listing after {titles[k]}")
    for k in order:
        graphs = drawn_graphs(made.programs[shown[k]])
        drawings = [graph_json(title, graph, numbered[k], pool) for title, graph in graphs]
        fits = budget.spend(drawings) and fits
        if fits:
            stages[k]["graphs"] = drawings
        else:
            left_out.append(f"the graph after {titles[k]}" if k else "the graph as traced")
    return stages, numbered


def _unfold(stages: list[dict[str, Any]], numbered: Sequence[Stage], pool: Pool, budget: Budget) -> None:
    """Beside each drawing that folds repeats, one without, as long as they fit."""
    for stage, numbers in zip(stages, numbered, strict=True):
        graphs = drawn_graphs(numbers.program)
        for drawing, (title, graph) in zip(stage["graphs"], graphs, strict=False):
            if len(graph.nodes) > NODES_TO_UNFOLD or all(box[0] != "repeat" for box in drawing["boxes"]):
                continue
            whole = graph_json(title, graph, numbers, pool, fold=False)
            if not budget.spend(whole):
                return
            drawing["unfolded"] = whole


def _facts(made: Compilation) -> list[list[str]]:
    first, last = made.programs[0], made.programs[-1]
    before, after = (sum(len(g.nodes) for g in p.graphs.values()) for p in (first, last))
    params = [e for _, e in first.store.items() if e.kind == "param"]
    elements = sum(int(e.type.size) for e in params if isinstance(e.type.size, int))
    symbols = ", ".join(f"{s.name} in {s.lo}..{s.hi}" for s in first.symbols)
    kernels = len(made.executable.kernels) if made.executable is not None else 0
    facts = [["nodes", f"{before} → {after}"], ["parameters", f"{elements:,}"]]
    facts += [["kernels", str(kernels)]] if kernels else []
    facts += [["symbols", symbols]] if symbols else []
    return [*facts, ["backend", made.backend]]


def _profile(profile: Profile, pool: Pool) -> dict[str, Any]:
    return {
        "rows": [[pool(cell) for cell in row] for row in profile.table()],
        "seconds": profile.seconds,
        "runs": profile.runs,
        "peak": profile.peak,
        "bandwidth": profile.bandwidth,
    }


def _sources(origins: Sequence[str], roots: Sequence[Path], pool: Pool) -> list[dict[str, Any]]:
    """The Python files that the program comes from, around its lines: name, number of the first line, lines."""
    wanted: dict[str, list[int]] = {}
    for origin in origins:
        file, _, line = origin.rpartition(":")
        if line.isdigit():
            wanted.setdefault(file, []).append(int(line))
    found: list[dict[str, Any]] = []
    for file, lines in sorted(wanted.items()):
        text = _source(file, roots)
        if text is None or len(text) < max(lines):
            continue
        first = max(1, min(lines) - AROUND)
        last = min(max(lines) + AROUND, first + LONGEST_SOURCE)
        shown = [pool(line.expandtabs(4)) for line in text[first - 1 : last]]
        found.append({"file": pool(file), "first": first, "lines": shown})
    return found


def _source(file: str, roots: Sequence[Path]) -> list[str] | None:
    """The lines of a Python file below one of the folders, and of nothing else that a program may name."""
    path = PurePosixPath(file)
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts or "\0" in file:
        return None
    for root in roots:
        candidate = root / path
        try:
            if candidate.is_file() and candidate.resolve().is_relative_to(root.resolve()):
                return candidate.read_text("utf-8").splitlines()
        except (OSError, UnicodeError):
            continue
    return None
