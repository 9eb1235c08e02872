"""Two runs side by side: the first node at which they part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.types import Array
from .exposure import exposed, with_own_store
from .movement import distance
from .rows import Row, Tape
from .tolerance import C, Yardstick, promoted_array

__all__ = ["Difference", "compare_tapes", "matching_rows"]


@dataclass(frozen=True)
class Difference:
    """A value that two runs disagree about, beyond what its accuracy allows.

    Args:
        row, other: in the tape that is trusted and in the other
        backends:   who made them
        index:      the first element that is wrong
        wrong:      how many are
        tolerance:  how far that element may be off
    """

    row: Row
    other: Row
    backends: tuple[str, str]
    index: tuple[int, ...]
    wrong: int
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.row.to_json(),
            "other": self.other.to_json(),
            "backends": list(self.backends),
            "index": list(self.index),
            "expected": float(self.row.array[self.index]),
            "found": float(self.other.array[self.index]),
            "tolerance": self.tolerance,
            "wrong": self.wrong,
            "elements": self.row.array.size,
        }

    def __str__(self) -> str:
        expected, found = self.row.array[self.index], self.other.array[self.index]
        return (
            f"{self.other.where}: element {list(self.index)} is {found} ({self.backends[1]}), expected {expected}"
            f" ({self.backends[0]}) within {self.tolerance:.3g}; {self.wrong} of {self.row.array.size} elements are wrong"
        )


def compare_tapes(trusted: Tape, other: Tape) -> Difference | None:
    """The first value, in the order of the trusted run, that the other run has otherwise; None where they agree.

    Runs of one program are compared value by value. Of two programs, such as before and after some passes, those
    values are compared that still have their name, or alone have their op and line. How far values of one
    element type may be apart is what the reference loses to rounding up to them. Values of two float types may be
    apart by what one op loses in the coarser of them, so that the first node where precision is lost is named.
    """
    measures: _Measures | None = None
    for row, twin in matching_rows(trusted, other):
        if row.array.shape != twin.array.shape:
            continue
        if row.array.dtype != twin.array.dtype:
            tolerance, excuse = _by_class(row, twin), None
        else:
            if np.array_equal(row.array, twin.array):
                continue
            measures = measures or _Measures(trusted)
            tolerance, excuse = measures.of(row)
        far = distance(promoted_array(row.array), promoted_array(twin.array))
        wrong = ~(far <= tolerance)
        if wrong.any() and excuse is not None:
            wrong &= ~(far <= excuse())
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            names = (trusted.backend, other.backend)
            return Difference(row, twin, names, index, int(wrong.sum()), float(tolerance[index]))
    return None


def matching_rows(trusted: Tape, other: Tape) -> Iterable[tuple[Row, Row]]:
    """The rows of two tapes that stand for the same value, in the order of the first."""
    if _same_shape(trusted, other):
        return [(row, other.named[row.name]) for row in trusted if row.name in other.named]
    there = _groups(other)
    here = _groups(trusted)
    twins = {
        row: twin
        for key, rows in here.items()
        if len(rows) == len(there.get(key, ()))
        for row, twin in zip(rows, there[key], strict=True)
    }
    return [(row, twins[row]) for row in trusted if row in twins]


def _same_shape(a: Tape, b: Tape) -> bool:
    """Whether both are of one program, up to element types."""
    return [(r.name, r.op) for r in a] == [(r.name, r.op) for r in b]


def _groups(tape: Tape) -> dict[Any, list[Row]]:
    """The rows by what they are called, or by their op, its operands' ops and line; those that nothing tells apart are
    left out."""
    found: dict[Any, list[Row]] = {}
    for row in tape:
        path = tuple(level.name for level in row.slot.path if level.scan is not None)
        value = row.value
        if _is_alias(tape, row):
            continue
        if value.entry is not None:
            key: Any = ("entry", value.entry)
        elif value.name:
            key = ("name", path, row.steps, value.name, row.array.shape)
        elif row.lines and value.node is not None and value.node.operands:
            operands = tuple("" if o.op is None else o.op.mnemonic for o in value.node.operands)
            key = ("op", path, row.steps, value.node.op, operands, value.index, row.lines, row.array.shape)
        else:
            continue
        found.setdefault(key, []).append(row)
    return {key: rows for key, rows in found.items() if len(rows) == 1 or key[0] != "op"}


def _is_alias(tape: Tape, row: Row) -> bool:
    """Whether it is the result of a group or call, and the value within has the same name."""
    made = tape.exposure.makers.get((row.slot.path, row.value))
    return made is not None and made[0][-1].scan is None and made[1].name == row.value.name


class _Measures:
    """How far each value of a program may be from the reference's."""

    def __init__(self, tape: Tape) -> None:
        exposure = exposed(with_own_store(tape.program))
        with np.errstate(all="ignore"):
            self._yardstick = Yardstick(exposure.program, tape.inputs)
        self._places = {(s.path, s.name): s.place for s in exposure.slots}

    def of(self, row: Row) -> tuple[Array, Any]:
        """The tolerance, and what gives how far the reference moves when its inputs do."""
        place = self._places[row.slot.path, row.slot.name]
        if place < 0:
            return np.zeros(row.array.shape), None

        def excuse() -> Array:
            with np.errstate(all="ignore"):
                return self._yardstick.movement[place][row.steps]

        return np.asarray(self._yardstick.tolerances[place][row.steps]), excuse


def _by_class(row: Row, twin: Row) -> Array:
    """What one op may lose in the coarser element type, at the scale of the value."""
    types = [row.value.type.dtype, twin.value.type.dtype]
    finite = np.abs(promoted_array(row.array)[np.isfinite(promoted_array(row.array))])
    scale = float(finite.max()) if finite.size else 0.0
    return np.full(row.array.shape, C * max(t.eps for t in types) * scale)
