"""Visits what a kernel is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ...ir.dims import Dim, free_symbols
from ...ir.dims import Expr as DimExpr
from .kernel_ir import (
    Binary,
    Bits,
    Buffer,
    Call,
    Cast,
    Compare,
    Contract,
    Dot,
    Expr,
    Fetch,
    Finish,
    Fma,
    For,
    If,
    Index,
    Interleave,
    Kernel,
    Let,
    Load,
    Packed,
    Part,
    Reduce,
    Select,
    Size,
    Stmt,
    Store,
    Tile,
    Turn,
    Unary,
)

__all__ = [
    "all_exprs",
    "expr_children",
    "kernel_symbols",
    "rebuilt",
    "rewrite",
    "stmt_roots",
    "stmts",
    "stored_buffers",
]


def _of_load(e: Load) -> tuple[Expr, ...]:
    if e.inside is None:
        return e.index
    return (*e.index, e.inside) if e.otherwise is None else (*e.index, e.inside, e.otherwise)


_CHILDREN: dict[type[Expr], Callable[[Any], tuple[Expr, ...]]] = {
    Load: _of_load,
    Binary: lambda e: (e.a, e.b),
    Fma: lambda e: (e.a, e.b, e.c),
    Select: lambda e: (e.cond, e.a, e.b),
    Call: lambda e: e.args,
    Compare: lambda e: (e.a, e.b),
    Unary: lambda e: (e.x,),
    Cast: lambda e: (e.x,),
    Bits: lambda e: (e.x,),
}


def expr_children(e: Expr) -> tuple[Expr, ...]:
    """The operands of an expression."""
    found = _CHILDREN.get(type(e))
    return () if found is None else found(e)


def children_first(
    root: Expr, known: Container[Expr], children: Callable[[Expr], Sequence[Expr]] = expr_children
) -> Iterator[Expr]:
    """What an expression is made of and is not known yet, operands before who uses them; whoever asks makes each known at once."""
    stack = [root]
    while stack:
        e = stack[-1]
        waiting = [] if e in known else [c for c in children(e) if c not in known]
        if waiting:
            stack += reversed(waiting)
            continue
        stack.pop()
        if e not in known:
            yield e


def rewrite(e: Expr, change: Callable[[Expr], Expr | None], memo: dict[int, Expr] | None = None) -> Expr:
    """The expression with what `change` replaces; shared parts stay shared."""
    memo = {} if memo is None else memo
    if id(e) not in memo:
        new = change(e)
        if new is None:
            new = rebuilt(e, lambda x: rewrite(x, change, memo))
        memo[id(e)] = new
    return memo[id(e)]


def rebuilt(e: Expr, new: Callable[[Expr], Expr]) -> Expr:
    """The expression over other operands."""
    match e:
        case Load():
            inside, otherwise = (x if x is None else new(x) for x in (e.inside, e.otherwise))
            return Load(e.buffer, tuple(map(new, e.index)), inside, otherwise)
        case Binary():
            return Binary(e.op, new(e.a), new(e.b))
        case Compare():
            return Compare(e.op, new(e.a), new(e.b), e.dtype)
        case Unary():
            return Unary(e.op, new(e.x))
        case Cast() | Bits():
            return type(e)(new(e.x), e.dtype)
        case Select():
            return Select(new(e.cond), new(e.a), new(e.b))
        case Fma():
            return Fma(new(e.a), new(e.b), new(e.c))
        case Call():
            return Call(e.function, tuple(map(new, e.args)))
        case _:
            return e


def stmts(body: Iterable[Stmt]) -> Iterator[Stmt]:
    """All statements, outer before inner."""
    for s in body:
        yield s
        match s:
            case For() | Reduce():
                yield from stmts(s.body)
            case If():
                yield from stmts(s.then)
                yield from stmts(s.otherwise)
            case Contract():
                yield from stmts(s.epilogue)
            case Tile() if isinstance(s.c, Finish):
                yield from s.c.stores
            case _:
                pass


def _index(x: Index) -> tuple[Expr, ...]:
    return (x,) if isinstance(x, Expr) else () if isinstance(x, int) else (Size(x),)


def stmt_roots(s: Stmt) -> tuple[Expr, ...]:
    """The expressions that stand in a statement itself, not in its blocks."""
    match s:
        case Let():
            return (s.value,)
        case Store():
            return (*s.index, s.value, *(() if s.mask is None else (s.mask,)))
        case Fetch():
            return (s.place,)
        case For():
            return (*_index(s.extent), *(c.init for c in s.carries), *(c.update for c in s.carries))
        case Reduce():
            return (*(x for d in s.dims for x in _index(d.extent)), *s.values)
        case If():
            return (s.cond,)
        case Tile():
            steps = (x for p in s.steps for x in (p.extent, p.a, p.b))
            run = () if s.a_run is None else (s.a_run,)
            c: tuple[Expr, ...] = ()
            if not isinstance(s.c, Finish):
                c = (s.c, s.c_row)
            elif s.c.coming is not None:
                c = (s.c.coming.place,)
            return (s.a, s.a_row, *run, s.b, s.b_vector, *c, s.m, *steps, s.accumulate)
        case Dot():
            return (s.a, s.b, s.c, s.c_row, s.m, s.n, s.length, s.accumulate)
        case Turn():
            return (s.source, s.row, s.target, s.step, s.count, s.length)
        case Interleave():
            return (s.source, s.row, s.target, s.length)
        case Part():
            return (*s.places, *(size for _, size in s.sizes))
        case Contract():
            b = s.b.prefix if isinstance(s.b, Packed) else (s.b,)
            return (s.a, *b, *(x for d in (*s.batch, *s.m, s.n, *s.k) for x in _index(d.extent)))


def all_exprs(body: Iterable[Stmt]) -> Iterator[Expr]:
    """Every expression below the statements, each once."""
    seen: set[int] = set()
    for s in stmts(body):
        stack = list(stmt_roots(s))
        while stack:
            e = stack.pop()
            if id(e) not in seen:
                seen.add(id(e))
                yield e
                stack.extend(expr_children(e))


def stored_buffers(body: Iterable[Stmt]) -> dict[int, Buffer]:
    """The buffers that statements write, by identity."""
    found: dict[int, Buffer] = {}
    for s in stmts(body):
        if isinstance(s, Store):
            found[id(s.buffer)] = s.buffer
        elif isinstance(s, (Tile, Dot)) and isinstance(s.c, Load):
            found[id(s.c.buffer)] = s.c.buffer
        elif isinstance(s, Turn | Interleave):
            found[id(s.target.buffer)] = s.target.buffer
        elif isinstance(s, Part):
            found[id(s.places[-1].buffer)] = s.places[-1].buffer
    return found


_SYMBOLS: WeakKeyDictionary[Kernel, tuple[str, ...]] = WeakKeyDictionary()


def kernel_symbols(kernel: Kernel) -> tuple[str, ...]:
    """The names of all symbols that a kernel needs, sorted: its i64 parameters."""
    found = _SYMBOLS.get(kernel)
    if found is None:
        found = _SYMBOLS[kernel] = _symbols(kernel)
    return found


def _symbols(kernel: Kernel) -> tuple[str, ...]:
    dims: list[Dim] = []
    used: dict[int, Buffer] = {id(b): b for b in (*kernel.buffers, *kernel.scratch)}
    for e in all_exprs(kernel.body):
        if isinstance(e, Size):
            dims.append(e.dim)
        elif isinstance(e, Load):
            used.setdefault(id(e.buffer), e.buffer)
    for b in used.values():
        dims += (*b.shape, *b.steps)
    dims += (s.back for s in stmts(kernel.body) if isinstance(s, For | Contract))
    return tuple(sorted({s.name for d in dims if isinstance(d, DimExpr) for s in free_symbols(d)}))
