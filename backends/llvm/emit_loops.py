"""Kernel IR to LLVM text: loops, branches and reductions, over what they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir.types import i64
from . import arith
from .builder import V
from .emit import ExprEmitter
from .kernel_ir import For, LoopDim, Monoid, Reduce, Stmt
from .walk import stored_buffers

__all__ = ["PARTIALS", "LoopEmitter"]

PARTIALS = 16
"""Interleaved partial results of every reduction, on every target."""


class LoopEmitter(ExprEmitter):
    """Control flow at the end of the builder's innermost scope; `block` is emit_stmt.py's."""

    def block(self, body: Sequence[Stmt]) -> None:
        """Emit statements."""
        raise NotImplementedError

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

    def inline(self, run: Callable[[], list[V]]) -> list[V]:
        """Run in a scope of its own whose lines join this one: bindings end with it."""
        b = self.b
        b.open(b.here.label)
        results = run()
        scope = b.close()
        b.here.lines += scope.lines
        b.here.label = scope.label
        return [V(r.text, r.ty, r.lanes, min(r.level, b.depth), r.number, r.stride) for r in results]

    def scoped(self, run: Callable[[V, Sequence[V]], Sequence[V]], i: V, carried: Sequence[V]) -> Sequence[V]:
        """A loop's body in a scope of its own, as its bindings must not outlive it."""
        return self.inline(lambda: list(run(i, carried)))

    def whole(self, extent: V, lanes: int) -> V:
        positive = self.b.intrinsic("smax", extent, self.b.number(0, "i64"))
        return self.b.simple("and", positive, self.b.number(-lanes, "i64"))

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

    def enter(self, s: For | Reduce) -> None:
        self.forget(stored_buffers(s.body))

    def leave(self, s: For | Reduce) -> None:
        self.forget(stored_buffers(s.body))

    # -- reductions --------------------------------------------------------------------------------------------

    def reduce(self, s: Reduce) -> None:
        self.enter(s)
        identity = [self.b.widen(self.eval(c), self.lanes) for c in s.monoid.identity]
        if self.lanes > 1:  # one fold a lane
            results = self._nest(s, list(s.dims), identity, self._step)
        else:
            self.lanes = PARTIALS
            wide = [self.b.widen(v, PARTIALS) for v in identity]
            partials = self._nest(s, list(s.dims[:-1]), wide, lambda s, c: self._strip(s, s.dims[-1], c))
            self.lanes = 1
            results = self._tree(s.monoid, partials)
        self.leave(s)
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

        return self.inline(
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
            b.number(known - known % PARTIALS, "i64") if known is not None else self.whole(extent, PARTIALS)
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

        return self.inline(last)

    def _merge(self, m: Monoid, left: Sequence[V], right: Sequence[V]) -> list[V]:
        """The monoid applied to registers; each time anew, in a scope whose bindings vanish."""

        def run() -> list[V]:
            for var, v in zip((*m.left, *m.right), (*left, *right), strict=True):
                self.bind(var, v)
            return [self.eval(e) for e in m.result]

        lanes = max(v.lanes for v in left)
        return [self.b.widen(v, lanes) for v in self.inline(run)]

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
