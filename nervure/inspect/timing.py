"""What the passes of a pipeline did and how long they took, as trees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..passes.manager import Record

__all__ = ["records_json", "statistics", "timings"]


def timings(records: Sequence[Record]) -> str:
    """Seconds of each pass and its share of the whole."""
    total = sum(r.seconds for r in records)
    lines = [f"{1e3 * total:9.2f} ms  100.0 %  pipeline"]
    for k, r in enumerate(records):
        branch = "└─" if k == len(records) - 1 else "├─"
        share = 100 * r.seconds / total if total else 0.0
        lines.append(f"{1e3 * r.seconds:9.2f} ms  {share:5.1f} %  {branch} {r.pass_}")
    return "\n".join(lines)


def statistics(records: Sequence[Record]) -> str:
    """Nodes before and after each pass, with its rewrites by name."""
    if not records:
        return "no passes"
    lines = [f"{records[0].before} -> {records[-1].after} nodes  pipeline"]
    groups = [
        (busy, list(group)) for busy, group in groupby(records, lambda r: r.changed or bool(r.rewrites))
    ]
    branches: list[tuple[str, list[str]]] = []
    for busy, group in groups:
        if not busy:
            branches.append((f"unchanged by {', '.join(r.pass_ for r in group)}", []))
            continue
        for r in group:
            rewrites = sorted(r.rewrites.items(), key=lambda item: (-item[1], item[0]))
            leaves = [f"{count} {name}" for name, count in rewrites]
            branches.append((f"{r.pass_}: {r.before} -> {r.after} nodes", leaves))
    for k, (head, leaves) in enumerate(branches):
        last = k == len(branches) - 1
        lines.append(f"{'└─' if last else '├─'} {head}")
        stem = "   " if last else "│  "
        lines += [f"{stem}{'└─' if n == len(leaves) - 1 else '├─'} {text}" for n, text in enumerate(leaves)]
    return "\n".join(lines)


def records_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The records as plain dictionaries."""
    return [
        {
            "pass": r.pass_,
            "seconds": r.seconds,
            "changed": r.changed,
            "nodes_before": r.before,
            "nodes_after": r.after,
            "rewrites": dict(sorted(r.rewrites.items())),
            "notes": list(r.notes),
        }
        for r in records
    ]
