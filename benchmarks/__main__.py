"""The command line of the benchmark."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .contest import PEERS
from .machine import Meter
from .report import Line, compiling, line_of, matrix, plot, summary, table
from .runner import run
from .turns import Turns
from .workloads import ROWS, Workload, write

NAMES = [w.name for w in ROWS]


@click.command()
@click.option(
    "--row", "rows", multiple=True, help="One of the rows, or the beginning of some; all if not given."
)
@click.option(
    "--peer", "peers", multiple=True, type=click.Choice(PEERS), help="Contestants; all if not given."
)
@click.option("--threads", type=click.IntRange(1), multiple=True, help="1 and 2 if not given.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01),
    default=0.5,
    show_default=True,
    help="For each contestant and row.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/bench"),
    show_default=True,
    help="Where files go.",
)
@click.option("--inference", is_flag=True, help="Leave out the training rows.")
@click.option(
    "--keep", is_flag=True, help="Report also what earlier runs found of other rows and contestants."
)
@click.option(
    "--at-once", type=click.IntRange(1), default=1, show_default=True, help="Rows built before any is timed."
)
@click.option(
    "--lock",
    "locks",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that others lock too: shared while building, exclusively while timing.",
)
@click.option("--list", "listing", is_flag=True, help="Print the rows and contestants.")
def main(
    rows: tuple[str, ...],
    peers: tuple[str, ...],
    threads: tuple[int, ...],
    seconds: float,
    out: Path,
    inference: bool,
    keep: bool,
    at_once: int,
    locks: tuple[Path, ...],
    listing: bool,
) -> None:
    """Time nervure and its peers on the rows of the table, everybody in a process of its own and in short turns."""
    if listing:
        click.echo("\n".join(["rows:", *(f"  {n}" for n in NAMES), "peers:", *(f"  {p}" for p in PEERS)]))
        return
    chosen = [w for w in choose(rows) if not (inference and w.training)]
    cores = len(os.sched_getaffinity(0))
    counts = threads or (1, 2)
    if max(counts) > cores:
        raise click.UsageError(f"{max(counts)} threads asked for, this process may use {cores} cores")
    out.mkdir(parents=True, exist_ok=True)
    meter = Meter()
    machine = meter.machine()
    click.echo(
        f"{machine.cpu}, {machine.cores} cores; one core: {1e-9 * machine.peak:.0f} GFLOP/s, L2 {1e-9 * machine.l2:.0f},"
        f" L3 {1e-9 * machine.l3:.0f}, memory {1e-9 * machine.dram:.0f} GB/s"
    )
    lines: list[Line] = []
    with (out / "log.txt").open("a") as log:
        jobs = [(workload, count) for workload in chosen for count in counts]
        for k in range(0, len(jobs), at_once):
            piece = [
                (write(w, (out / "files" / w.name).resolve()), count) for w, count in jobs[k : k + at_once]
            ]
            rounds = run(peers or PEERS, piece, seconds, meter, log, turns=Turns(locks))
            for (case, _), found in zip(piece, rounds, strict=True):
                lines.append(line_of(case.workload, found, machine))
                click.echo(table(lines[-1:]).splitlines()[-1])
    say(merged(out, lines) if keep else lines, machine.to_json(), out)


def merged(out: Path, new: list[Line]) -> list[Line]:
    """The rows of the last report with these put in their places; contestants that were not run again stay."""
    path = out / "bench.json"
    if not path.exists():
        return new
    found = {
        (line.row, line.threads): line for line in map(Line.from_json, json.loads(path.read_text())["rows"])
    }
    for line in new:
        before = found.get((line.row, line.threads))
        again = {a.peer for a in line.answers}
        kept = [a for a in before.answers if a.peer not in again] if before else []
        found[line.row, line.threads] = replace(line, answers=(*line.answers, *kept))
    order = {name: k for k, name in enumerate(NAMES)}
    return sorted(found.values(), key=lambda line: (order[line.row], line.threads))


def choose(names: tuple[str, ...]) -> list[Workload]:
    """The rows of those names, or that begin so; all for none."""
    chosen: set[str] = set()
    for name in names:
        found = [n for n in NAMES if n == name] or [n for n in NAMES if n.startswith(name)]
        if not found:
            raise click.UsageError(f"no row begins with {name}; the rows are {', '.join(NAMES)}")
        chosen.update(found)
    return [w for w in ROWS if not names or w.name in chosen]


def say(lines: list[Line], machine: dict[str, Any], out: Path) -> None:
    """Print the tables, write them and what they were made of."""
    text = "\n\n".join([table(lines), matrix(lines), compiling(lines), summary(lines)])
    click.echo("\n" + text)
    (out / "bench.txt").write_text(text + "\n")
    document = {"machine": machine, "rows": [line.to_json() for line in lines]}
    (out / "bench.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    if any(line.ratio for line in lines):
        try:
            plot(lines, out / "bench.svg")
        except ImportError:
            click.echo("no plot: matplotlib is not installed")
    click.echo(f"\n{out}/bench.txt, bench.json and bench.svg hold this")


if __name__ == "__main__":
    main()
