"""Large bodies of loops as functions of their own: emitted once for all kernels where they are equal but for sizes.

What a body takes from around it becomes arguments: where its loads and stores begin, the distances between rows, and integers that
it computes with. Two convolutions of different sizes so share one transform of Winograd's, which is most of their code.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from ...ir.dims import MAX_DIM, Dim, symbol
from ...ir.types import i64
from .affine import apart
from .builder import Builder, V
from .kernel_expr import BinaryOp
from .kernel_ir import (
    Binary,
    Buffer,
    Compare,
    Const,
    Expr,
    Fetch,
    For,
    If,
    Kernel,
    Let,
    Load,
    Part,
    Size,
    Stmt,
    Store,
    Var,
    as_index,
)
from .structure import Numbers, structure
from .walk import all_exprs, children_first, expr_children, kernel_symbols, rebuilt, stmts, stored_buffers

if TYPE_CHECKING:
    from .emit_stmt import Emitter

__all__ = ["emit_outlined", "emit_part"]

LEAST = 100
"""Expressions from which on a body is worth a call."""

SMALL = 64
"""Steps from which on they are arguments: smaller ones are lanes, and blocks of them."""


_Parts = tuple[Expr | None, int, Expr | None]


class _Bound(Exception):
    """The body needs something that is no argument."""


@dataclass
class _Place:
    """A parameter: where loads and stores of a buffer begin, and the axes that they move along within the body.

    Attributes:
        inner: the buffer of these axes that the body sees
    """

    buffer: Buffer
    start: tuple[Expr, ...]
    axes: set[int] = field(default_factory=set[int])
    inner: Buffer | None = None


@dataclass
class _Access:
    """A load or store: its place, and how far from there, axis by axis."""

    place: _Place
    within: list[Expr]


def emit_outlined(e: Emitter, s: For) -> bool:
    """Emit a loop as a call, where its body is large and knows all that it needs; else nothing, and False."""
    nest = _nest(s)
    if nest is None or next(islice(all_exprs(nest[-1].body), LEAST, None), None) is None:
        return False
    try:
        outline = _Outline(nest)
    except _Bound:
        return False
    places = [e.address(p.buffer, p.start)[0] for p in outline.places.values()]
    values = {n: e.eval(x) for n, x in outline.values.items()}
    _call(e, outline.kernel, places, values)
    e.forget(stored_buffers(s.body))
    return True


def emit_part(e: Emitter, s: Part) -> None:
    """Emit the call of another kernel's body, and that where it is the first."""
    places = [e.address(x.buffer, x.index)[0] for x in s.places]
    values = {name: e.eval(x) for name, x in s.sizes}
    _call(e, s.kernel, places, values)


def _call(e: Emitter, kernel: Kernel, places: Sequence[V], values: Mapping[str, V]) -> None:
    key = structure(kernel)
    name = e.module.parts.get(key)
    if name is None:
        name = e.module.parts[key] = f"@nv_part{len(e.module.parts)}"
        e.module.functions[name] = _function(e, name, kernel)
    args = [f"ptr {p.text}" for p in places] + [f"i64 {values[n].text}" for n in kernel_symbols(kernel)]
    e.b.effect(f"call void {name}({', '.join(args)})")


def _nest(s: For) -> list[For] | None:
    """The loops that stand directly in each other, the innermost one a vector loop; None where there is none, or others are."""
    nest = [s]
    while not nest[-1].kind.endswith("vector"):
        if len(nest[-1].body) != 1 or not isinstance(nest[-1].body[0], For):
            return None
        nest.append(nest[-1].body[0])
    last = nest[-1]
    plain = all(loop.back == 0 and not loop.carries for loop in nest)
    return nest if plain and isinstance(last.extent, int) else None


def _function(e: Emitter, name: str, kernel: Kernel) -> str:
    names = kernel_symbols(kernel)
    pointers = {id(x): V(f"%p{n}", "ptr") for n, x in enumerate(kernel.buffers)}
    symbols = {key: V(f"%s{n}", "i64") for n, key in enumerate(names)}
    inner = type(e)(e.module, e.target, Builder(e.module), pointers, symbols)
    inner.kernel, inner.outlines = kernel, False
    inner.block(kernel.body)
    params = [*(f"ptr {p.text}" for p in pointers.values()), *(f"i64 {s.text}" for s in symbols.values())]
    return inner.b.finish(f"define internal void {name}({', '.join(params)}) nounwind")


class _Outline:
    """A nest of loops as a kernel, and what it is called with.

    Attributes:
        kernel: over `places` and symbols
        places: where its buffers begin
        values: its symbols, as the code around computes them
    """

    def __init__(self, nest: Sequence[For]) -> None:
        self.local: dict[Expr, bool] = {loop.var: True for loop in nest}
        self.numbers = Numbers()
        self.places: dict[Hashable, _Place] = {}
        self.values: dict[str, Expr] = {}
        self.symbols: dict[Hashable, Expr] = {}
        self.accesses: dict[int, _Access] = {}
        self.inside: dict[Expr, Expr] = {}
        self.parts: dict[Expr, _Parts] = {}
        self.apart: dict[Expr, tuple[Expr | None, int]] = {}
        self.free: set[Expr] = set()
        body = nest[-1].body
        stored = stored_buffers(body)
        for s in stmts(body):
            if isinstance(s, Let):
                self.local[s.var] = True
        for e in all_exprs(body):
            if isinstance(e, Load):
                if id(e.buffer) in stored:
                    raise _Bound
                self.access(e)
        for s in stmts(body):
            if isinstance(s, Store):
                self.access(s)
        for n, place in enumerate(self.places.values()):
            self.shape(place, f"b{n}")
        loop: Stmt = replace(nest[-1], body=self.block(body), kind="vector")
        for outer in reversed(nest[:-1]):
            loop = replace(outer, extent=self.symbol(as_index(outer.extent)), body=(loop,), kind="serial")
        inner = (p.inner for p in self.places.values())
        self.kernel = Kernel("part", tuple(b for b in inner if b is not None), (loop,))

    # -- what is local -------------------------------------------------------------------------------------------

    def is_local(self, e: Expr) -> bool:
        """Whether an expression uses what the body binds."""
        for x in children_first(e, self.local):
            self.local[x] = any(self.local[c] for c in expr_children(x))
        return self.local[e]

    def split(self, e: Expr) -> _Parts:
        """An index as what the code around knows of it, a constant, and what is local; None for 0."""
        found = self.parts.get(e)
        if found is None:
            found = self.parts[e] = self.halves(e)
        return found

    def halves(self, e: Expr) -> _Parts:
        if not self.is_local(e):
            return *self.outer(e), None
        match e:
            case Binary(op="add" | "sub"):
                (a, x, p), (b, y, q) = self.split(e.a), self.split(e.b)
                return _joined(e.op, a, b), x + y if e.op == "add" else x - y, _joined(e.op, p, q)
            case Binary(op="mul", b=Const() as factor):
                a, x, p = self.split(e.a)
                outer, local = (None if y is None else Binary("mul", y, factor) for y in (a, p))
                return outer, x * int(factor.value), local
            case _:
                return None, 0, e

    def outer(self, e: Expr) -> tuple[Expr | None, int]:
        """What the code around computes, apart from a constant: no load, which a branch of the body may guard."""
        stack = [e]
        while stack:
            x = stack.pop()
            if isinstance(x, Load):
                raise _Bound
            if x not in self.free:
                self.free.add(x)
                stack += expr_children(x)
        return apart(e, self.apart)

    def access(self, x: Load | Store) -> None:
        parts = [self.split(i) for i in x.index]
        start = tuple(as_index(0) if outer is None else outer for outer, _, _ in parts)
        key = (id(x.buffer), tuple(map(self.numbers.expr, start)))
        place = self.places.setdefault(key, _Place(x.buffer, start))
        within: list[Expr] = []
        for axis, (_, constant, local) in enumerate(parts):
            if constant or local is not None:
                place.axes.add(axis)
            fixed = Const(constant, i64)
            within.append(fixed if local is None else Binary("add", local, fixed) if constant else local)
        self.accesses[id(x)] = _Access(place, within)

    def shape(self, place: _Place, name: str) -> None:
        """Small steps stay what they are, others are arguments."""
        steps = [place.buffer.steps[axis] for axis in sorted(place.axes)]
        inner = tuple(d if isinstance(d, int) and abs(d) < SMALL else self.size(as_index(d)) for d in steps)
        place.inner = Buffer(name, place.buffer.dtype, (1,) * max(1, len(inner)), inner or (1,))

    # -- the body over its parameters ------------------------------------------------------------------------------

    def size(self, value: Expr) -> Dim:
        """The dim that stands for an integer of the code around."""
        name = f"s{len(self.values)}"
        self.values[name] = value
        return symbol(name, 0, MAX_DIM)

    def symbol(self, value: Expr) -> Expr:
        key = self.numbers.expr(value)
        if key not in self.symbols:
            self.symbols[key] = Size(self.size(value))
        return self.symbols[key]

    def place(self, x: Load | Store) -> tuple[Buffer, tuple[Expr, ...]]:
        found = self.accesses[id(x)]
        assert found.place.inner is not None
        index = tuple(self.expr(found.within[axis]) for axis in sorted(found.place.axes))
        return found.place.inner, index or (as_index(0),)

    def expr(self, e: Expr) -> Expr:
        for x in children_first(e, self.inside, self.operands):
            self.inside[x] = self.made(x)
        return self.inside[e]

    def operands(self, e: Expr) -> Sequence[Expr]:
        """What an expression is made of within the body."""
        if isinstance(e, Load):
            return [x for x in (e.inside, e.otherwise) if x is not None]
        return () if e.dtype == i64 and not self.is_local(e) else expr_children(e)

    def made(self, e: Expr) -> Expr:
        if isinstance(e, Const) or (isinstance(e, Var) and self.is_local(e)):
            return e
        if isinstance(e, Load):
            buffer, index = self.place(e)
            inside, otherwise = (x if x is None else self.expr(x) for x in (e.inside, e.otherwise))
            return Load(buffer, index, inside, otherwise)
        if e.dtype == i64 and not self.is_local(e):
            moving, constant = self.outer(e)
            if moving is None:
                return Const(constant, i64)
            return self.symbol(moving) + constant if constant else self.symbol(moving)
        if isinstance(e, Compare) and isinstance(e.b, Const) and e.b.dtype == i64:
            return Compare(e.op, self.expr(e.a), self.symbol(e.b))
        if isinstance(e, Var):
            raise _Bound
        return rebuilt(e, self.expr)

    def block(self, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        return tuple(map(self.statement, body))

    def statement(self, s: Stmt) -> Stmt:
        match s:
            case Let():
                return Let(s.var, self.expr(s.value))
            case Store():
                buffer, index = self.place(s)
                mask = None if s.mask is None else self.expr(s.mask)
                return Store(buffer, index, self.expr(s.value), mask, s.combine)
            case Fetch():
                return Fetch(Load(*self.place(s.place)))
            case If():
                return If(self.expr(s.cond), self.block(s.then), self.block(s.otherwise))
            case _:
                raise _Bound


def _joined(op: BinaryOp, a: Expr | None, b: Expr | None) -> Expr | None:
    if b is None:
        return a
    if a is None and op == "add":
        return b
    return Binary(op, as_index(0) if a is None else a, b)
