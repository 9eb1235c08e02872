"""The tables of docs/performance.md: ``python -m benchmarks.page out/bench/bench.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from .report import OURS, Line, duration, summary

__all__ = ["tables"]


def tables(lines: Sequence[Line]) -> str:
    """Markdown: a table for each number of threads, then compilation and memory, then the summary."""
    parts: list[str] = []
    for threads in sorted({line.threads for line in lines}):
        rows = [line for line in lines if line.threads == threads]
        parts.append(f"### {threads} thread{'s' if threads > 1 else ''}\n\n{races(rows)}")
    parts.append(f"### Compilation and memory\n\n{costs([line for line in lines if line.threads == 1])}")
    parts.append("\n".join(f"- {text}" for text in summary(lines).splitlines()))
    return "\n\n".join(parts) + "\n"


def races(lines: Iterable[Line]) -> str:
    """Ours against the fastest and against onnxruntime."""
    head = ("row", "nervure", "fastest peer", "ratio", "aim", "to onnxruntime", "share of the limit", "error")
    rows: list[Sequence[str]] = []
    for line in lines:
        ours, peer = line.ours, line.fastest
        if ours is None or peer is None:
            continue
        ort = next(iter(line.ran("onnxruntime")), None)
        rows.append((
            line.row, duration(ours.best), f"{peer.peer} {duration(peer.best)}", f"{line.ratio:.2f}", f"{line.aim:.2f}",
            f"{ort.best / ours.best:.2f}" if ort else "", f"{100 * line.limit / ours.best:.0f} %", f"{ours.error:.0e}",
        ))  # fmt: skip
    return markdown(head, rows)


def costs(lines: Iterable[Line]) -> str:
    """CPU seconds of building and the first call, megabytes of the process."""
    head = ("row", "nervure", "from the cache", "peers", "nervure MB", "peers MB")
    rows: list[Sequence[str]] = []
    for line in lines:
        ours = line.ours
        peers = [a for a in line.answers if a.peer != OURS and not a.absent]
        if ours is None or not peers:
            continue
        cached = "" if ours.cached_cpu is None else f"{ours.cached_cpu:.3f} s"
        times, memory = [a.compile_cpu for a in peers], [a.memory / 1e6 for a in peers]
        rows.append((
            line.row, f"{ours.compile_cpu:.2f} s", cached, f"{min(times):.2f} to {max(times):.2f} s",
            f"{ours.memory / 1e6:.0f}", f"{min(memory):.0f} to {max(memory):.0f}",
        ))  # fmt: skip
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(r)} |" for r in [head, ["---"] * len(head), *rows])


@click.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(report: Path) -> None:
    """Print the tables of a bench.json as Markdown."""
    click.echo(tables([Line.from_json(row) for row in json.loads(report.read_text())["rows"]]), nl=False)


if __name__ == "__main__":
    main()
