"""What a kernel costs by its text: operations on floats, and the bytes of the buffers that it touches."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from ...ir.dims import Dim, evaluate_dim
from .kernel_expr import Binary, Call, Cast, Const, Expr, Fma, Index, Size, Unary, Var
from .kernel_ir import (
    Contract,
    Dot,
    Fetch,
    Finish,
    For,
    If,
    Interleave,
    Kernel,
    Let,
    LoopDim,
    Part,
    Reduce,
    Stmt,
    Store,
    Tile,
    Turn,
)
from .walk import expr_children

__all__ = ["kernel_bytes", "kernel_flops"]

Sizes = Mapping[str, int]

_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "min": min,
    "max": max,
    "floordiv": lambda a, b: a // b if b else 1,
    "mod": lambda a, b: a % b if b else 0,
}


def kernel_flops(kernel: Kernel, sizes: Sizes) -> int:
    """Additions, products, comparisons of kinds and calls of functions on floats, each one; a fused one two.

    A loop whose turns differ is counted as turns like its first and a last one: exact for blocks with a rest. An extent
    that is read from memory counts as 1.
    """
    return _Count(sizes).block(kernel.body)


def kernel_bytes(kernel: Kernel, sizes: Sizes) -> int:
    """The bytes of all buffers, each once: what goes between memory and caches at least."""
    return sum(prod(_number(d, sizes) for d in b.shape) * b.dtype.bytes for b in kernel.buffers)


@dataclass
class _Count:
    """Counts statements.

    Args:
        sizes: of symbols
        known: values of loop variables and bindings
    """

    sizes: Sizes
    known: dict[Var, int] = field(default_factory=dict[Var, int])

    def block(self, body: Iterable[Stmt]) -> int:
        """Each expression counts once where it is first used: what is shared is computed once."""
        total, seen = 0, set[int]()
        for s in body:
            total += self.statement(s, seen)
        return total

    def statement(self, s: Stmt, seen: set[int]) -> int:
        match s:
            case Let():
                if not s.value.dtype.is_float:
                    self.known[s.var] = self.value(s.value)
                return _ops([s.value], seen)
            case Store():
                combined = 1 if s.combine is not None and s.value.dtype.is_float else 0
                return _ops([s.value], seen) + combined
            case For():
                turns = self.extent(s.extent)
                carried = _ops([c.update for c in s.carries], set())
                return turns * carried + self.turns(s, turns)
            case Reduce():
                each = _ops(s.values, set()) + self.block(s.body) + _ops(s.monoid.result, set())
                return self.points(s.dims) * each
            case If():
                return max(self.block(s.then), self.block(s.otherwise))
            case Tile():
                depth = prod(self.value(p.extent) for p in s.steps)
                after = self.block(s.c.stores) if isinstance(s.c, Finish) else 0
                return (2 * depth + after) * self.value(s.m) * s.vectors * s.lanes
            case Dot():
                return 2 * self.value(s.m) * self.value(s.n) * self.value(s.length)
            case Contract():
                points = self.points((*s.batch, *s.m, s.n))
                terms = _ops([s.a, *([s.b] if isinstance(s.b, Expr) else [])], set())
                return points * (self.points(s.k) * (2 + terms) * len(s.sums) + self.block(s.epilogue))
            case Part():
                return _Count(self.sizes).block(s.kernel.body)
            case Turn() | Interleave() | Fetch():
                return 0

    def turns(self, loop: For, count: int) -> int:
        """All turns of a loop."""
        if count <= 0:
            return 0
        self.known[loop.var] = 0
        first = self.block(loop.body)
        if count == 1:
            return first
        self.known[loop.var] = count - 1
        return (count - 1) * first + self.block(loop.body)

    def points(self, dims: Sequence[LoopDim]) -> int:
        return prod(self.extent(d.extent) for d in dims)

    def extent(self, extent: Index) -> int:
        return max(0, self.value(extent) if isinstance(extent, Expr) else _number(extent, self.sizes))

    def value(self, e: Expr) -> int:
        match e:
            case Const():
                return int(e.value)
            case Size():
                return _number(e.dim, self.sizes)
            case Var():
                return self.known.get(e, 1)
            case Cast() if not e.x.dtype.is_float:
                return self.value(e.x)
            case Binary() if e.op in _ARITHMETIC:
                return _ARITHMETIC[e.op](self.value(e.a), self.value(e.b))
            case _:
                return 1


def _ops(roots: Sequence[Expr], seen: set[int]) -> int:
    total = 0
    stack = list(roots)
    while stack:
        e = stack.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        if e.dtype.is_float:
            total += 2 if isinstance(e, Fma) else 1 if isinstance(e, (Binary, Unary, Call)) else 0
        stack += expr_children(e)
    return total


def _number(dim: Dim, sizes: Sizes) -> int:
    try:
        return evaluate_dim(dim, sizes)
    except KeyError:
        return 1
