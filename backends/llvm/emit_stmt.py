"""Kernel IR to LLVM text: statements, loops and whole kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from ...ir.types import i64
from . import arith, microkernel
from .builder import Builder, Module, V
from .emit import ExprEmitter
from .kernel_ir import (
    Contract,
    For,
    If,
    Kernel,
    Let,
    Load,
    LoopDim,
    Monoid,
    Reduce,
    Stmt,
    Store,
    Tile,
)
from .target import Target
from .walk import all_exprs, kernel_symbols, stmts, stored_buffers

__all__ = ["emit_kernel"]

PARTIALS = 16
"""Interleaved partial results of every reduction, on every target."""


class Emitter(ExprEmitter):
    """Emits statements at the end of the builder's innermost scope."""

    kernel: Kernel

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
            case For():
                if s.kind == "parallel" and self.b.depth == 0:
                    self._parallel(s)
                elif s.kind == "vector" and self.lanes == 1 and not s.carries:
                    self._vector(s)
                else:
                    self._serial(s)
            case Reduce():
                self._reduce(s)
            case If():
                self._if(s)
            case Tile():
                microkernel.emit_call(self, s)
                self.forget({id(s.c.buffer)})
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

    def loop(
        self,
        start: V,
        stop: V,
        step: int,
        inits: Sequence[V],
        body: Callable[[V, Sequence[V]], Sequence[V]],
    ) -> list[V]:
        """A loop from start while below stop; the body maps carried values to the next ones. Gives the last ones."""
        b = self.b
        if start.number is not None and stop.number is not None:
            trips = -(-(int(stop.number) - int(start.number)) // step)
            if trips <= 0:
                return list(inits)
            if trips == 1:
                return list(body(start, list(inits)))
        head, inside, after = b.label(), b.label(), b.label()
        before = b.here.label
        always = start.number is not None and stop.number is not None
        b.open(inside if not always else head)
        level = b.depth
        i = V(b.fresh(), "i64", 1, level)
        carried = [V(b.fresh(), v.ty, v.lanes, level) for v in inits]
        updates = [b.widen(u, v.lanes) for u, v in zip(body(i, carried), inits, strict=True)]
        last = b.fresh()
        b.effect(f"{last} = add i64 {i.text}, {step}")
        scope = b.close()
        lines = b.here.lines
        lines.append(f"  br label %{head}")
        lines.append(f"{head}:")
        lines.append(f"  {i.text} = phi i64 [ {start.text}, %{before} ], [ {last}, %{scope.label} ]")
        for c, v, u in zip(carried, inits, updates, strict=True):
            lines.append(f"  {c.text} = phi {v.type} [ {v.text}, %{before} ], [ {u.text}, %{scope.label} ]")
        more = b.fresh()
        if always:
            lines += scope.lines
            lines.append(f"  {more} = icmp slt i64 {last}, {stop.text}")
            lines.append(f"  br i1 {more}, label %{head}, label %{after}")
            results = updates
        else:
            lines.append(f"  {more} = icmp slt i64 {i.text}, {stop.text}")
            lines.append(f"  br i1 {more}, label %{inside}, label %{after}")
            lines.append(f"{inside}:")
            lines += scope.lines
            lines.append(f"  br label %{head}")
            results = carried
        lines.append(f"{after}:")
        b.here.label = after
        return [V(r.text, r.ty, r.lanes, b.depth) if r.level > b.depth else r for r in results]

    def _enter(self, s: For | Reduce) -> None:
        self.forget(stored_buffers(s.body))

    def _serial(self, s: For) -> None:
        self._enter(s)
        extent = self.index(s.extent)
        inits = [self.wide(c.init) for c in s.carries]

        def body(i: V, carried: Sequence[V]) -> Sequence[V]:
            self.loop_vars.add(id(s.var))
            self.bind(s.var, i)
            for c, v in zip(s.carries, carried, strict=True):
                self.bind(c.var, v)
            self.block(s.body)
            return [self.eval(c.update) for c in s.carries]

        trip_once = isinstance(s.extent, int) and s.extent == 1
        if trip_once:
            results = self._inline(lambda: list(body(self.b.number(0, "i64"), inits)))
        else:
            results = self.loop(self.b.number(0, "i64"), extent, 1, inits, body)
        self._exit(s)
        for c, v in zip(s.carries, results, strict=True):
            self.bind(c.var, v)

    def _inline(self, run: Callable[[], list[V]]) -> list[V]:
        """Run in a scope of its own whose lines join this one: bindings end with it."""
        b = self.b
        b.open(b.here.label)
        results = run()
        scope = b.close()
        b.here.lines += scope.lines
        b.here.label = scope.label
        return [V(r.text, r.ty, r.lanes, min(r.level, b.depth), r.number, r.stride) for r in results]

    def _exit(self, s: For | Reduce) -> None:
        self.forget(stored_buffers(s.body))

    def _vector(self, s: For) -> None:
        self._enter(s)
        b = self.b
        extent = self.index(s.extent)
        known = int(extent.number) if extent.number is not None else None
        lanes = self._width(s, known)

        def body(mask_of: Callable[[V], V | None] | None) -> Callable[[V, Sequence[V]], Sequence[V]]:
            def run(i: V, carried: Sequence[V]) -> Sequence[V]:
                self.lanes = lanes
                self.mask = None if mask_of is None else mask_of(i)
                self.loop_vars.add(id(s.var))
                self.bind(s.var, V(i.text, "i64", lanes, i.level, i.number, 1) if lanes > 1 else i)
                self.block(s.body)
                self.lanes, self.mask = 1, None
                return []

            return run

        if lanes == 1:
            self.loop(b.number(0, "i64"), extent, 1, [], lambda i, c: self.scoped(body(None), i, c))
        else:
            whole = (
                b.number(known - known % lanes, "i64") if known is not None else self._whole(extent, lanes)
            )
            self.loop(b.number(0, "i64"), whole, lanes, [], lambda i, c: self.scoped(body(None), i, c))
            if known is None or known % lanes:
                rest = b.sub(extent, whole)

                def tail(i: V) -> V:
                    return arith.compare(b, "lt", V("0", "i64", lanes, 0, 0, 1), rest, i64)

                self._when(rest, known is not None, lambda: self.scoped(body(tail), whole, []))
        self._exit(s)

    def scoped(self, run: Callable[[V, Sequence[V]], Sequence[V]], i: V, carried: Sequence[V]) -> Sequence[V]:
        """A loop's body in a scope of its own, as its bindings must not outlive it."""
        return self._inline(lambda: list(run(i, carried)))

    def _whole(self, extent: V, lanes: int) -> V:
        positive = self.b.intrinsic("smax", extent, self.b.number(0, "i64"))
        return self.b.simple("and", positive, self.b.number(-lanes, "i64"))

    def _when(self, count: V, always: bool, run: Callable[[], object]) -> None:
        """Run where count > 0."""
        if always:
            run()
            return
        cond = self.b.simple("icmp sgt", count, self.b.number(0, "i64"), ty="i1")
        self.branch(cond, run, None)

    def branch(self, cond: V, then: Callable[[], object], otherwise: Callable[[], object] | None) -> None:
        """Run one of two blocks."""
        b = self.b
        blocks: list[tuple[str, list[str]]] = []
        after = b.label()
        for run in (then, otherwise):
            label = b.label() if run is not None else after
            if run is not None:
                b.open(label)
                run()
                blocks.append((label, b.close().lines))
            else:
                blocks.append((label, []))
        lines = b.here.lines
        lines.append(f"  br i1 {cond.text}, label %{blocks[0][0]}, label %{blocks[1][0]}")
        for label, text in blocks:
            if label != after:
                lines += [f"{label}:", *text, f"  br label %{after}"]
        lines.append(f"{after}:")
        b.here.label = after

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

        self._inline(run)

    def _width(self, s: For, extent: int | None) -> int:
        """Lanes: a register of the widest data in the loop, fewer where the extent is small."""
        sizes = [e.dtype.bytes for e in all_exprs((s,)) if isinstance(e, Load)]
        sizes += [x.buffer.dtype.bytes for x in stmts((s,)) if isinstance(x, Store)]
        lanes = min(self.target.lanes(max(sizes, default=8)), PARTIALS)
        if self.target.vector_bytes >= 32:
            lanes = max(lanes, 8)
        while extent is not None and lanes // 2 >= max(extent, 1):
            lanes //= 2
        return lanes

    # -- reductions --------------------------------------------------------------------------------------------

    def _reduce(self, s: Reduce) -> None:
        self._enter(s)
        identity = [self.b.widen(self.eval(c), self.lanes) for c in s.monoid.identity]
        if self.lanes > 1:  # one fold a lane
            results = self._nest(s, list(s.dims), identity, self._step)
        else:
            self.lanes = PARTIALS
            wide = [self.b.widen(v, PARTIALS) for v in identity]
            partials = self._nest(s, list(s.dims[:-1]), wide, lambda s, c: self._strip(s, s.dims[-1], c))
            self.lanes = 1
            results = self._tree(s.monoid, partials)
        self._exit(s)
        for var, v in zip(s.results, results, strict=True):
            self.bind(var, v)

    def _nest(
        self, s: Reduce, dims: list[LoopDim], carried: list[V], inner: Callable[[Reduce, list[V]], list[V]]
    ) -> list[V]:
        if not dims:
            return inner(s, carried)
        first, rest = dims[0], dims[1:]

        def body(i: V, values: Sequence[V]) -> Sequence[V]:
            self.loop_vars.add(id(first.var))
            self.bind(first.var, i)
            return self._nest(s, rest, list(values), inner)

        return self._inline(
            lambda: self.loop(self.b.number(0, "i64"), self.index(first.extent), 1, carried, body)
        )

    def _step(self, s: Reduce, carried: list[V]) -> list[V]:
        self.block(s.body)
        values = [self.wide(e) for e in s.values]
        return self._merge(s.monoid, carried, values)

    def _strip(self, s: Reduce, dim: LoopDim, carried: list[V]) -> list[V]:
        """The innermost dimension, 16 at a time; the last ones under a mask."""
        b = self.b
        extent = self.index(dim.extent)
        known = int(extent.number) if extent.number is not None else None
        whole = (
            b.number(known - known % PARTIALS, "i64") if known is not None else self._whole(extent, PARTIALS)
        )

        def body(i: V, values: Sequence[V]) -> Sequence[V]:
            self.loop_vars.add(id(dim.var))
            self.bind(dim.var, V(i.text, "i64", PARTIALS, i.level, i.number, 1))
            return self._step(s, list(values))

        results = self.loop(
            b.number(0, "i64"), whole, PARTIALS, carried, lambda i, c: self.scoped(body, i, c)
        )
        if known is not None and known % PARTIALS == 0:
            return results
        rest = b.sub(extent, whole)
        mask = arith.compare(b, "lt", V("0", "i64", PARTIALS, 0, 0, 1), rest, i64)

        def last() -> list[V]:
            self.mask = mask
            merged = body(whole, results)
            self.mask = None
            return [b.select(mask, m, r) for m, r in zip(merged, results, strict=True)]

        return self._inline(last)

    def _merge(self, m: Monoid, left: Sequence[V], right: Sequence[V]) -> list[V]:
        """The monoid applied to registers; each time anew, in a scope whose bindings vanish."""

        def run() -> list[V]:
            for var, v in zip((*m.left, *m.right), (*left, *right), strict=True):
                self.bind(var, v)
            return [self.eval(e) for e in m.result]

        lanes = max(v.lanes for v in left)
        return [self.b.widen(v, lanes) for v in self._inline(run)]

    def _tree(self, m: Monoid, partials: list[V]) -> list[V]:
        b, half = self.b, PARTIALS // 2
        while half >= 1:
            pieces: list[list[V]] = []
            for start in (0, half):
                piece: list[V] = []
                for v in partials:
                    if half == 1:
                        piece.append(b.pure(f"extractelement {v.type} {{0}}, i64 {start}", (v,), v.ty))
                    else:
                        picks = ", ".join(f"i32 {start + n}" for n in range(half))
                        form = f"shufflevector {v.type} {{0}}, {v.type} poison, <{half} x i32> <{picks}>"
                        piece.append(b.pure(form, (v,), v.ty, half))
                pieces.append(piece)
            partials = self._merge(m, *pieces)
            half //= 2
        return partials

    # -- parallel ----------------------------------------------------------------------------------------------

    def _parallel(self, s: For) -> None:
        """The body becomes a function of (arg, begin, end); the context's parallel_for calls it on parts of the range."""
        b = self.b
        name = f"@{self.kernel.name}_p{len(self.module.functions)}"
        words = [*(self.pointers[id(x)] for x in self.kernel.buffers), *self.symbols.values()]
        inner = Builder(self.module)
        pointers: dict[int, V] = {}
        symbols: dict[str, V] = {}
        slots = [("ptr", id(x)) for x in self.kernel.buffers] + [("i64", n) for n in self.symbols]
        for n, (ty, key) in enumerate(slots):
            slot = inner.pure(f"getelementptr i64, ptr %arg, i64 {n}", (), "ptr")
            value = inner.fixed(f"load {ty}, ptr {slot.text}, align 8", ty)
            if isinstance(key, int):
                pointers[key] = value
            else:
                symbols[key] = value
        emitter = Emitter(self.module, self.target, inner, pointers, symbols)
        emitter.kernel, emitter.scratch = self.kernel, self.scratch
        emitter.lets = self.lets

        def body(i: V, carried: Sequence[V]) -> Sequence[V]:
            emitter.loop_vars.add(id(s.var))
            emitter.bind(s.var, i)
            emitter.block(s.body)
            return []

        for let in self.lets:
            emitter.stmt(let)
        emitter.loop(V("%begin", "i64"), V("%end", "i64"), 1, [], body)
        self.module.functions[name] = inner.finish(
            f"define internal void {name}(ptr %arg, i64 %begin, i64 %end) nounwind"
        )
        arg = b.fresh()
        b.here.lines.insert(0, f"  {arg} = alloca [{max(1, len(words))} x i64], align 8")
        for n, v in enumerate(words):
            slot = b.pure(f"getelementptr i64, ptr {arg}, i64 {n}", (), "ptr")
            b.effect(f"store {v.ty} {v.text}, ptr {slot.text}, align 8")
        extent = self.index(s.extent)
        function = b.fixed("load ptr, ptr %ctx, align 8", "ptr")
        b.effect(f"call void {function.text}(ptr %ctx, ptr {name}, ptr {arg}, i64 {extent.text})")
        self.forget(stored_buffers(s.body))

    lets: Sequence[Let] = ()


def emit_kernel(module: Module, kernel: Kernel, target: Target) -> str:
    """Add the kernel's function to the module and give its name.

    The function is ``void @name(ptr ctx, ptr buffer..., i64 symbol...)`` with the symbols of walk.kernel_symbols.
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
    emitter.block(kernel.body)
    params = [
        "ptr %ctx",
        *(f"ptr %p{n}" for n in range(len(kernel.buffers))),
        *(f"i64 %s{n}" for n in range(len(symbols))),
    ]
    head = f"define internal void @{kernel.name}({', '.join(params)}) nounwind"
    module.functions[f"@{kernel.name}"] = builder.finish(head)
    return kernel.name
