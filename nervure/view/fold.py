"""Repeats: runs of nodes in which the same few follow each other, joined alike, as unrolled networks have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..inspect.matching import Numbers, attribute_texts, graph_number
from ..ir.graph import Node

__all__ = ["Repeat", "repeats"]

TIMES = 3
"""Fewer repetitions are not folded."""

SAVED = 6
"""A fold hides at least so many nodes."""

PERIOD = 400
"""Nodes of the longest repetition that is looked for."""

FOLDS = 64
"""Folds of one graph."""

PLACED = ("slice", "pad", "dynamic_slice", "dynamic_update_slice")
"""Ops whose attributes say where: another place in each repetition, and the same op."""


@dataclass(frozen=True)
class Repeat:
    """Nodes start to start + period * times, `times` repetitions of `period` nodes."""

    start: int
    period: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.times

    @property
    def saved(self) -> int:
        return self.period * (self.times - 1)


def repeats(nodes: Sequence[Node]) -> list[Repeat]:
    """The repeats of a list in which operands come first, in order; none overlap.

    The nodes of one repetition do what those of the next do, on operands of the same types; their operands are the same
    value, or that of the repetition before, or come from outside. Folding a stretch of such a list makes no cycle.
    """
    index = {node: k for k, node in enumerate(nodes)}
    symbols = _symbols(nodes)
    operands = [[-1 if o.node is None else index.get(o.node, -1) for o in node.operands] for node in nodes]
    found: list[Repeat] = []
    stretches = [(0, len(nodes))]
    while stretches and len(found) < FOLDS:
        first, last = stretches.pop()
        best = _best(symbols, operands, first, last)
        if best is not None:
            found.append(best)
            stretches += [(best.end, last), (first, best.start)]
    return sorted(found, key=lambda r: r.start)


def _symbols(nodes: Sequence[Node]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A number for what each node does and on which types; regions count as text does, by what they compute."""
    numbers = Numbers()
    keys: dict[object, int] = {}
    found: list[int] = []
    for node in nodes:
        key = (
            node.op.mnemonic,
            () if node.op.mnemonic in PLACED else attribute_texts(node),
            tuple(o.type for o in node.operands),
            tuple(r.type for r in node.results),
            tuple(graph_number(region, numbers) for region in node.regions),
        )
        found.append(keys.setdefault(key, len(keys)))
    return np.asarray(found, np.int64)


def _best(
    symbols: np.ndarray[tuple[int], np.dtype[np.int64]],
    operands: Sequence[Sequence[int]],
    first: int,
    last: int,
) -> Repeat | None:
    """The repeat within a stretch that hides most nodes; among equals the shortest period, then the earliest."""
    part = symbols[first:last]
    best: Repeat | None = None
    for period in range(1, min(PERIOD, len(part) // TIMES) + 1):
        equal = part[:-period] == part[period:]
        if best is not None and int(equal.sum()) <= best.saved:
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([0], equal.astype(np.int8), [0]))))
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start < period * (TIMES - 1):
                continue
            for run in _verified(operands, first + start, first + end, period):
                if run.saved >= SAVED and (best is None or run.saved > best.saved):
                    best = run
    return best


def _verified(operands: Sequence[Sequence[int]], start: int, end: int, period: int) -> list[Repeat]:
    """The parts of a stretch of nodes equal to those a period later that are joined alike as well."""
    found: list[Repeat] = []
    k = begin = start
    while k <= end:
        if k < end and _alike(operands[k], operands[k + period], k, begin, period):
            k += 1
            continue
        times = (k - begin) // period + 1
        if times >= TIMES:
            found.append(Repeat(begin, period, times))
        k = begin = k + 1
    return found


def _alike(these: Sequence[int], those: Sequence[int], k: int, begin: int, period: int) -> bool:
    """Whether a node's operands and those of the one a period later play the same part."""
    for i, j in zip(these, those, strict=True):
        shifted = j - i == period and i >= begin
        outside = i < begin and j < begin
        carried = i < begin and k < begin + period and j < begin + period
        if not (shifted or outside or carried):
            return False
    return True


def described(nodes: Sequence[Node]) -> Mapping[str, int]:
    """How often each op stands in one repetition, in order of first use."""
    counts: dict[str, int] = {}
    for node in nodes:
        name = getattr(node.op, "label", "") or node.op.mnemonic
        counts[name] = counts.get(name, 0) + 1
    return counts
