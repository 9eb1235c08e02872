"""The page of a compilation: one HTML file that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir.program import Program
from ..passes.manager import Pipeline
from .collect import compilation, page_data
from .escape import asset, document, mark_up

if TYPE_CHECKING:
    from ..inspect.profile import Profile

__all__ = ["page", "program_html"]


def page(
    program: Program,
    *,
    backend: str = "llvm",
    level: int = 2,
    pipeline: Pipeline | None = None,
    profile: Profile | None = None,
    roots: Sequence[Path] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """A page that shows how a program becomes what a backend runs.

    Passes with what each changed, the graph before and after, source, kernels, LLVM text and assembly side by side,
    differences between any two passes, memory and times. It asks nothing of any network.

    Args:
        backend:  whose pipeline runs, and who compiles
        level:    how much to optimise, 0 to 3
        pipeline: instead of the backend's own
        profile:  of the compiled program, to be shown too
        roots:    folders in which sources are looked for; the working directory, and that of nervure, if not given
        clock:    seconds, for the times of passes

    Raises:
        NervureError: a pass fails, or there is no such backend
    """
    made = compilation(program, backend, level, pipeline, clock)
    where = (Path.cwd(), Path(__file__).resolve().parents[2]) if roots is None else tuple(roots)
    data = page_data(made, profile, where)
    return document(program.name or "program", asset("page.html"), asset("page.css"), asset("page.js"), data)


def program_html(program: Program) -> str:
    """A program for a notebook: each graph as a picture, its text folded away. No script, no style."""
    from .svg import svg

    parts: list[str] = []
    for graph in program.graphs.values():
        title = f"graph {graph.name}, {len(graph.nodes)} nodes"
        picture = svg(graph) if len(graph.nodes) <= NOTEBOOK_NODES else "<p>too large to draw here</p>"
        parts.append(f"<details open><summary>{mark_up(title)}</summary>{picture}</details>")
    lines = str(program).splitlines()
    shown = "\n".join(map(mark_up, lines[:NOTEBOOK_LINES]))
    more = len(lines) - NOTEBOOK_LINES
    shown += f"\n... and {more} lines more" if more > 0 else ""
    parts.append(f"<details><summary>text</summary><pre>{shown}</pre></details>")
    return f"<div><strong>{mark_up(program.name or 'program')}</strong>{''.join(parts)}</div>"


NOTEBOOK_NODES = 5000
NOTEBOOK_LINES = 2000
