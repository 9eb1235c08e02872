"""How far two honest evaluations of a program may differ, and whether a given pair does.

An output element may differ by C * max(|ref32 - ref64|, eps * scale): ref32 is the reference as the program stands,
ref64 the same with every float in f64, eps the coarsest on the way to the output, scale the output's largest
element. Beyond that an element may be excused where the reference itself moves as far (`movement`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..backends.base import KernelError, errors_of
from ..ir.graph import Graph, Value, collect, make
from ..ir.op import Op
from ..ir.ops.constant import Constant, Literal
from ..ir.ops.elementwise import Cast
from ..ir.ops.pointwise import Bitcast
from ..ir.program import Program
from ..ir.store import Entry, Store
from ..ir.types import Array, DType, TensorType, dtype_of, f64
from .movement import Results, distance, movement, reference

__all__ = [
    "Agreement",
    "Yardstick",
    "promote_program",
    "promoted_array",
    "tolerance",
]

C = 32.0


def _wide(dtype: DType) -> DType:
    return f64 if dtype.is_float else dtype


def _promoted_type(t: TensorType) -> TensorType:
    return t.with_dtype(_wide(t.dtype))


def _promoted_op(op: Op) -> Op:
    if isinstance(op, Constant):
        array = op.value.array
        return Constant(Literal(array, _wide(op.value.type.dtype)))
    changes: dict[str, Any] = {}
    for f in fields(op):  # type: ignore[arg-type]
        value = getattr(op, f.name)
        if isinstance(value, DType):
            changes[f.name] = _wide(value)
    return replace(op, **changes) if changes else op  # type: ignore[type-var]


def _promoted_graph(graph: Graph) -> Graph:
    mapping: dict[Value, Value] = {v: Value(_promoted_type(v.type), name=v.name) for v in graph.inputs}

    def of(value: Value) -> Value:
        if value not in mapping and value.entry is not None:
            mapping[value] = Value(_promoted_type(value.type), entry=value.entry)
        return mapping[value]

    for node in graph.nodes:
        names = [r.name for r in node.results]
        regions = [_promoted_graph(r) for r in node.regions]
        if isinstance(node.op, Bitcast):  # it reads the bits of the narrow type
            narrow = [make(Cast(o.type.dtype), of(o))[0] for o in node.operands]
            results = make(node.op, *narrow)
        else:
            operands = map(of, node.operands)
            results = make(
                _promoted_op(node.op), *operands, regions=regions, names=names, origins=node.origins
            )
        for old, new in zip(node.results, results, strict=True):
            wanted = _wide(old.type.dtype)
            mapping[old] = new if new.type.dtype == wanted else make(Cast(wanted), new)[0]
    return Graph(
        graph.name, map(of, graph.inputs), map(of, graph.outputs), [(n, of(v)) for n, v in graph.updates]
    )


def promote_program(program: Program) -> Program:
    """The program with every float in f64, on a copy of its store. Draws of the rng stay as they are."""
    entries = [
        Entry(
            name,
            _promoted_type(e.type),
            e.kind,
            e.trainable,
            e.data.astype(_wide(e.type.dtype).numpy) if e.has_data else None,
        )
        for name, e in program.store.items()
    ]
    return Program(program.name, map(_promoted_graph, program.graphs.values()), Store(entries))


def tolerance(program: Program, inputs: Sequence[Array]) -> Results:
    """For each result how far each element may be from the reference's; 0 for exact types."""
    return Yardstick(program, inputs).tolerances


@dataclass
class Agreement:
    """What a comparison found.

    Attributes:
        elements: how many were compared
        excused:  how many were beyond tolerance and excused
        wrong:    one line for each result that is wrong
    """

    elements: int = 0
    excused: int = 0
    wrong: list[str] = field(default_factory=list[str])


class Yardstick:
    """The reference's results of a program, and how far others may be from them."""

    def __init__(self, program: Program, inputs: Sequence[Array]) -> None:
        self.program = program
        self.inputs = list(inputs)
        self.errors: Mapping[str, KernelError] = {}
        self.expected = reference(program, inputs)
        wide = reference(promote_program(program), [promoted_array(a) for a in inputs])
        self.tolerances = [
            _tolerance(value, narrow, exact)
            for value, narrow, exact in zip(program.main.roots, self.expected, wide, strict=True)
        ]
        main = program.main
        self.labels = [v.name or f"result {k}" for k, v in enumerate(main.outputs)]
        self.labels += [f"@{name}" for name, _ in main.updates]
        self._movement: Results | None = None

    def against(self, backend: str) -> Yardstick:
        """The same for results of a backend, whose kernels may be off as far as it says."""
        errors = errors_of(backend)
        if not errors:
            return self
        other = copy(self)
        other.errors, other._movement = errors, None
        return other

    def compare(self, found: Sequence[Array], label: str) -> Agreement:
        """Whether results agree with the reference's."""
        agreement = Agreement()
        if len(found) != len(self.expected):
            agreement.wrong.append(f"{label}: {len(found)} results, expected {len(self.expected)}")
            return agreement
        for k, (got, want) in enumerate(zip(found, self.expected, strict=True)):
            agreement.elements += want.size
            if got.shape != want.shape or got.dtype != want.dtype:
                agreement.wrong.append(
                    f"{label}: {self.labels[k]} is {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
                )
                continue
            bad, excused = self.judge(k, got)
            agreement.excused += excused
            if bad.any():
                agreement.wrong.append(self.describe(k, got, bad, f"{label}: {self.labels[k]}"))
        return agreement

    def describe(self, k: int, got: Array, bad: Array, label: str) -> str:
        """The first element of result k that is wrong."""
        want = self.expected[k]
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        return (
            f"{label} {want.dtype}{list(want.shape)} at {list(at)}: {got[at]}, expected {want[at]}"
            f" within {self.tolerances[k][at]:.3g}; {int(bad.sum())} of {bad.size} elements are wrong"
        )

    def judge(self, k: int, got: Array) -> tuple[Array, int]:
        """Which elements of result k are wrong, and how many more are beyond tolerance but excused."""
        far = distance(got, self.expected[k])
        beyond = ~(far <= self.tolerances[k])
        if not beyond.any():
            return beyond, 0
        excused = beyond & (far <= self.movement[k])
        return beyond & ~excused, int(excused.sum())

    @property
    def movement(self) -> Results:
        """How far each element of the reference moves when data and results of inexact kernels do."""
        if self._movement is None:
            self._movement = movement(self.program, self.inputs, self.errors)
        return self._movement


def promoted_array(a: Array) -> Array:
    """The array with floats in f64."""
    return a.astype(_wide(dtype_of(a)).numpy)


def _tolerance(value: Value, narrow: Array, wide: Array) -> Array:
    if not value.type.dtype.is_float:
        return np.zeros(narrow.shape)
    exact = wide.astype(np.float64)
    finite = np.abs(exact[np.isfinite(exact)])
    scale = float(finite.max()) if finite.size else 0.0
    return C * np.maximum(distance(narrow, exact), _coarsest(value) * scale)


def _coarsest(value: Value) -> float:
    """The largest eps of all floats that the value depends on, regions included."""
    found = [value.type.dtype.eps]
    stack = list(collect([value]))
    while stack:
        node = stack.pop()
        found += [v.type.dtype.eps for v in (*node.operands, *node.results)]
        for region in node.regions:
            stack += region.nodes
    return max(found)
