"""Where a NaN or an infinity comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.ops.constant import Constant
from ..ir.types import Array
from .rows import Row, Tape, nan_in, not_finite_in

__all__ = ["Birth", "birth"]

Bad = Callable[[Array], Array]


@dataclass(frozen=True)
class Birth:
    """Where a NaN or an infinity comes from.

    Args:
        row:     the value that has one, made of operands that have none
        kind:    nan or inf
        index:   the first element that has one
        reaches: whether a result of the program is affected
        behind:  where the infinity that became a NaN was born
    """

    row: Row
    kind: str
    index: tuple[int, ...]
    reaches: bool
    behind: Birth | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.row.to_json(),
            "kind": self.kind,
            "index": list(self.index),
            "reaches_a_result": self.reaches,
            "behind": None if self.behind is None else self.behind.to_json(),
        }

    def __str__(self) -> str:
        given = self.row.value.node is None
        text = (
            f"{self.kind} {'given by' if given else 'born in'} {self.row.where}, element {list(self.index)}"
        )
        if self.behind is not None:
            text += f"\n  of {self.behind}"
        return text if self.reaches else f"{text}; it reaches no result"


def birth(tape: Tape) -> Birth | None:
    """Where the first NaN was born that reaches a result; else an infinity that does; else a NaN that does not.

    A constant that holds an infinity is no birth: it is meant.
    """
    for kind, bad in (("nan", nan_in), ("inf", not_finite_in)):
        ends = [row for row in tape.roots if bad(row.array).any()]
        found = _first(tape, _ancestors(tape, ends, bad), bad)
        if found is not None:
            return _born(tape, found, kind, bad, True)
    stray = _first(tape, {row: None for row in tape.rows if nan_in(row.array).any()}, nan_in)
    return None if stray is None else _born(tape, stray, "nan", nan_in, False)


def _ancestors(tape: Tape, ends: Sequence[Row], bad: Bad) -> dict[Row, None]:
    """The rows on the way to the ends that are bad."""
    found = dict.fromkeys(ends)
    stack = list(ends)
    while stack:
        for source in tape.sources(stack.pop()):
            if source not in found and bad(source.array).any():
                found[source] = None
                stack.append(source)
    return found


def _first(tape: Tape, rows: dict[Row, None], bad: Bad) -> Row | None:
    """The first of the rows whose operands are not bad."""
    for row in tape.rows:
        meant = bad is not_finite_in and isinstance(row.value.op, Constant)
        if row in rows and not meant and not any(bad(s.array).any() for s in tape.sources(row)):
            return row
    return None


def _born(tape: Tape, row: Row, kind: str, bad: Bad, reaches: bool) -> Birth:
    index = tuple(int(i) for i in np.argwhere(bad(row.array))[0])
    behind = None
    if kind == "nan":
        before = [s for s in tape.sources(row) if not_finite_in(s.array).any()]
        first = _first(tape, _ancestors(tape, before, not_finite_in), not_finite_in)
        behind = None if first is None else _born(tape, first, "inf", not_finite_in, True)
    return Birth(row, kind, index, reaches, behind)
