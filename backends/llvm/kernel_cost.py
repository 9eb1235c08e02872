"""What a kernel costs by its text: operations on floats, and the bytes of the buffers that it touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from ...ir.dims import Dim, evaluate_dim
from .kernel_expr import Binary, Call, Const, Expr, Fma, Index, Size, Unary
from .kernel_ir import Contract, For, If, Kernel, Let, LoopDim, Reduce, Stmt, Store, Tile, Turn
from .walk import expr_children

__all__ = ["kernel_bytes", "kernel_flops"]

Sizes = Mapping[str, int]


def kernel_flops(kernel: Kernel, sizes: Sizes) -> int:
    """Additions, products, comparisons of kinds and calls of functions on floats, each one; a fused one two.

    An extent that is computed while the kernel runs counts as 1.
    """
    return _block(kernel.body, sizes)


def kernel_bytes(kernel: Kernel, sizes: Sizes) -> int:
    """The bytes of all buffers, each once: what goes between memory and caches at least."""
    return sum(prod(_number(d, sizes) for d in b.shape) * b.dtype.bytes for b in kernel.buffers)


def _block(body: Iterable[Stmt], sizes: Sizes) -> int:
    """Each expression counts once where it is first used: what is shared is computed once."""
    total, seen = 0, set[int]()
    for s in body:
        total += _statement(s, sizes, seen)
    return total


def _statement(s: Stmt, sizes: Sizes, seen: set[int]) -> int:
    match s:
        case Let():
            return _ops([s.value], seen)
        case Store():
            combined = 1 if s.combine is not None and s.value.dtype.is_float else 0
            return _ops([s.value], seen) + combined
        case For():
            carried = _ops([c.update for c in s.carries], set())
            return _extent(s.extent, sizes) * (_block(s.body, sizes) + carried)
        case Reduce():
            each = _ops(s.values, set()) + _block(s.body, sizes) + _ops(s.monoid.result, set())
            return _points(s.dims, sizes) * each
        case If():
            return max(_block(s.then, sizes), _block(s.otherwise, sizes))
        case Tile():
            depth = prod(_value(p.extent, sizes) for p in s.steps)
            return 2 * _value(s.m, sizes) * depth * s.vectors * s.lanes
        case Contract():
            points = _points((*s.batch, *s.m, s.n), sizes)
            terms = _ops([s.a, *([s.b] if isinstance(s.b, Expr) else [])], set())
            return points * (_points(s.k, sizes) * (2 + terms) + _block(s.epilogue, sizes))
        case Turn():
            return 0


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


def _points(dims: Sequence[LoopDim], sizes: Sizes) -> int:
    return prod(_extent(d.extent, sizes) for d in dims)


def _extent(extent: Index, sizes: Sizes) -> int:
    return max(0, _value(extent, sizes) if isinstance(extent, Expr) else _number(extent, sizes))


def _value(e: Expr, sizes: Sizes) -> int:
    match e:
        case Const():
            return int(e.value)
        case Size():
            return _number(e.dim, sizes)
        case Binary(op="mul"):
            return _value(e.a, sizes) * _value(e.b, sizes)
        case Binary(op="add"):
            return _value(e.a, sizes) + _value(e.b, sizes)
        case _:
            return 1


def _number(dim: Dim, sizes: Sizes) -> int:
    try:
        return evaluate_dim(dim, sizes)
    except KeyError:
        return 1
