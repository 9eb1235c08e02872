"""What the rows say: a table for people, JSON, and a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .machine import Machine
from .runner import Answer, Round
from .workloads import Workload, cost

__all__ = ["Line", "geometric_mean", "line_of", "matrix", "plot", "summary", "table"]

OURS = "nervure"
BELOW = 0.97
"""A ratio under this counts as behind the fastest peer."""


@dataclass(frozen=True)
class Line:
    """A row's verdict.

    Args:
        aim:     our speed over the fastest peer's, as it is to be
        limit:   seconds that so many cores need at least, each with its share
        loaded:  whether other processes took part of the machine
        answers: of all contestants
    """

    row: str
    threads: int
    aim: float
    limit: float
    loaded: bool
    answers: tuple[Answer, ...]

    def ran(self, *peers: str) -> list[Answer]:
        """Of these contestants, those that have a time."""
        return [a for a in self.answers if a.peer in peers and not a.absent and math.isfinite(a.best)]

    @property
    def ours(self) -> Answer | None:
        return next(iter(self.ran(OURS)), None)

    @property
    def fastest(self) -> Answer | None:
        """The fastest peer; one whose output is off by more than 1 % of the largest is not in the race."""
        fair = [a for a in self.ran(*(a.peer for a in self.answers)) if a.peer != OURS and a.error < 0.01]
        return min(fair, key=lambda a: a.best, default=None)

    @property
    def ratio(self) -> float | None:
        """The fastest peer's time over ours; None where one of them is missing."""
        ours, fastest = self.ours, self.fastest
        return fastest.best / ours.best if ours and fastest else None

    def to_json(self) -> dict[str, Any]:
        answers = [{k: _finite(v) for k, v in asdict(a).items()} for a in self.answers]
        fastest = self.fastest
        found = {"ratio": self.ratio, "fastest": fastest.peer if fastest else None}
        return {**{k: v for k, v in vars(self).items() if k != "answers"}, **found, "answers": answers}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Line:
        """What `to_json` wrote."""
        infinite = float("inf")
        answers = tuple(Answer(**{k: infinite if v is None and k in ("best", "median") else v for k, v in a.items()})
                        for a in found["answers"])  # fmt: skip
        return cls(*(found[k] for k in ("row", "threads", "aim", "limit", "loaded")), answers)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def line_of(workload: Workload, found: Round, machine: Machine) -> Line:
    net = workload.build()
    flops, moved = cost(workload, net)
    held = 4.0 * sum(math.prod(shape) for shape, _ in net.weights.values())
    limit = machine.limit(flops, moved, held) / found.threads
    return Line(found.row, found.threads, workload.aim, limit, found.loaded, tuple(found.answers.values()))


def duration(seconds: float) -> str:
    """Microseconds or milliseconds, three digits."""
    if not math.isfinite(seconds):
        return "-"
    for unit, size in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 1000 * size or unit == "s":
            value = seconds / size
            return f"{value:.{max(0, 2 - int(math.log10(max(value, 1))))}f} {unit}"
    raise AssertionError


def table(lines: Iterable[Line]) -> str:
    """A line a row: ours, the fastest peer, the ratio and its aim, the share of the limit, error, compilation, memory."""
    head = (
        "row",
        "thr",
        "ours",
        "fastest peer",
        "ratio",
        "aim",
        "limit",
        "share",
        "error",
        "compile",
        "cached",
        "MB",
        "",
    )
    rows = [head]
    for line in lines:
        ours, peer = line.ours, line.fastest
        note = " loaded" if line.loaded else ""
        if ours is None:
            reason = next((a.absent for a in line.answers if a.peer == OURS), "not run")
            note = f" {reason}"[:90] + note
        rows.append((
            line.row, str(line.threads), duration(ours.best) if ours else "-",
            f"{peer.peer} {duration(peer.best)}" if peer else "-",
            f"{line.ratio:.2f}" if line.ratio else "-", f"{line.aim:.2f}", duration(line.limit),
            f"{100 * line.limit / ours.best:.0f} %" if ours else "-", f"{ours.error:.0e}" if ours else "-",
            f"{ours.compile_cpu:.2f} s" if ours else "-",
            f"{ours.cached_cpu:.3f} s" if ours and ours.cached_cpu is not None else "-",
            f"{ours.memory / 1e6:.0f}" if ours else "-", note,
        ))  # fmt: skip
    return aligned(rows)


def matrix(lines: Sequence[Line]) -> str:
    """Best times of everybody, with the error where it is above 1e-4, and why somebody is missing."""
    peers = list(dict.fromkeys(a.peer for line in lines for a in line.answers))
    rows: list[tuple[str, ...]] = [("row", "thr", *peers)]
    reasons: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        by = {a.peer: a for a in line.answers}
        cells: list[str] = []
        for peer in peers:
            answer = by.get(peer)
            if answer is None or answer.absent:
                if answer is not None:
                    reasons.setdefault((peer, answer.absent), []).append(f"{line.row}/{line.threads}")
                cells.append("-")
                continue
            mark = f" ({answer.error:.0e})" if answer.error > 1e-4 else ""
            cells.append(duration(answer.best) + mark)
        rows.append((line.row, str(line.threads), *cells))
    why = [f"{peer}: {reason} [{', '.join(names)}]" for (peer, reason), names in reasons.items()]
    return "\n".join([aligned(rows), *why])


def compiling(lines: Sequence[Line]) -> str:
    """CPU seconds of building and the first call, and peak memory, of everybody."""
    peers = list(dict.fromkeys(a.peer for line in lines for a in line.answers))
    rows: list[tuple[str, ...]] = [("row", "thr", *peers)]
    for line in lines:
        by = {a.peer: a for a in line.answers if not a.absent}
        cells = [f"{by[p].compile_cpu:.2f} s {by[p].memory / 1e6:.0f} MB" if p in by else "-" for p in peers]
        rows.append((line.row, str(line.threads), *cells))
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(r, widths, strict=True))
        ).rstrip()
        for r in rows
    )


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def summary(lines: Sequence[Line]) -> str:
    """How many rows are at their aim, how many behind the fastest peer, and the means."""
    said: list[str] = []
    for threads in sorted({line.threads for line in lines}):
        rows = [line for line in lines if line.threads == threads]
        ratios = [(line.ratio, line) for line in rows if line.ratio]
        there = sum(r >= line.aim for r, line in ratios)
        behind = [line.row for r, line in ratios if r < BELOW]
        missing = [line.row for line in rows if line.ours is None]
        text = f"{threads} thread(s): {there} of {len(rows)} rows at their aim"
        text += f"; behind the fastest peer: {', '.join(behind) or 'none'}"
        text += f"; not run: {', '.join(missing)}" if missing else ""
        for others, rival in (
            (("onnxruntime",), "onnxruntime"),
            (("torch", "torch-compile"), "the faster of PyTorch's two"),
        ):
            pairs = [speedup(line, others) for line in rows]
            known = [p for p in pairs if p]
            if known:
                text += f"; geometric mean against {rival} {geometric_mean(known):.2f} over {len(known)} rows"
        said.append(text)
    return "\n".join(said)


def speedup(line: Line, others: Sequence[str]) -> float | None:
    """The best time among the others over ours."""
    best = min((a.best for a in line.ran(*others)), default=None)
    ours = line.ours
    return best / ours.best if ours and best else None


def plot(lines: Sequence[Line], path: Path) -> None:
    """Ratios to the fastest peer as bars, aims as marks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = [line for line in lines if line.ratio]
    figure, axes = pyplot.subplots(figsize=(9, 0.28 * len(known) + 1.5))
    names = [f"{line.row} ({line.threads})" for line in known]
    ratios = [line.ratio or 0.0 for line in known]
    colours = ["#2a7f62" if r >= BELOW else "#b3433b" for r in ratios]
    axes.barh(names, ratios, color=colours)
    axes.plot([line.aim for line in known], names, "k|", markersize=9, label="aim")
    axes.axvline(1.0, color="#666666", linewidth=0.8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("time of the fastest peer / time of nervure (threads in brackets)")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
