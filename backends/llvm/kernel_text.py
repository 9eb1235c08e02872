"""Prints a kernel; names that repeat get a number, so that each is one thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from ...ir.dims import Dim, dim_text, shape_text
from .kernel_ir import (
    Binary,
    Bits,
    Buffer,
    Call,
    Cast,
    Compare,
    Const,
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
    LoopDim,
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
    Var,
)
from .walk import expr_children, stmt_roots

__all__ = ["kernel_text"]

LARGE = 200
"""Nodes, counted as a tree, from which on shared expressions get names."""

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "rem": "rem", "floordiv": "//", "mod": "%", "and": "&", "or": "|",
          "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}  # fmt: skip


class _Printer:
    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.used: set[str] = set()
        self.keep: list[Var] = []
        self.shared: dict[Expr, str] = {}

    def name(self, var: Var) -> str:
        if id(var) not in self.names:
            name, n = var.name, 1
            while name in self.used:
                name, n = f"{var.name}.{n}", n + 1
            self.used.add(name)
            self.names[id(var)] = name
            self.keep.append(var)
        return self.names[id(var)]

    def index(self, x: Index) -> str:
        return self.expr(x) if isinstance(x, Expr) else dim_text(x)

    def load(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
        return f"{buffer.name}[{', '.join(map(self.expr, index))}]"

    def bindings(self, roots: Sequence[Expr], indent: str) -> Iterator[str]:
        """Lines that name what large expressions share: written out as trees they can be exponentially long."""
        sizes: dict[Expr, int] = {}
        parents: dict[Expr, int] = {}
        order: list[Expr] = []
        stack = [(e, False) for e in reversed(roots)]
        while stack:
            e, done = stack.pop()
            if done and e not in sizes:
                sizes[e] = 1 + sum(sizes[c] for c in self.parts(e))
                order.append(e)
            elif not done and e not in sizes:
                stack.append((e, True))
                stack += [(c, False) for c in self.parts(e) if c not in sizes]
        if sum(sizes[e] for e in roots) <= LARGE:
            return
        for e in order:
            for child in self.parts(e):
                parents[child] = parents.get(child, 0) + 1
        for e in order:
            if parents.get(e, 0) > 1 and expr_children(e) and e not in self.shared:
                text = self.expr(e)
                self.shared[e] = self.name(Var("s", e.dtype))
                yield f"{indent}{self.shared[e]} = {text}"

    def parts(self, e: Expr) -> Sequence[Expr]:
        """What an expression is written with: nothing, where it has a name."""
        return () if e in self.shared else expr_children(e)

    def expr(self, e: Expr, inner: bool = False) -> str:
        if e in self.shared:
            return self.shared[e]
        match e:
            case Const():
                return _const(e)
            case Size():
                return dim_text(e.dim)
            case Var():
                return self.name(e)
            case Load():
                text = self.load(e.buffer, e.index)
                if e.inside is None:
                    return text
                other = "0" if e.otherwise is None else self.expr(e.otherwise)
                return f"({text} if {self.expr(e.inside)} else {other})"
            case Unary():
                return f"{e.op}({self.expr(e.x)})"
            case Binary() | Compare():
                if e.op in _INFIX:
                    text = f"{self.expr(e.a, True)} {_INFIX[e.op]} {self.expr(e.b, True)}"
                    return f"({text})" if inner else text
                return f"{e.op}({self.expr(e.a)}, {self.expr(e.b)})"
            case Select():
                return f"select({self.expr(e.cond)}, {self.expr(e.a)}, {self.expr(e.b)})"
            case Fma():
                return f"fma({self.expr(e.a)}, {self.expr(e.b)}, {self.expr(e.c)})"
            case Cast():
                return f"{e.dtype}({self.expr(e.x)})"
            case Bits():
                return f"bits_{e.dtype}({self.expr(e.x)})"
            case Call():
                return f"{e.function}({', '.join(map(self.expr, e.args))})"
            case _:
                raise AssertionError(f"unknown expression {type(e).__name__}")

    def dims(self, dims: tuple[LoopDim, ...]) -> str:
        return ", ".join(f"{self.name(d.var)} in {self.index(d.extent)}" for d in dims)

    def block(self, body: tuple[Stmt, ...], indent: str) -> Iterator[str]:
        for stmt in body:
            yield from self.stmt(stmt, indent)

    def stmt(self, s: Stmt, indent: str) -> Iterator[str]:
        """The lines of a statement, after those of what its expressions share."""
        deeper = indent + "  "
        before = dict(self.shared)
        if isinstance(s, (Let, Store)):
            yield from self.bindings(stmt_roots(s), indent)
        yield from self._stmt(s, indent, deeper)
        self.shared = before

    def _stmt(self, s: Stmt, indent: str, deeper: str) -> Iterator[str]:
        match s:
            case Let():
                value = self.expr(s.value)
                yield f"{indent}{self.name(s.var)} = {value}"
            case Store():
                mask = "" if s.mask is None else f" where {self.expr(s.mask)}"
                yield f"{indent}{self.load(s.buffer, s.index)} {s.combine or ''}= {self.expr(s.value)}{mask}"
            case Fetch():
                yield f"{indent}fetch {self.load(s.place.buffer, s.place.index)}"
            case For():
                kind = "" if s.kind == "serial" else f" {s.kind}"
                inits = ", ".join(
                    f"{self.name(c.var)}: {c.var.dtype} = {self.expr(c.init)}" for c in s.carries
                )
                head = f"{indent}for{kind} {self.name(s.var)} in {self.index(s.extent)}{_back(s.back)}"
                yield f"{head} carry {inits} {{" if inits else f"{head} {{"
                yield from self.block(s.body, deeper)
                if s.carries:
                    yield f"{deeper}next {', '.join(f'{self.name(c.var)} = {self.expr(c.update)}' for c in s.carries)}"
                yield f"{indent}}}"
            case Reduce():
                dims = self.dims(s.dims)
                body = [*self.block(s.body, deeper), *self.bindings(s.values, deeper)]
                values = ", ".join(map(self.expr, s.values))
                names = ", ".join(map(self.name, s.results))
                if body:
                    yield f"{indent}{names} = {s.monoid.name} over {dims} {{"
                    yield from body
                    yield f"{deeper}of {values}"
                    yield f"{indent}}}"
                else:
                    yield f"{indent}{names} = {s.monoid.name} over {dims} of {values}"
            case If():
                yield f"{indent}if {self.expr(s.cond)} {{"
                yield from self.block(s.then, deeper)
                if s.otherwise:
                    yield f"{indent}}} else {{"
                    yield from self.block(s.otherwise, deeper)
                yield f"{indent}}}"
            case Tile():
                shape = f"{s.rows}x{s.vectors}x{s.lanes} {s.a.dtype}"
                ahead = (f" ahead {s.ahead}" if s.ahead else "") + (" afar" if s.afar else "")
                ahead += " pairs" if s.pairs else ""
                c = "" if isinstance(s.c, Finish) else f" c={self.expr(s.c)} by {self.expr(s.c_row)}"
                steps = ", ".join(
                    f"{self.expr(p.extent)}{'' if p.last is None else f' (last {p.last})'} by {self.expr(p.a)} {self.expr(p.b)}"
                    for p in s.steps
                )
                runs = "" if s.a_run is None else f" runs of {s.run} by {self.expr(s.a_run)}"
                yield (
                    f"{indent}tile {shape}{c}"
                    f" a={self.expr(s.a)} by {self.expr(s.a_row)}{runs}"
                    f" b={self.expr(s.b)} vectors by {self.expr(s.b_vector)}"
                    f" m={self.expr(s.m)} k={steps} add={self.expr(s.accumulate)}"
                    f" heights={'+'.join(map(str, s.heights))}{ahead}"
                )
                if isinstance(s.c, Finish):
                    names = ", ".join(map(self.name, (s.c.row, s.c.block, s.c.lane)))
                    yield f"{indent}each {self.name(s.c.acc)} at {names} of {s.c.width} {{"
                    for store in s.c.stores:
                        yield from self.stmt(store, deeper)
                    if (coming := s.c.coming) is not None:
                        lines = ", ".join(map(str, coming.lines))
                        yield f"{deeper}fetch {self.expr(coming.place)} by {coming.step} at {lines}"
                    yield f"{indent}}}"
            case Dot():
                yield (
                    f"{indent}dot {s.heights[0]}x{s.widths[0]}x{s.parts}x{s.lanes} {s.c.dtype}"
                    f" c={self.expr(s.c)} by {self.expr(s.c_row)}"
                    f" a={self.expr(s.a)} by {s.a_row} b={self.expr(s.b)} by {s.b_row}"
                    f" m={self.expr(s.m)} n={self.expr(s.n)} k={self.expr(s.length)} add={self.expr(s.accumulate)}"
                    f" heights={'+'.join(map(str, s.heights))} widths={'+'.join(map(str, s.widths))}"
                )
            case Turn():
                yield (
                    f"{indent}turn {s.lanes}{f' clean {s.clean}' if s.clean else ''} {self.expr(s.target)} by {self.expr(s.step)}"
                    f" = {self.expr(s.source)} by {self.expr(s.row)}"
                    f" rows {self.expr(s.count)} length {self.expr(s.length)}"
                )
            case Interleave():
                yield (
                    f"{indent}interleave {s.ways} {self.expr(s.target)} = {self.expr(s.source)}"
                    f" by {self.expr(s.row)} length {self.expr(s.length)}"
                )
            case Part():
                places = [
                    f"{b.name} at {self.expr(x)}" for b, x in zip(s.kernel.buffers, s.places, strict=True)
                ]
                sizes = [f"{name} = {self.expr(x)}" for name, x in s.sizes]
                yield f"{indent}part {', '.join(places + sizes)} {{"
                yield from _Printer().block(s.kernel.body, deeper)
                yield f"{indent}}}"
            case Contract():
                batch = f" batch {self.dims(s.batch)}" if s.batch else ""
                yield f"{indent}contract{' parallel' if s.parallel else ''}{batch} m {self.dims(s.m)} n {self.dims((s.n,))}{_back(s.back)}{' afar' if s.afar else ''} {{"
                yield from self.bindings([s.a, *(() if isinstance(s.b, Packed) else (s.b,))], deeper)
                b = (
                    f"packed {self.load(s.b.buffer, s.b.prefix)}"
                    if isinstance(s.b, Packed)
                    else self.expr(s.b)
                )
                over = self.dims(s.k)
                sums = ", ".join(self.name(v) for v in s.sums)
                yield f"{deeper}{sums} = sum over {over} of {self.expr(s.a)} * {b}"
                yield from self.block(s.epilogue, deeper)
                tail = f" schedule {s.schedule}" if s.schedule is not None else ""
                yield f"{indent}}}{tail}"
            case _:
                assert_never(s)


def _const(e: Const) -> str:
    if e.dtype.name in ("i64", "f32", "bool"):
        return repr(e.value).lower() if e.dtype.name == "bool" else repr(e.value)
    return f"{e.value!r}:{e.dtype}"


def _back(dim: Dim) -> str:
    return "" if dim == 0 else f" back {dim_text(dim)}"


def _buffer(b: Buffer) -> str:
    strides = "" if b.strides is None else f" strides {shape_text(b.strides)}"
    return f"{b.name}: {b.dtype}{shape_text(b.shape)}{strides}" + (f" align {b.align}" if b.align else "")


def kernel_text(kernel: Kernel) -> str:
    """The kernel in the grammar of kernel_ir.py."""
    printer = _Printer()
    printer.used.update(b.name for b in (*kernel.buffers, *kernel.scratch))
    lines = [f"kernel {kernel.name}({', '.join(map(_buffer, kernel.buffers))}) {{"]
    if kernel.origin:
        lines.insert(0, f"# {kernel.origin}")
    lines += [f"  scratch {_buffer(b)}" for b in kernel.scratch]
    lines += printer.block(kernel.body, "  ")
    return "\n".join([*lines, "}"])
