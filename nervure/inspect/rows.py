"""What every value of a program was in one run, and what each was computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import inf
from typing import Any

import numpy as np

from ..ir.graph import Value
from ..ir.program import Program
from ..ir.types import Array
from .exposure import Exposure, Key, Path, Slot

__all__ = ["Row", "Tape", "nan_in", "not_finite_in"]


@dataclass(frozen=True, eq=False)
class Row:
    """One value of one run.

    Args:
        slot:  which value of the program
        steps: of each loop that the value stands in, from 0, in the order of the data
        array: its content
    """

    slot: Slot
    steps: tuple[int, ...]
    array: Array

    @property
    def value(self) -> Value:
        return self.slot.value

    @property
    def name(self) -> str:
        """As the program prints it; within regions ``%scan[3]/%h``: %h in step 3 of the loop that makes %scan."""
        steps = iter(self.steps)
        levels = [level.name + ("" if level.scan is None else f"[{next(steps)}]") for level in self.slot.path]
        return "/".join([*levels, self.slot.name])

    @property
    def op(self) -> str:
        """The mnemonic of the op that makes it; ``input``, ``store`` or ``argument`` of a region for leaves."""
        if self.value.op is not None:
            return self.value.op.mnemonic
        return "store" if self.value.entry is not None else "argument" if self.slot.path else "input"

    @property
    def lines(self) -> tuple[str, ...]:
        """The user's lines."""
        return () if self.value.node is None else tuple(str(o) for o in self.value.node.origins)

    @property
    def where(self) -> str:
        """In words, for messages."""
        steps = iter(self.steps)
        parts = [f"{self.op} {self.slot.name}"]
        for level in self.slot.path:
            kind = "in" if level.scan is None else f"in step {next(steps)} of"
            parts.insert(1, f"{kind} {level.name}")
        at = f" at {self.lines[0]}" if self.lines else ""
        return " ".join(parts) + at

    def to_json(self) -> dict[str, Any]:
        kind = self.value.type.dtype.kind
        finite = self.array[np.isfinite(self.array)] if kind == "float" else self.array
        some = finite.size > 0 and kind != "bool"
        return {
            "name": self.name,
            "op": self.op,
            "type": f"{self.value.type.dtype}[{','.join(map(str, self.array.shape))}]",
            "lines": list(self.lines),
            "min": float(finite.min()) if some else None,
            "max": float(finite.max()) if some else None,
            "nan": int(nan_in(self.array).sum()),
            "inf": int((not_finite_in(self.array) & ~nan_in(self.array)).sum()),
        }

    def parts(self) -> tuple[str, str, str]:
        """Name and op, type, and what it holds."""
        facts = self.to_json()
        spread = "" if facts["min"] is None else f"{facts['min']:.6g} .. {facts['max']:.6g}"
        bad = "".join(f"  {facts[kind]} {kind}" for kind in ("nan", "inf") if facts[kind])
        return f"{self.name} = {self.op}", str(facts["type"]), f"{spread}{bad}"

    def __str__(self) -> str:
        return "{} : {}  {}".format(*self.parts()).rstrip()


class Tape:
    """What every value of a program was in one run.

    Attributes:
        program: whose values they are
        inputs:  of the run
        backend: who ran it
        rows:    in the order of the run; values within loops once a step
    """

    def __init__(self, exposure: Exposure, program: Program, inputs: Sequence[Array], backend: str) -> None:
        self.program = program
        self.inputs = list(inputs)
        self.backend = backend
        self.exposure = exposure
        self.rows: tuple[Row, ...] = ()
        self._at: dict[tuple[Path, Value, tuple[int, ...]], Row] = {}

    def fill(self, contents: Sequence[tuple[Slot, Array]]) -> Tape:
        """Write the rows: for each slot its content, with an axis in front for each loop around it."""
        placed: list[tuple[tuple[float, ...], int, Row]] = []
        for number, (slot, array) in enumerate(contents):
            loops = slot.loops
            for steps in np.ndindex(array.shape[: len(loops)]):
                row = Row(slot, steps, np.asarray(array[steps]) if steps else array)
                placed.append((_when(slot, steps, array.shape), number, row))
                self._at[slot.path, slot.value, steps] = row
        self.rows = tuple(row for _, _, row in sorted(placed, key=lambda p: p[:2]))
        return self

    def __getitem__(self, name: str) -> Array:
        """A value by name, such as ``%h`` or ``%scan[3]/%h``."""
        return self.named[name].array

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def named(self) -> dict[str, Row]:
        """The rows by name."""
        return {row.name: row for row in self.rows}

    def to_json(self) -> dict[str, Any]:
        return {"backend": self.backend, "rows": [row.to_json() for row in self.rows]}

    def __str__(self) -> str:
        parts = [row.parts() for row in self.rows]
        wide = [min(40, max((len(p[k]) for p in parts), default=0)) for k in (0, 1)]
        return "\n".join(f"{p[0]:{wide[0]}} : {p[1]:{wide[1]}}  {p[2]}".rstrip() for p in parts)

    def to_npz(self) -> bytes:
        """The content of an .npz file with every value by its name."""
        buffer = BytesIO()
        contents: dict[str, Any] = {row.name: row.array for row in self.rows}
        np.savez(buffer, allow_pickle=False, **contents)
        return buffer.getvalue()

    # where values come from
    def find(self, path: Path, value: Value, steps: tuple[int, ...]) -> Row:
        """The row of a value as a region sees it: inputs of calls are the caller's values."""
        key: Key = (path, value)
        while key in self.exposure.same_as:
            key = self.exposure.same_as[key]
        count = sum(level.scan is not None for level in key[0])
        return self._at[(*key, steps[:count])]

    def sources(self, row: Row) -> list[Row]:
        """The rows that a row is computed from directly, looking into regions."""
        key: Key = (row.slot.path, row.value)
        if key in self.exposure.makers:
            return self._made_within(row, *self.exposure.makers[key])
        if row.value.node is not None:
            return [self.find(row.slot.path, o, row.steps) for o in row.value.node.operands]
        return self._brought_in(row)

    def _made_within(self, row: Row, path: Path, output: Value) -> list[Row]:
        loop = path[-1].scan
        if loop is None:
            return [self.find(path, output, row.steps)]
        node = row.value.node
        assert node is not None
        steps = range(self._length(path, row.steps))
        if row.value.index < loop.carries:
            if not steps:
                return [self.find(row.slot.path, node.operands[row.value.index], row.steps)]
            steps = [steps[0] if loop.reverse else steps[-1]]
        return [self.find(path, output, (*row.steps, t)) for t in steps]

    def _brought_in(self, row: Row) -> list[Row]:
        """What a loop's argument is in a step: the carry of the step before, or a value from outside."""
        path = row.slot.path
        if not path or path[-1].scan is None:
            return []
        loop, node = path[-1].scan, self._loops[path]
        (body,) = node.regions
        place, t = body.inputs.index(row.value), row.steps[-1]
        before = t + 1 if loop.reverse else t - 1
        if place < loop.carries and 0 <= before < self._length(path, row.steps[:-1]):
            return [self.find(path, body.outputs[place], (*row.steps[:-1], before))]
        return [self.find(path[:-1], node.operands[place], row.steps[:-1])]

    @cached_property
    def _loops(self) -> dict[Path, Any]:
        """The node of each loop, by the path of its body."""
        return {inner: value.node for (_, value), (inner, _) in self.exposure.makers.items()}

    @cached_property
    def _lengths(self) -> dict[tuple[Path, tuple[int, ...]], int]:
        found: dict[tuple[Path, tuple[int, ...]], int] = {}
        for path, _, steps in self._at:
            if path and path[-1].scan is not None:
                key = (path, steps[:-1])
                found[key] = max(found.get(key, 0), steps[-1] + 1)
        return found

    def _length(self, path: Path, outer: tuple[int, ...]) -> int:
        return self._lengths.get((path, outer), 0)

    @property
    def roots(self) -> list[Row]:
        """The rows of the program's outputs and updates."""
        return [self.find((), v, ()) for v in self.program.main.roots]


def _when(slot: Slot, steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Sorts rows as a run reaches them: a reverse loop begins with its last step."""
    passed = [
        float(length - 1 - t if loop.reverse else t)
        for t, length, loop in zip(steps, shape, slot.loops, strict=False)
    ]
    each = iter(passed)
    return tuple(next(each, inf) if part is None else part for part in slot.order)


def nan_in(array: Array) -> Array:
    """Which elements are NaN."""
    return np.isnan(array) if array.dtype.kind not in "iub" else np.zeros(array.shape, bool)


def not_finite_in(array: Array) -> Array:
    """Which elements are NaN or infinite."""
    return ~np.isfinite(array) if array.dtype.kind not in "iub" else np.zeros(array.shape, bool)
