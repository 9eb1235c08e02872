"""How far the reference's results of a program move when what they rest on moves a little.

Moved are the data, by 4 ulp: inputs, entries, arrays of constants. Where a backend says how far its kernels of an
op are off (`backends.base.errors_of`), the op's results are moved as far too, wherever the op stands: composites are
taken apart and regions gone through, so that an error travels as it does in the backend's program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..backends.base import KernelError
from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.interpret import evaluate_graph, run_prepare
from ..ir.op import Level, Op
from ..ir.ops.constant import Constant, Literal
from ..ir.program import Program
from ..ir.types import Array, dtype_of, f64
from ..passes.base import Remarks
from ..passes.decompose import Decompose, decomposed
from ..passes.inline import inline
from ..passes.regions import map_regions

__all__ = ["Results", "distance", "movement", "reference"]

ULPS = 4
MOVES = 8
"""Directions in which data and results are moved."""

Results = list[Array]
"""A program's outputs, then the new content of updated entries."""


def reference(program: Program, inputs: Sequence[Array]) -> Results:
    """What the reference makes of a program on its store as it is; nothing is written but derived entries."""
    run_prepare(program)
    graph = program.main
    reads = {v.entry: program.store[v.entry].data for v in graph.reads() if v.entry is not None}
    outputs, updates = evaluate_graph(graph, inputs, reads)
    return [np.array(a) for a in (*outputs, *updates.values())]


def movement(program: Program, inputs: Sequence[Array], errors: Mapping[str, KernelError]) -> Results:
    """How far each element moves at most in `MOVES` directions.

    Args:
        errors: how far a backend's kernels are off, by mnemonic
    """
    rng = np.random.default_rng(0)
    still = reference(_marked(program, errors, None), inputs)
    marked = _marked(program, errors, rng)
    farthest = [np.zeros(a.shape) for a in still]
    store = program.store
    kept = {n: e.data.copy() for n, e in store.items() if e.has_data and e.kind != "derived"}
    try:
        for _ in range(MOVES):
            for name, array in kept.items():
                store[name].assign(_moved(array, rng))
            found = reference(_moved_constants(marked, rng), [_moved(a, rng) for a in inputs])
            for far, got, want in zip(farthest, found, still, strict=True):
                np.maximum(far, distance(got, want), out=far)
    finally:
        for name, array in kept.items():
            store[name].assign(array)
    return farthest


def _marked(program: Program, errors: Mapping[str, KernelError], rng: np.random.Generator | None) -> Program:
    """The program in core ops, those off that are in `errors`; as it is where there are none.

    A composite with an error of its own has it in place of those of the ops that it is made of.
    """
    if not errors:
        return program

    def mark(graph: Graph, bounds: Mapping[str, KernelError]) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            name = node.op.mnemonic
            if name not in bounds:
                return None
            if node.op.level is not Level.NN:
                return None if rng is None else make(_Off(node.op, bounds[name], rng), *operands)
            inner = [Value(o.type) for o in operands]
            body = Graph(name, inner, decomposed(node, inner))
            body = mark(Decompose().run(body, Remarks()), dict.fromkeys(errors, bounds[name]))
            return inline(body, operands)

        return map_regions(graph, lambda g: rebuild(g, rewrite))

    whole = Decompose(keep=tuple(errors))
    return program.with_graphs(
        *(mark(whole.run(graph, Remarks()), errors) for graph in program.graphs.values())
    )


def _moved_constants(program: Program, rng: np.random.Generator) -> Program:
    """The program with the arrays of its constants moved; single numbers stay, which are written, not data."""

    def rewrite(node: Node, _: tuple[Value, ...]) -> Sequence[Value] | None:
        if not isinstance(node.op, Constant) or node.op.value.array.size < 2:
            return None
        return make(Constant(Literal(_moved(node.op.value.array, rng), node.op.value.type.dtype)))

    return program.with_graphs(*(rebuild(graph, rewrite) for graph in program.graphs.values()))


@dataclass(frozen=True)
class _Off(Op):
    """An op of one result as a kernel computes it that is off by its error, up or down at random."""

    mnemonic: ClassVar[str] = "off"
    op: Op
    bound: KernelError
    rng: np.random.Generator

    def infer(self, *operands: Any, **_: Any) -> Any:
        return self.op.infer(*operands)

    def evaluate(self, *operands: Any, **extra: Any) -> Array:
        right = np.asarray(self.op.evaluate(*operands, **extra))
        if dtype_of(right) == f64:
            return right
        wide = right.astype(np.float64)
        off = self.bound.relative * np.abs(wide) + self.bound.absolute
        return np.asarray(wide + self.rng.choice((-1, 1), size=wide.shape) * off).astype(right.dtype)


def _moved(a: Array, rng: np.random.Generator) -> Array:
    dtype = dtype_of(a)
    if not dtype.is_float:
        return a
    wide = a.astype(np.float64)
    return (wide + rng.choice((-1, 1), size=a.shape) * ULPS * dtype.eps * np.abs(wide)).astype(a.dtype)


def distance(a: Array, b: Array) -> Array:
    """|a - b| in f64; 0 where both are NaN or equal infinities, infinite where one alone is NaN."""
    if dtype_of(a).kind == "bool":
        return (a != b).astype(np.float64)
    if dtype_of(a).is_integer:
        return np.where(a == b, 0.0, np.maximum(1.0, np.abs(a.astype(np.float64) - b.astype(np.float64))))
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        gap = np.abs(x - y)
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
