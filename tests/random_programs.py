"""Random programs for differential tests: seeded, over every op, of sane magnitude, away from jumps and ties.

A program grows one node at a time and is evaluated as it grows. A node whose results leave the range, or jump when
its operands move a little, is not kept; so what remains can be compared between backends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from strategies import domain_array

from nervure.ir.dims import Dim, Shape, symbol
from nervure.ir.errors import NervureError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import OPS, Op
from nervure.ir.ops.constant import Constant, Literal
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import DTYPES, Array, DType, TensorType, bool_, f32, i32, i64, u8
from nervure.passes.autodiff import gradients

T = TypeVar("T")

__all__ = ["Growth", "Rejected", "random_program"]

LARGEST = 256.0
"""No float of a program is larger."""

STEP = 1e-4
CONDITION = 8.0
"""Operands that move by STEP, or by 4 eps of a shorter type, may move results CONDITION times as far."""

COMMON = (f32, f32, f32, f32, f32, f32, i64, i32, u8, bool_)
WIDE = (*COMMON, *DTYPES.values())
ATTEMPTS = 500

DIFFERENTIATED = 4
"""One in so many programs computes its derivatives too."""


class Rejected(Exception):
    """A node that does not fit, or that would make a program hard to compare."""


class Growth:
    """A program while it grows.

    Attributes:
        values:  what later nodes may take as operands
        content: the array of each value, for the inputs that the program is tested on
        env:     the value of the symbol B, in programs that have it
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtypes: Sequence[DType] = WIDE if self.chance(0.3) else COMMON
        self.batch: Dim | None = symbol("B", 1, 8) if self.chance(0.35) else None
        self.env = {} if self.batch is None else {"B": int(self.rng.integers(1, 5))}
        self.nodes = 0
        self.leaves: list[Value] = []
        self.values: list[Value] = []
        self.content: dict[Value, Array] = {}
        self.inputs: list[Value] = []
        self.entries: dict[str, Entry] = {}

    # chance
    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def integers(self, low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple(self.integer(low, high) for _ in range(count))

    def choice(self, options: Sequence[T]) -> T:
        if not options:
            raise Rejected
        return options[self.integer(0, len(options) - 1)]

    def order(self, n: int) -> tuple[int, ...]:
        return tuple(int(k) for k in self.rng.permutation(n))

    def dtype(self, kinds: Sequence[str]) -> DType:
        return self.choice([d for d in self.dtypes if d.kind in kinds])

    def shape(self, rank: int) -> Shape:
        shape: list[Dim] = [self.integer(1, 4) if not self.chance(0.01) else 0 for _ in range(rank)]
        if self.batch is not None and rank and self.chance(0.5):
            shape[0] = self.batch
        return tuple(shape)

    # operands
    def pick(self, fits: Callable[[TensorType], bool]) -> Value | None:
        """A value of the program that fits, a late one rather than an early one."""
        found = [v for v in (*self.leaves, *self.values) if fits(v.type)]
        if not found:
            return None
        return found[max(self.integer(0, len(found) - 1), self.integer(0, len(found) - 1))]

    def operand(self, kinds: Sequence[str], ranks: tuple[int, int] = (0, 4)) -> Value:
        """A value of the program, or a new leaf."""
        found = self.pick(lambda t: t.dtype.kind in kinds and ranks[0] <= t.rank <= ranks[1])
        if found is not None and self.chance(0.9):
            return found
        return self.leaf(TensorType(self.dtype(kinds), self.shape(self.integer(*ranks))))

    def like(self, x: TensorType, domain: str = "any") -> Value:
        """A value of the program of that type, or a new leaf."""
        found = self.pick(lambda t: t == x) if domain == "any" else None
        return found if found is not None and self.chance(0.6) else self.leaf(x, domain)

    def leaf(self, type: TensorType, domain: str = "any") -> Value:
        """An input, an entry of the store or a constant."""
        array = domain_array(self.rng, domain, type.concrete(self.env), type.dtype)
        kind = self.integer(0, 9)
        if not type.is_static or kind < 5:
            value = Value(type, name=f"x{len(self.inputs)}")
            self.inputs.append(value)
        elif kind < 8:
            (value,) = make(Constant(Literal(array)))
        else:
            name = f"w{len(self.entries)}"
            self.entries[name] = Entry(name, type, "param" if kind == 8 else "state", data=array)
            value = Value(type, entry=name)
        self.content[value] = array
        self.leaves.append(value)
        return value

    # nodes
    def add(self, op: Op, *operands: Value, regions: Sequence[Graph] = ()) -> tuple[Value, ...]:
        """Apply an op, unless its results are out of range or too sensitive."""
        try:
            results = make(op, *operands, regions=regions)
        except NervureError as error:
            raise Rejected from error
        types = [TensorType(r.type.dtype, r.type.concrete(self.env)) for r in results]
        if any(int(np.prod(t.shape, dtype=np.int64)) > 2048 for t in types):
            raise Rejected
        arrays = [self.content[o] for o in operands]

        def run(given: Sequence[Array]) -> list[Array]:
            graph = Graph("f", operands_of_node, outputs)
            return evaluate_graph(graph, given, env=self.env)[0]

        operands_of_node = [Value(o.type) for o in operands]
        outputs = make(op, *operands_of_node, regions=regions)
        found = run(arrays)
        if not all(map(sane, found)) or not self.steady(run, arrays, found):
            raise Rejected
        self.content.update(zip(results, found, strict=True))
        self.values += results
        self.nodes += 1
        return results

    def steady(
        self, run: Callable[[Sequence[Array]], list[Array]], arrays: list[Array], found: list[Array]
    ) -> bool:
        """Whether no result jumps when the operands move."""
        eps = [DTYPES_BY_NUMPY[a.dtype].eps for a in arrays if DTYPES_BY_NUMPY[a.dtype].is_float]
        if not eps:
            return True
        step = max(STEP, 4 * max(eps))
        for k in range(5):
            moved = [a if not DTYPES_BY_NUMPY[a.dtype].is_float else self._move(a, step, k) for a in arrays]
            for before, after in zip(found, run(moved), strict=True):
                if not DTYPES_BY_NUMPY[before.dtype].is_float:
                    if not np.array_equal(before, after):
                        return False
                    continue
                wide, other = before.astype(np.float64), after.astype(np.float64)
                scale = 1 + np.abs(wide)
                if not np.all(np.abs(other - wide) <= CONDITION * step * scale):
                    return False
        return True

    def _move(self, a: Array, step: float, pattern: int) -> Array:
        if pattern == 4:  # the sign of a zero is nobody's promise
            return np.where(a == 0, -a, a)
        signs = self.rng.integers(0, 2, a.shape) * 2 - 1 if pattern > 1 else self.choice((-1, 1))
        wide = a.astype(np.float64)
        return (wide + signs * step * np.abs(wide)).astype(a.dtype)

    def finish(self, name: str) -> Program:
        """Every value that nothing uses is an output; one may update an entry of the store."""
        nodes = {v.node: None for v in self.values if v.node is not None}
        used = {o for node in nodes for o in node.operands}
        ends = [v for v in self.values if v not in used]
        live = Graph("main", self.inputs, ends)
        updates: list[tuple[str, Value]] = []
        read = {v.entry for v in live.reads()}
        for entry in self.entries.values():
            fitting = [v for v in self.values if v.type == entry.type and v.entry is None]
            if entry.kind == "state" and entry.name in read and fitting and self.chance(0.5):
                updates.append((entry.name, self.choice(fitting)))
        operands = {o for node in live.nodes for o in node.operands}
        inputs = [v for v in self.inputs if v in operands]
        graph = Graph("main", inputs, ends, updates)
        self.inputs = inputs
        return Program(name, [graph], Store(e for n, e in self.entries.items() if n in read))


DTYPES_BY_NUMPY = {d.numpy: d for d in DTYPES.values()}


def sane(array: Array) -> bool:
    """Whether floats are finite and within the range; no small ones either, where formats differ."""
    if not DTYPES_BY_NUMPY[array.dtype].is_float:
        return True
    size = np.abs(array.astype(np.float64))
    return bool(np.all(np.isfinite(size)) and np.all(size <= LARGEST) and np.all((size == 0) | (size > 1e-6)))


def random_program(seed: int) -> tuple[Program, list[Array]]:
    """A program of 5 to 25 nodes, about 10 as a rule, and arrays for its inputs; the same for the same seed."""
    from random_nodes import BUILDERS

    assert set(BUILDERS) == set(OPS)
    growth = Growth(seed)
    wanted = growth.integer(5, 10)
    if growth.batch is not None:
        rest = growth.integers(1, 4, growth.integer(0, 2))
        start = Value(TensorType(f32, (growth.batch, *rest)), name="x0")
        growth.inputs.append(start)
        growth.content[start] = domain_array(growth.rng, "any", start.type.concrete(growth.env), f32)
        growth.add(OPS["neg"](), start)
    names = sorted(BUILDERS)
    for _ in range(ATTEMPTS):
        if growth.nodes >= wanted:
            break
        name = growth.choice(names)
        try:
            BUILDERS[name](growth, name)
        except Rejected:
            continue
    program = growth.finish(f"random_{seed}")
    if seed % DIFFERENTIATED == 1:
        program = with_gradients(growth, program)
    return program, [growth.content[v] for v in program.main.inputs]


def with_gradients(growth: Growth, program: Program) -> Program:
    """The program with the derivatives of its results by its inputs and entries as further results.

    The results are weighted by inputs of their own. The program stays as it is where it has no derivative, or one that is
    out of range or jumps.
    """
    graph = program.main
    heads = [v for v in graph.outputs if v.type.dtype.is_float and not v.is_leaf]
    wrt = [v for v in (*graph.inputs, *graph.reads()) if v.type.dtype.is_float]
    weights = [Value(h.type, name=f"g{k}") for k, h in enumerate(heads)]
    for weight in weights:
        shape = weight.type.concrete(growth.env)
        growth.content[weight] = domain_array(growth.rng, "any", shape, weight.type.dtype)
    try:
        found = [g for g in gradients(heads, wrt, weights) if g is not None]
    except NervureError:
        return program
    if not found:
        return program
    inputs, reads = [*graph.inputs, *weights], graph.reads()
    given = [growth.content[v] for v in inputs] + [program.store[v.entry or ""].data for v in reads]

    def run(arrays: Sequence[Array]) -> list[Array]:
        kept = {v.entry or "": a for v, a in zip(reads, arrays[len(inputs) :], strict=True)}
        return evaluate_graph(Graph("f", inputs, found), arrays[: len(inputs)], kept, env=growth.env)[0]

    with np.errstate(all="ignore"):
        values = run(given)
        if not all(map(sane, values)) or not growth.steady(run, given, values):
            return program
    outputs = [*graph.outputs, *found]
    return program.with_graphs(Graph(graph.name, inputs, outputs, graph.updates))
