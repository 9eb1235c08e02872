"""Odd shapes against onnxruntime: ``python -m benchmarks.sweep``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .machine import Meter
from .odd import COUNT, describe
from .report import aligned, duration, geometric_mean, line_of
from .runner import run
from .turns import Turns
from .workloads import workload_named, write

SLOW = 1.2
"""Times onnxruntime's time; what is slower than that is listed."""


@click.command()
@click.option("--seed", type=int, default=7, show_default=True, help="Draws the shapes.")
@click.option("--loops", is_flag=True, help="Recurrent layers instead of windows and products.")
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Where in the list to begin."
)
@click.option("--count", type=click.IntRange(1), default=COUNT, show_default=True, help="How many shapes.")
@click.option(
    "--seconds", type=click.FloatRange(0.01), default=0.2, show_default=True, help="For each of the two."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True)
@click.option(
    "--at-once", type=click.IntRange(1), default=20, show_default=True, help="Built before any is timed."
)
@click.option(
    "--lock",
    "locks",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that others lock too.",
)
def main(
    seed: int,
    loops: bool,
    first: int,
    count: int,
    seconds: float,
    out: Path,
    at_once: int,
    locks: tuple[Path, ...],
) -> None:
    """Time odd shapes, one thread; those that are slower than onnxruntime by more than 1.2 are listed at the end."""
    meter = Meter()
    machine = meter.machine()
    head = ("name", "shape", "ours", "onnxruntime", "ratio", "error", "")
    rows: list[tuple[str, ...]] = [head]
    found: list[dict[str, Any]] = []
    slow: list[tuple[str, ...]] = []
    ratios: list[float] = []
    kind, noun, name = (
        ("odd-loop", "recurrent layers", f"sweep-loops-{seed}")
        if loops
        else ("odd", "shapes", f"sweep-{seed}")
    )
    cases = [
        (write(w, (out / "files" / w.name).resolve()), 1)
        for w in (workload_named(f"{kind}-{seed}-{index}") for index in range(first, first + count))
    ]
    peers, turns = ("nervure", "onnxruntime"), Turns(locks)
    pieces = [cases[k : k + at_once] for k in range(0, count, at_once)]
    rounds = [r for piece in pieces for r in run(peers, piece, seconds, meter, cold=False, turns=turns)]
    for (case, _), round in zip(cases, rounds, strict=True):
        workload = case.workload
        line = line_of(workload, round, machine)
        ours, theirs = (
            next(a for a in line.answers if a.peer == peer) for peer in ("nervure", "onnxruntime")
        )
        note = ours.absent or theirs.absent or ("loaded" if line.loaded else "")
        row = (workload.name, describe(case.net), duration(ours.best), duration(theirs.best),
               f"{line.ratio:.2f}" if line.ratio else "-", f"{ours.error:.0e}", note)  # fmt: skip
        click.echo("  ".join(row))
        rows.append(row)
        found.append({"shape": describe(case.net), **line.to_json()})
        if line.ratio:
            ratios.append(line.ratio)
        if not line.ratio or line.ratio * SLOW < 1:
            slow.append(row)
    summary = (
        f"{len(rows) - 1} {noun} of seed {seed}: geometric mean against onnxruntime {geometric_mean(ratios):.2f},"
        f" {len(slow)} slower by more than {SLOW} or not run"
    )
    text = "\n\n".join([aligned(rows), summary, *([aligned([head, *slow])] if slow else [])])
    click.echo("\n" + text.split("\n\n", 1)[1])
    (out / f"{name}.txt").write_text(text + "\n")
    (out / f"{name}.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
