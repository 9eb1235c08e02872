"""Kernel IR to LLVM text: statements, loops and whole kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from ...ir.dims import Dim
from ...ir.types import i64
from . import arith, dot_tile, interleave, microkernel, turn, vecmath
from .builder import Builder, Module, V
from .emit_loops import PARTIALS, LoopEmitter
from .emit_parallel import emit_parallel, emit_share
from .kernel_ir import (
    Call,
    Contract,
    Dot,
    Fetch,
    For,
    If,
    Interleave,
    Kernel,
    Let,
    Load,
    Part,
    Reduce,
    Stmt,
    Store,
    Tile,
    Turn,
)
from .outline import emit_outlined, emit_part
from .target import Target
from .walk import all_exprs, kernel_symbols, stmts, stored_buffers

__all__ = ["emit_kernel"]


class Emitter(LoopEmitter):
    """Emits statements at the end of the builder's innermost scope."""

    kernel: Kernel
    lets: Sequence[Let] = ()
    outlines = True

    def block(self, body: Sequence[Stmt]) -> None:
        for s in body:
            self.stmt(s)

    def stmt(self, s: Stmt) -> None:
        match s:
            case Let():
                self.bind(s.var, self.eval(s.value))
                if self.nonnegative(s.value):
                    self.loop_vars.add(id(s.var))
            case Store():
                self._store(s)
            case Fetch():
                self.fetch(s.place)
            case For():
                if (self._top and s.kind.startswith("parallel") and emit_parallel(self, s)) or (
                    self.outlines and self.lanes == 1 and emit_outlined(self, s)
                ):
                    pass
                elif s.kind.endswith("vector") and self.lanes == 1 and not s.carries:
                    self.vector(s)
                else:
                    self._serial(s)
            case Reduce():
                self.reduce(s)
            case If():
                self._if(s)
            case Tile():
                microkernel.emit_call(self, s)
                self.forget(stored_buffers((s,)))
            case Dot():
                dot_tile.emit_dot(self, s)
                self.forget({id(s.c.buffer)})
            case Turn():
                turn.emit_turn(self, s)
                self.forget({id(s.target.buffer)})
            case Interleave():
                interleave.emit_interleave(self, s)
                self.forget({id(s.target.buffer)})
            case Part():
                emit_part(self, s)
                self.forget({id(s.places[-1].buffer)})
            case Contract():
                raise AssertionError("a contract is expanded before emission")
            case _:
                assert_never(s)

    def _store(self, s: Store) -> None:
        mask = None if s.mask is None else self.eval(s.mask)
        if mask is not None and mask.number == 1:
            mask = None
        value = self.eval(s.value)
        pointer, stride = self.address(s.buffer, s.index)
        if s.combine is not None:
            old = self.load_from(s.buffer, pointer, stride, mask)
            value = arith.binary(self.b, s.combine, old, value, s.buffer.dtype)
        self.store_to(s.buffer, pointer, stride, value, mask)
        self.forget({id(s.buffer)})

    # -- loops -------------------------------------------------------------------------------------------------

    def _serial(self, s: For) -> None:
        self.enter(s)
        extent, first = self.index(s.extent), self.b.number(0, "i64")
        inits = [self.wide(c.init) for c in s.carries]

        def body(i: V, carried: Sequence[V]) -> Sequence[V]:
            self.loop_vars.add(id(s.var))
            self.bind(s.var, self.turned(s.back, i, first, extent))
            for c, v in zip(s.carries, carried, strict=True):
                self.bind(c.var, v)
            self.block(s.body)
            return [self.eval(c.update) for c in s.carries]

        trip_once = isinstance(s.extent, int) and s.extent == 1
        if trip_once:
            results = self.inline(lambda: list(body(first, inits)))
        else:
            results = self.loop(first, extent, 1, inits, body)
        self.leave(s)
        for c, v in zip(s.carries, results, strict=True):
            self.bind(c.var, v)

    def turned(self, back: Dim, i: V, begin: V, end: V) -> V:
        """Which of the iterations begin..end runs as the i-th: counted from the end where `back` is 1."""
        if back == 0:
            return i
        b = self.b
        cond = b.simple("icmp ne", self.dim(back), b.number(0, "i64"), ty="i1")
        return b.select(cond, b.sub(b.add(begin, end), b.add(i, b.number(1, "i64"))), i)

    @property
    def _top(self) -> bool:
        """Whether this is the body of the kernel itself."""
        return self.b.depth == 0 and self.lanes == 1

    def vector(self, s: For, begin: V | None = None, end: V | None = None) -> None:
        """A vector loop, or the part begin..end of it; begin is a multiple of the lanes."""
        self.enter(s)
        b = self.b
        extent = self.index(s.extent) if end is None else end
        start = b.number(0, "i64") if begin is None else begin
        known = int(extent.number) if extent.number is not None and begin is None else None
        lanes = self._width(s, known)

        def body(mask_of: Callable[[V], V | None] | None) -> Callable[[V, Sequence[V]], Sequence[V]]:
            def run(i: V, carried: Sequence[V]) -> Sequence[V]:
                self.lanes = lanes
                self.mask = None if mask_of is None else mask_of(i)
                self.lone = self.mask is not None and known is not None and known % lanes == 1
                self.loop_vars.add(id(s.var))
                self.bind(s.var, V(i.text, "i64", lanes, i.level, i.number, 1) if lanes > 1 else i)
                self.block(s.body)
                self.lanes, self.mask, self.lone = 1, None, False
                return []

            return run

        if lanes == 1:
            self.loop(start, extent, 1, [], lambda i, c: self.scoped(body(None), i, c))
        else:
            whole = b.number(known - known % lanes, "i64") if known is not None else self.whole(extent, lanes)
            self.loop(start, whole, lanes, [], lambda i, c: self.scoped(body(None), i, c))
            if known is None or known % lanes:
                rest = b.sub(extent, whole)

                def tail(i: V) -> V:
                    return arith.compare(b, "lt", V("0", "i64", lanes, 0, 0, 1), rest, i64)

                self._when(rest, known is not None, lambda: self.scoped(body(tail), whole, []))
        self.leave(s)

    def _when(self, count: V, always: bool, run: Callable[[], object]) -> None:
        """Run where count > 0."""
        if always:
            run()
            return
        cond = self.b.simple("icmp sgt", count, self.b.number(0, "i64"), ty="i1")
        self.branch(cond, run, None)

    def _if(self, s: If) -> None:
        cond = self.eval(s.cond)
        assert cond.lanes == 1, "the condition of an if differs between lanes"
        if cond.number is not None:
            self.scoped_block(s.then if cond.number else s.otherwise)
        else:
            other = (lambda: self.block(s.otherwise)) if s.otherwise else None
            self.branch(cond, lambda: self.block(s.then), other)
        self.forget(stored_buffers((s,)))

    def scoped_block(self, body: Sequence[Stmt]) -> None:
        """A block whose bindings end with it."""

        def run() -> list[V]:
            self.block(body)
            return []

        self.inline(run)

    def _width(self, s: For, extent: int | None) -> int:
        """Lanes: a register of the widest data in the loop, fewer where the extent is small.

        Two registers where functions are written out: each is a chain of 30 operations that wait for each other, and the machine
        looks only so far ahead for another one.
        """
        sizes = [e.dtype.bytes for e in all_exprs((s,)) if isinstance(e, Load)]
        sizes += [x.buffer.dtype.bytes for x in stmts((s,)) if isinstance(x, Store)]
        lanes = min(self.target.lanes(max(sizes, default=8)), PARTIALS)
        if self.target.vector_bytes >= 32:
            lanes = max(lanes, 8)
        calls = [e for e in all_exprs((s,)) if isinstance(e, Call)]
        if calls and self.target.registers >= 32 and all(vecmath.is_written_out(e) for e in calls):
            lanes *= 2
        while extent is not None and lanes // 2 >= max(extent, 1):
            lanes //= 2
        return lanes


def emit_kernel(
    module: Module, kernel: Kernel, target: Target, *, shares: bool = False, once: bool = False
) -> str:
    """Add the kernel's function to the module and give its name.

    The function is ``void @name(ptr ctx, ptr buffer..., i64 symbol...)`` with the symbols of walk.kernel_symbols. With
    `shares` it is one of a kernel that is one nest of parallel loops, and two more parameters say which share of
    its iterations to run, and of how many. `once` says that it is called once a run.
    """
    from .contract import expand_contracts

    module.fma = target.fma
    kernel = expand_contracts(kernel, target)
    names = kernel_symbols(kernel)
    builder = Builder(module)
    pointers = {id(x): V(f"%p{n}", "ptr") for n, x in enumerate(kernel.buffers)}
    symbols = {name: V(f"%s{n}", "i64") for n, name in enumerate(names)}
    emitter = Emitter(module, target, builder, pointers, symbols)
    emitter.kernel = kernel
    emitter.scratch = {id(x): x for x in kernel.scratch}
    emitter.lets = [s for s in kernel.body if isinstance(s, Let)]
    if shares:
        for let in emitter.lets:
            emitter.stmt(let)
        (nest,) = (s for s in kernel.body if not isinstance(s, Let))
        assert isinstance(nest, For)
        emit_share(emitter, nest, V("%share", "i64"), V("%shares", "i64"))
    else:
        emitter.block(kernel.body)
    params = [
        "ptr %ctx",
        *(f"ptr %p{n}" for n in range(len(kernel.buffers))),
        *(f"i64 %s{n}" for n in range(len(symbols))),
        *(("i64 %share", "i64 %shares") if shares else ()),
    ]
    head = f"define internal void @{kernel.name}({', '.join(params)}) nounwind"
    shared = any(f"@{kernel.name}_p" in line for line in builder.here.lines)
    module.functions[f"@{kernel.name}"] = builder.finish(head, once=once and shared)
    return kernel.name
