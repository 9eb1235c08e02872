# long file: one expansion, whose parts share the blocks and their places
"""Contractions as loops: blocks, packing into scratch memory, calls of the register tile, and the epilogue.

For each point of `batch`, block of mc rows and block of panels: the sums of the block are formed in scratch memory `c`, over
pieces of k in order, each a tile call; then the epilogue runs over them. Where one piece is the whole of k, an epilogue of few
operations runs in the tile itself, on the sums in registers. An operand that cannot be read where it lies is
evaluated into scratch memory first, rows of A as [mc][kc], panels of B as [kc][columns].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...ir.dims import Dim
from ...ir.types import bool_, f32, f64
from .affine import flat_strides, row_length, split_rows
from .dot import expand_dot
from .dot_schedule import DotSchedule
from .extents import ceil_div, decompose, known, may_be_empty, rest_of, times
from .finish import LINE, finishes
from .kernel_ir import (
    Buffer,
    Carry,
    Coming,
    Contract,
    Expr,
    Finish,
    For,
    If,
    Index,
    Kernel,
    Let,
    Load,
    LoopDim,
    LoopKind,
    Packed,
    Select,
    Step,
    Stmt,
    Store,
    Tile,
    Turn,
    Var,
    as_index,
    const,
    maximum,
    minimum,
    zero,
)
from .parts import by_part
from .schedule import ContractSchedule, choose_schedule, tile_heights
from .target import Target
from .tile_text import TALL
from .walk import rewrite

__all__ = ["default_schedule", "expand_contracts"]

_FEW = 33
"""Rows whose tiles have 11 rows at most, as many lines as a cache of 12 ways holds in one set beside those of B."""

_LINES = 16
"""Lines of the next panel that a row of a tile fetches, at most: few rows are done before they come."""


def expand_contracts(kernel: Kernel, target: Target) -> Kernel:
    """The kernel with every contract written as loops and tile calls."""
    scratch = list(kernel.scratch)

    def block(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for s in body:
            match s:
                case Contract() if isinstance(s.schedule, DotSchedule):
                    found += expand_dot(s, s.schedule, scratch)
                case Contract():
                    found += _Expansion(s, target, scratch).statements()
                case For():
                    found.append(replace(s, body=block(s.body)))
                case If():
                    found.append(replace(s, then=block(s.then), otherwise=block(s.otherwise)))
                case _:
                    found.append(s)
        return tuple(found)

    body = block(kernel.body)
    return replace(kernel, body=body, scratch=tuple(scratch))


def default_schedule(c: Contract, target: Target) -> ContractSchedule | None:
    """The schedule that a contract gets where none is given; None where it is a plain loop nest."""
    if c.acc.dtype not in (f32, f64):
        return None
    return _Expansion(c, target, []).schedule()


@dataclass
class _Place:
    """How an operand is read: strides in elements where in place, else None."""

    row: Dim | None = None
    k: Dim | None = None

    @property
    def direct(self) -> bool:
        return self.row is not None and self.k is not None


class _Expansion:
    def __init__(self, c: Contract, target: Target, scratch: list[Buffer]) -> None:
        self.c, self.target, self.scratch = c, target, scratch
        self.dtype = c.acc.dtype
        self.m, self.k, self.n = times([d.extent for d in c.m]), times([d.extent for d in c.k]), c.n.extent

    def statements(self) -> list[Stmt]:
        if self.dtype not in (f32, f64):
            return self._plain()
        self._choose()
        zeros: list[Stmt] = []
        if self.b_scratch is not None and known(self.n) is None:
            i, j = Var("i"), Var("j")
            fill = For(j, self.s.columns, (self.b_scratch.store((i, j), zero(self.dtype)),), "vector")
            zeros = [For(i, self.b_scratch.shape[0], (fill,))]
        body = self._block()
        mi, ni = (
            LoopDim(self.mi, ceil_div(self.m, self.s.mc)),
            LoopDim(self.ni, ceil_div(self.n, self.wide)),
        )
        around = [*self.c.batch, mi, ni]
        kind: LoopKind = "parallel" if self.c.parallel else "serial"
        if self.c.parallel:
            body, zeros = [*zeros, *body], []
        for dim in reversed(around):
            body = [For(dim.var, dim.extent, tuple(body), kind, back=self.c.back)]
        return [*zeros, *body]

    def schedule(self) -> ContractSchedule:
        """What `_choose` chooses."""
        self._choose()
        return self.s

    def _choose(self) -> None:
        c = self.c
        self.mi, self.ni = Var("mi"), Var("ni")
        self.a_place = self._place_a()
        # rows that lie side by side are gathered as they lie
        self.a_across = not self.a_place.direct and len(c.m) == 1 and flat_strides(c.a, c.m) == 1
        self.b_place = self._place_b()
        in_place = self.a_place.direct and self.b_place.direct
        if c.schedule is not None:
            assert isinstance(c.schedule, ContractSchedule)
            self.s = c.schedule
        else:
            self.s = choose_schedule(
                self.target,
                self.dtype,
                known(self.m),
                known(self.n),
                known(self.k),
                packs_a=not self.a_place.direct,
                in_place=in_place,
            )
            if isinstance(c.b, Packed):
                columns = c.b.buffer.shape[-1]
                assert isinstance(columns, int)
                lanes = min(self.target.lanes(self.dtype.bytes), columns)
                self.s = replace(self.s, vectors=columns // lanes, lanes=lanes)
            if c.parts:
                # the sums of a block stay in the first cache
                self.s = replace(self.s, panels=len(c.sums), mc=min(self.s.mc, 3 * self.s.rows))
        s = self.s
        self.wide = s.columns if c.parts else s.columns * s.panels
        self.finish = self._finish()
        length = known(self.k)
        self.alone, self.together = dict[int, Expr](), c.epilogue
        if c.parts and known(self.m) == 1 and length is not None and 0 < length <= s.kc:
            self.alone, self.together = by_part(c.epilogue, c.sums)
        whole = known(self.n)
        rest = None if whole is None else whole % s.columns
        # a last panel of whole vectors has a narrower tile of its own
        self.narrow = rest // s.lanes if self.finish and rest and rest % s.lanes == 0 else 0
        self.ragged = rest != 0 and not self.narrow
        if not self.finish or self.ragged:
            panels = 1 if self.finish else s.panels
            self.c_scratch = self._scratch("c", (panels, s.mc, s.columns))
        self.b_tail = self.b_place.direct and not isinstance(c.b, Packed) and self.ragged
        needs_b = not self.b_place.direct or self.b_tail
        lines = -(-s.mc // 16) | 1
        shape = (s.kc, lines * 16) if self.a_across else (s.mc, s.kc + 16)  # an odd number of lines apart
        self.a_scratch = None if self.a_place.direct else self._scratch("a", shape)
        self.b_scratch = self._scratch("b", (s.kc, s.columns)) if needs_b else None

    def _finish(self) -> tuple[Store, ...]:
        """The stores of the epilogue, where it can run on the sums in registers: they are whole after one piece of k. A panel
        beyond the last column goes through scratch memory; so do all where m is open, which takes tiles of many heights."""
        c, s, k, n = self.c, self.s, known(self.k), known(self.n)
        whole = k is not None and 0 < k <= s.kc and n is not None and n >= s.columns
        if not whole or known(self.m) is None or c.parts or len(c.m) != 1:
            return ()
        if len(c.k) > 1 and not (self.a_place.direct and self.b_place.direct):
            return ()
        values: dict[int, Expr] = {}
        memo: dict[int, Expr] = {}  # what several results read is read once
        stores: list[Store] = []
        for x in c.epilogue:
            match x:
                case Let():
                    values[id(x.var)] = _replaced(x.value, values, memo)
                case Store():
                    stores.append(replace(x, value=_replaced(x.value, values, memo)))
                case _:
                    return ()
        return tuple(stores) if finishes(stores, c.m[0].var, c.n.var, c.acc) else ()

    def _finish_at(self, m0: Expr, j0: Expr, coming: Coming | None, width: int) -> Finish:
        """The epilogue of the panel at m0, j0."""
        c, row, lane = self.c, Var("row"), Var("lane")
        moved = {id(c.m[0].var): m0 + row, id(c.n.var): j0 + lane}
        memo: dict[int, Expr] = {}
        stores = [
            replace(
                x,
                index=tuple(_replaced(e, moved, memo) for e in x.index),
                value=_replaced(x.value, moved, memo),
            )
            for x in self.finish
        ]
        return Finish(row, Var("block"), lane, width, c.acc, tuple(stores), coming)

    def _coming(self, j0: Expr) -> Coming | None:
        """What the panel after the one at j0 will be read or packed from, a part of it for each row of the block; None where B's rows or
        columns do not lie dense."""
        c, m, length = self.c, known(self.m), known(self.k)
        n, k = flat_strides(c.b, [c.n]), flat_strides(c.b, c.k)
        if not isinstance(c.b, Load) or not m or length is None or len(c.k) != 1:
            return None
        if not isinstance(n, int) or not isinstance(k, int):
            return None
        line, rows = LINE // self.dtype.bytes, min(m, self.s.mc)
        if n == 1:
            each = -(-length // rows)
            step, lines = (
                each * k,
                tuple(p * k + x for p in range(each) for x in range(0, self.s.columns, line)),
            )
        elif k == 1 and n == length:
            step = -(-n * self.s.columns // rows)
            lines = tuple(range(0, step, line))
        else:
            return None
        place = _replaced(c.b, {id(c.n.var): j0 + self.s.columns, id(c.k[0].var): as_index(0)})
        assert isinstance(place, Load)
        return Coming(place, step, lines) if len(lines) <= _LINES else None

    def _scratch(self, name: str, shape: tuple[int, ...]) -> Buffer:
        buffer = Buffer(f"{name}{len(self.scratch)}", self.dtype, shape, align=64)
        self.scratch.append(buffer)
        return buffer

    def _place_a(self) -> _Place:
        row, k = flat_strides(self.c.a, self.c.m), flat_strides(self.c.a, self.c.k)
        if row is None or k is None or flat_strides(self.c.a, [self.c.n]) != 0:
            return _Place()
        many = known(self.m) is None or (known(self.m) or 0) > 28
        aliased = isinstance(row, int) and row != 0 and row * self.dtype.bytes % 4096 == 0
        if aliased and (known(self.m) is None or (known(self.m) or 0) > _FEW):
            return _Place()  # rows that share cache sets
        if row == 1 and isinstance(k, int) and k * self.dtype.bytes >= 1024 and many and len(self.c.m) == 1:
            return _Place()  # a line or two of each of many pages
        return _Place(row, k)

    def _place_b(self) -> _Place:
        c = self.c
        if isinstance(c.b, Packed):
            columns = c.b.buffer.shape[-1]
            return _Place(1, columns)
        n, k = flat_strides(c.b, [c.n]), flat_strides(c.b, c.k)
        few = known(self.m)
        if n == 1 and k is not None and few is not None and (few <= 28 or self.a_across):
            return _Place(1, k)
        return _Place()

    # -- the block ---------------------------------------------------------------------------------------------

    def _block(self) -> list[Stmt]:
        s, c = self.s, self.c
        m0, n0 = Var("m0"), Var("n0")
        mcur, ncur = Var("mcur"), Var("ncur")
        stmts: list[Stmt] = [
            Let(m0, self.mi * s.mc),
            Let(n0, self.ni * self.wide),
            Let(mcur, rest_of(self.m, m0, s.mc)),
            Let(ncur, rest_of(self.n, n0, self.wide)),
        ]
        empty = may_be_empty(self.k)
        if empty:
            p, i, j = Var("p"), Var("i"), Var("j")
            clear = For(j, s.columns, (self.c_scratch.store((p, i, j), zero(self.dtype)),), "vector")
            stmts.append(For(p, s.panels, (For(i, mcur, (clear,)),)))
        stmts += self._pieces(m0, n0, mcur, ncur, empty)
        if not self.finish:
            panels = 1 if c.parts or s.panels == 1 else ceil_div(ncur, s.columns)
            stmts.append(self._after(m0, mcur, n0, panels))
        return stmts

    def _after(self, m0: Expr, rows: Expr, n0: Expr, panels: Index) -> Stmt:
        """The epilogue over sums in scratch memory."""
        c, s = self.c, self.s
        p, i, j, j0 = Var("p"), Var("i"), Var("j"), Var("j0")
        sums = [Let(v, self.c_scratch[g if c.parts else p, i, j]) for g, v in enumerate(c.sums)]
        element = (Let(c.n.var, j0 + j), *sums, *self.together)
        columns = self._columns(j, j0, element)
        panel = For(p, panels, (Let(j0, n0 + p * s.columns), columns))
        return For(i, rows, (*decompose(m0 + i, c.m), panel))

    def _alone(self, part: int, m0: Expr, rows: Expr, n0: Expr) -> list[Stmt]:
        """What the epilogue does with the sums of one part alone, in place, as soon as they are whole."""
        if part not in self.alone:
            return []
        c, i, j = self.c, Var("i"), Var("j")
        sums = Let(c.sums[part], self.c_scratch[part, i, j])
        element = (Let(c.n.var, n0 + j), sums, self.c_scratch.store((part, i, j), self.alone[part]))
        return [For(i, rows, (*decompose(m0 + i, c.m), self._columns(j, n0, element)))]

    def _columns(self, j: Var, j0: Expr, element: tuple[Stmt, ...]) -> Stmt:
        """A loop over the columns of the panel at j0: of known length, in whole panels and in the last one."""
        size, whole = self.s.columns, known(self.n)
        if whole is None or whole % size == 0:
            return For(j, rest_of(self.n, j0, size), element, "vector")
        last = For(j, whole % size, element, "vector")
        return If((j0 + size) > whole, (last,), (For(j, size, element, "vector"),))

    def _pieces(self, m0: Var, n0: Var, mcur: Var, ncur: Var, always: bool) -> list[Stmt]:
        """The loops over pieces of k: `outer` whole rows of the last k dim at a time, or pieces of one such row."""
        c = self.c
        gathers = not (self.a_place.direct and self.b_place.direct and not self.b_tail)
        if not gathers or len(c.k) == 1:
            flat = c.k if len(c.k) == 1 else ()
            return self._piece_loops((), self.k, flat, m0, n0, mcur, ncur, always)
        return self._piece_loops(c.k[:-1], c.k[-1].extent, c.k[-1:], m0, n0, mcur, ncur, always)

    def _piece_loops(
        self, outer: tuple[LoopDim, ...], extent: Index, inner: tuple[LoopDim, ...],
        m0: Var, n0: Var, mcur: Var, ncur: Var, always: bool,
    ) -> list[Stmt]:  # fmt: skip
        s = self.s
        size = known(extent)
        total = times([d.extent for d in outer])
        together = max(1, s.kc // size) if size is not None and 0 < size <= s.kc else 1
        if outer and together > 1:
            o, o0, ocur = Var("ko"), Var("o0"), Var("ocur")
            assert size is not None
            piece = self._piece(
                outer,
                inner,
                o0,
                ocur,
                as_index(0),
                as_index(size),
                as_index(extent),
                m0,
                n0,
                mcur,
                ncur,
                const(True, bool_) if always else o.ne(0),
            )
            return [
                For(
                    o,
                    ceil_div(total, together),
                    (Let(o0, o * together), Let(ocur, rest_of(total, o0, together)), *piece),
                )
            ]
        o, q, q0, qcur = Var("ko"), Var("kq"), Var("k0"), Var("kcur")
        first = const(True, bool_) if always else (q.ne(0) | o.ne(0)) if outer else q.ne(0)
        piece = self._piece(
            outer, inner, o, as_index(1), q0, qcur, as_index(extent), m0, n0, mcur, ncur, first
        )
        loop = For(
            q, ceil_div(extent, s.kc), (Let(q0, q * s.kc), Let(qcur, rest_of(extent, q0, s.kc)), *piece)
        )
        return [For(o, total, (loop,))] if outer else [loop]

    def _piece(
        self, outer: tuple[LoopDim, ...], inner: tuple[LoopDim, ...], o0: Expr, ocur: Expr, q0: Expr, qcur: Expr, extent: Expr,
        m0: Var, n0: Var, mcur: Var, ncur: Var, accumulate: Expr,
    ) -> list[Stmt]:  # fmt: skip
        """One piece of k, of ocur * qcur elements: pack A, then for each panel pack B and call the tile."""
        c, s = self.c, self.s
        length = qcur if not outer or known(ocur) == 1 else ocur * qcur
        if self.finish:
            length = as_index(self.k)  # one piece, whose length the tile's function may know
        flat = o0 * extent + q0 if outer else q0

        def over_k(store: Stmt, at: Var, vector: bool) -> Stmt:
            """store for each k of the piece, `at` its place in it."""
            o, q = Var("o"), Var("q")
            bind = [Let(at, (o * qcur + q) if outer else q)]
            if inner:
                bind.append(Let(inner[0].var, q0 + q))
            else:
                bind += decompose(q0 + q, c.k)
            loop = For(q, qcur, (*bind, store), "vector" if vector else "serial")
            return For(o, ocur, (*decompose(o0 + o, outer), loop)) if outer else loop

        stmts: list[Stmt] = []
        if self.a_scratch is not None:
            i, at = Var("i"), Var("at")
            if self.a_across:
                copy = (*decompose(m0 + i, c.m), self.a_scratch.store((at, i), c.a))
                stmts.append(over_k(For(i, mcur, copy, "vector"), at, False))
            else:
                pack = over_k(self.a_scratch.store((i, at), c.a), at, bool(inner))
                stmts.append(For(i, mcur, (*decompose(m0 + i, c.m), pack)))
        p, j0, cols = Var("panel"), Var("j0"), Var("cols")
        start: list[Stmt] = [Let(j0, n0 + p * s.columns), Let(cols, rest_of(self.n, j0, s.columns))]
        bind = [*decompose(m0, c.m), *decompose(flat, c.k)]

        def tiles(b: Load, b_k: Expr) -> list[Stmt]:
            if not self.finish:
                return [tile(b, b_k, Load(self.c_scratch, (p, as_index(0), as_index(0))))]
            whole = tile(b, b_k, self._finish_at(m0, j0, self._coming(j0), s.columns))
            if self.narrow:
                last = self._finish_at(m0, j0, None, self.narrow * s.lanes)
                part = tile(b, b_k, last, self.narrow)
                return [If(cols.eq(s.columns), (whole,), (part,))]
            if not self.ragged:
                return [whole]
            sums = tile(b, b_k, Load(self.c_scratch, (as_index(0), as_index(0), as_index(0))))
            return [If(cols.eq(s.columns), (whole,), (sums, self._after(m0, mcur, j0, 1)))]

        def tile(b: Load, b_k: Expr, target_c: Load | Finish, vectors: int = s.vectors) -> Stmt:
            if self.a_scratch is not None:
                a, strides = self.a_scratch[0, 0], (s.kc + 16, 1)
                if self.a_across:
                    strides = (1, self.a_scratch.shape[1])
                row, k = map(as_index, strides)
            else:
                assert isinstance(c.a, Load) and self.a_place.row is not None and self.a_place.k is not None
                a, row, k = c.a, as_index(self.a_place.row), as_index(self.a_place.k)
            return Tile(
                s.rows,
                vectors,
                s.lanes,
                a,
                row,
                b,
                as_index(s.lanes),
                target_c,
                as_index(s.columns),
                mcur,
                (Step(length, k, b_k),),
                accumulate,
                tile_heights(s.rows, known(self.m), s.mc),
                afar=c.afar and (known(self.m) or 0) < TALL,
            )

        def turned(b: Load, row: Expr) -> list[Stmt]:
            """Rows of B^T are contiguous along k: turn them, one row of the last k dim at a time."""
            assert self.b_scratch is not None
            o = Var("o")
            at = (o * qcur if outer else as_index(0), as_index(0))
            place: list[Stmt] = [Let(c.n.var, j0), *(() if inner else decompose(q0, c.k))]
            place += [Let(inner[0].var, q0)] if inner else []
            place.append(Turn(s.lanes, b, row, Load(self.b_scratch, at), as_index(s.columns), cols, qcur))
            return [For(o, ocur, (*decompose(o0 + o, outer), *place))] if outer else place

        def packed_tile() -> list[Stmt]:
            assert self.b_scratch is not None and isinstance(c.b, Expr)
            j, at = Var("j"), Var("at")
            call = [*bind, *tiles(self.b_scratch[0, 0], as_index(s.columns))]
            row = flat_strides(c.b, [c.n])
            if (
                isinstance(c.b, Load)
                and row not in (None, 1)
                and flat_strides(c.b, inner or c.k) == 1
                and s.lanes > 1
            ):
                return [*turned(c.b, as_index(row)), *call]
            width = row_length(c.b, c.n.var)
            if width is None:
                columns = For(j, cols, (Let(c.n.var, j0 + j), self.b_scratch.store((at, j), c.b)), "vector")
                return [over_k(columns, at, False), *call]
            # the columns are pixels in rows: one piece of a row at a time, so that loads are of unit stride
            w = as_index(width)
            turn, line, low, high = Var("turn"), Var("line"), Var("low"), Var("high")
            value = split_rows(c.b, c.n.var, line, (j + low) - line * w)
            fill = For(j, high - low, (self.b_scratch.store((at, j + (low - j0)), value),), "vector")
            place: list[Stmt] = [
                Let(line, j0 // w + turn),
                Let(low, maximum(line * w, j0)),
                Let(high, minimum((line + 1) * w, j0 + cols)),
            ]
            turns = Select(cols > 0, (j0 + cols - 1) // w - j0 // w + 1, as_index(0))
            return [For(turn, turns, (*place, over_k(fill, at, False))), *call]

        if isinstance(c.b, Packed):
            panel = (self.ni, p) if c.parts else (self.ni * s.panels + p,)
            index = (*c.b.prefix, *panel, flat, as_index(0))
            body = [*start, *bind, *tiles(Load(c.b.buffer, index), as_index(s.columns))]
        elif self.b_place.direct:
            assert isinstance(c.b, Load) and self.b_place.k is not None
            direct = [*bind, Let(c.n.var, j0), *tiles(c.b, as_index(self.b_place.k))]
            body = (
                [*start, *direct]
                if not self.b_tail
                else [*start, If(cols.eq(s.columns), tuple(direct), tuple(packed_tile()))]
            )
        else:
            body = [*start, *packed_tile()]
        if self.alone:
            for part in range(len(c.sums)):
                stmts += [Let(p, as_index(part)), *body, *self._alone(part, m0, mcur, n0)]
            return stmts
        panels = len(c.sums) if c.parts else ceil_div(ncur, s.columns) if s.panels > 1 else 1
        stmts.append(For(p, panels, tuple(body)))
        return stmts

    # -- without a tile ------------------------------------------------------------------------------------------

    def _plain(self) -> list[Stmt]:
        """Integers: loops over m and n, n in lanes, the sum over k in order."""
        c = self.c
        assert isinstance(c.b, Expr), "packed operands are for f32 and f64"
        final, stmts = self._sum(c.k, c.acc, zero(self.dtype))
        del final
        body: list[Stmt] = [For(c.n.var, c.n.extent, (*stmts, *c.epilogue), "vector")]
        for dim in reversed((*c.batch, *c.m)):
            body = [For(dim.var, dim.extent, tuple(body), "parallel" if c.parallel else "serial")]
        return body

    def _sum(self, dims: Sequence[LoopDim], result: Var, start: Expr) -> tuple[Expr, list[Stmt]]:
        c = self.c
        assert isinstance(c.b, Expr)
        if not dims:
            return start + c.a * c.b, []
        update_var = Var("partial", self.dtype) if len(dims) > 1 else result
        inner, stmts = self._sum(dims[1:], update_var, result)
        update = update_var if len(dims) > 1 else inner
        loop = For(dims[0].var, dims[0].extent, tuple(stmts), "serial", (Carry(result, start, update),))
        return result, [loop]


def _replaced(e: Expr, values: Mapping[int, Expr], memo: dict[int, Expr] | None = None) -> Expr:
    """The expression with the variables of these identities replaced."""
    return rewrite(e, lambda x: values.get(id(x)), memo)
