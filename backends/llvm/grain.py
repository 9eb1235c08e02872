"""What an iteration of a parallel loop costs, so that threads get no less work than handing it out takes.

The costs were measured once on one core of a 3.7 GHz AVX-512 machine, operands in its second cache. They
decide how many iterations make a unit and when a loop is not worth a second thread; no bit of a result depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from ...ir.dims import Dim, bounds, floordiv, maximum, minimum, mod, product, substitute
from .kernel_ir import (
    Binary,
    Call,
    Const,
    Contract,
    Dot,
    Expr,
    Fetch,
    Finish,
    For,
    If,
    Index,
    Interleave,
    Kernel,
    Let,
    Load,
    LoopDim,
    Part,
    Reduce,
    Select,
    Size,
    Stmt,
    Store,
    Tile,
    Turn,
    Unary,
    Var,
)
from .program import Beside, Branch, Copy, Launch, Loop, Step, While
from .target import Target
from .walk import expr_children

__all__ = ["FEWEST", "GRAIN", "iteration_cost", "kernel_cost", "program_cost"]

GRAIN = 1_000_000
"""Picoseconds that a unit of work takes at least, where there are so many iterations."""
FEWEST = 6
"""Units from which on a loop is shared: below, handing out costs more than it brings."""

_OPERATION = 300
"""Picoseconds of an operation on one register."""
_MEMORY = 600
"""Of a load or store of one register."""
_FUNCTION = 8_000
"""Of exp and its kin, f32."""
_LIBRARY = 10_000
"""Of one call of C's library, for one element."""
_LOOP = 500
"""Of a turn of a loop."""
_LAUNCH = 5_000
"""Of the call of a kernel."""
_BYTE = 20
"""Of copying a byte."""
_PANEL = 8
"""Of a byte of a panel that a tile reads, from the third cache: what few rows wait for."""
_TURNS = 4


def iteration_cost(
    body: Sequence[Stmt], target: Target, lets: Iterable[Let] = (), *, vector: bool = False
) -> Dim:
    """Picoseconds that one iteration takes, at least 1; of one element, where the loop is a vector loop.

    `lets` are the bindings around.
    """
    cost = _Cost(target)
    cost.lets.update((let.var, let.value) for let in lets)
    return maximum(1, cost.block(body, target.lanes(4) if vector else 1))


def kernel_cost(kernel: Kernel, target: Target) -> Dim:
    """Picoseconds that a kernel takes on one thread, in its symbols."""
    return _Cost(target).block(kernel.body, 1)


def program_cost(steps: Iterable[Step], target: Target) -> Dim:
    """Picoseconds that the steps of a program take on one thread, in the symbols of the program; loops that end when
    they find something count as a few turns."""
    total: Dim = 0
    for s in steps:
        match s:
            case Launch():
                total = total + substitute(kernel_cost(s.kernel, target), dict(s.symbols)) + _LAUNCH
            case Copy():
                total = total + s.nbytes * _BYTE
            case Loop():
                total = total + s.extent * substitute(program_cost(s.body, target), {s.symbol.name: s.extent})
            case While():
                total = total + program_cost(s.body, target) * _TURNS
            case Beside():
                total = total + program_cost(s.body, target)
            case Branch():
                total = total + program_cost((*s.then, *s.otherwise), target)
            case _:
                assert_never(s)
    return total


class _Cost:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.lets: dict[Var, Expr] = {}

    def block(self, body: Iterable[Stmt], lanes: int) -> Dim:
        seen: set[Expr] = set()
        total: Dim = 0
        for s in body:
            total = total + self.statement(s, lanes, seen)
        return total

    def statement(self, s: Stmt, lanes: int, seen: set[Expr]) -> Dim:
        match s:
            case Let():
                self.lets[s.var] = s.value
                return self.values([s.value], lanes, seen)
            case Store():
                return self.values([s.value, *s.index], lanes, seen) + _MEMORY // lanes
            case Fetch():
                return _OPERATION // lanes
            case For():
                inner = self.target.lanes(4) if s.kind.endswith("vector") and not s.carries else lanes
                each = self.block(s.body, inner) + self.values([c.update for c in s.carries], lanes, set())
                return self.size(s.extent) * (each + _LOOP // inner)
            case Reduce():
                each = self.values([*s.values, *s.monoid.result], 16 if lanes == 1 else lanes, set())
                return self.points(s.dims) * (each + self.block(s.body, 16 if lanes == 1 else lanes))
            case If():
                return self.block(s.then, lanes) + self.block(s.otherwise, lanes)
            case Tile():
                depth = product(tuple(self.value(p.extent) for p in s.steps))
                size = s.a.dtype.bytes
                flop = max(1, 125 // self.target.lanes(size))
                cost = depth * maximum(self.value(s.m) * 2 * flop, size * _PANEL)
                if isinstance(s.c, Finish):
                    cost = cost + self.value(s.m) * self.block(s.c.stores, s.lanes)
                return cost * (s.vectors * s.lanes)
            case Dot():
                flops = self.value(s.m) * self.value(s.n) * self.value(s.length) * 2
                return flops * max(1, 125 // s.lanes)
            case Turn():
                return self.value(s.count) * self.value(s.length) * 100
            case Interleave():
                return s.ways * self.value(s.length) * 100
            case Part():
                return kernel_cost(s.kernel, self.target)
            case Contract():
                points = self.points((*s.batch, *s.m, s.n))
                flops = 2 * max(1, 125 // self.target.lanes(s.acc.dtype.bytes))
                inner = self.target.lanes(4)
                sums = (self.points(s.k) * flops + _MEMORY // inner) * len(s.sums)
                return points * (sums + self.block(s.epilogue, inner))
            case _:
                assert_never(s)

    def values(self, roots: Sequence[Expr], lanes: int, seen: set[Expr]) -> int:
        """What expressions cost, each once."""
        total, stack = 0, list(roots)
        while stack:
            e = stack.pop()
            if e in seen:
                continue
            seen.add(e)
            stack += expr_children(e)
            match e:
                case Load():
                    total += _MEMORY // lanes
                case Call():
                    total += _FUNCTION // lanes if e.dtype.bits < 64 else _LIBRARY
                case Const() | Size() | Var():
                    pass
                case Unary() | Binary():
                    total += _OPERATION // lanes * (2 if e.dtype.bits == 64 and e.dtype.is_float else 1)
                case _:
                    total += _OPERATION // lanes
        return total

    def points(self, dims: Sequence[LoopDim]) -> Dim:
        total: Dim = 1
        for d in dims:
            total = total * self.size(d.extent)
        return total

    def size(self, extent: Index) -> Dim:
        return self.value(extent) if isinstance(extent, Expr) else extent

    def value(self, e: Expr) -> Dim:
        """An upper bound in the usual case: the value where loops stand at their start."""
        match e:
            case Const():
                return int(e.value)
            case Size():
                return e.dim
            case Var():
                return self.value(self.lets[e]) if e in self.lets else 0
            case Select():
                return self.value(e.a)
            case Binary():
                a, b = self.value(e.a), self.value(e.b)
                match e.op:
                    case "add":
                        return a + b
                    case "sub":
                        return a - b
                    case "mul":
                        return a * b
                    case "min":
                        return minimum(a, b)
                    case "max":
                        return maximum(a, b)
                    case "floordiv" | "mod" if bounds(b)[0] > 0:
                        return floordiv(a, b) if e.op == "floordiv" else mod(a, b)
                    case _:
                        return 1
            case _:
                return 1
