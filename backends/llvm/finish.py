"""What becomes of a tile's sums in registers: bias, residual, activation, and the store to where the result belongs.

Written into the tile's own function. Each load and the store gets a pointer for each block of the panel, at row 0 and lane 0; the
distance of rows is part of the function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.types import f32, f64, i64
from .affine import coefficient
from .builder import Builder, Module, V, llvm_type
from .kernel_ir import Binary, Compare, Const, Expr, Finish, Fma, Load, Select, Store, Tile, Unary, Var
from .target import Target
from .walk import expr_children

if TYPE_CHECKING:
    from .emit_loops import LoopEmitter

__all__ = ["LINE", "Finishing", "finishes"]

LINE = 64
"""Bytes of a line of the caches."""

PACE = 8
"""Steps of a tile's loop, at most, between what it fetches of one row and of the next."""
BEFORE = 24
"""Steps that a line needs to come, about."""

MOST = 16
"""Operations after a sum that are written out for each register of a tile."""


def finishes(stores: Sequence[Store], row: Var, lane: Var, acc: Var, block: Var | None = None) -> bool:
    """Whether stores can stand in a `Finish`: few cheap operations, and addresses as it wants them; tests of the place in the panel, by
    `block` and `lane` alone."""
    for store in stores:
        if store.mask is not None or store.combine is not None or store.buffer.dtype != acc.dtype:
            return False
        if not isinstance(_step(store, row), int) or _step(store, lane) != 1:
            return False
    count = 0
    for e in _parts([store.value for store in stores], acc):
        if isinstance(e, Load):
            if e.inside is not None and not _is_test(e.inside, lane, block):
                return False
            if not isinstance(_step(e, row), int) or _step(e, lane) not in (0, 1):
                return False
            if e.buffer.dtype not in (f32, f64):
                return False
        elif isinstance(e, Compare) and e.a.dtype == i64:
            if not _is_test(e, lane, block):
                return False
        elif isinstance(e, (Unary, Binary, Compare, Select, Fma)):
            count += 1
        elif not isinstance(e, Const) and e is not acc:
            return False
    return count <= MOST


def _parts(values: Sequence[Expr], acc: Var) -> list[Expr]:
    """The nodes of an element's expressions, each once, loads and tests of indices as leaves; operands before what uses them."""
    found: dict[int, Expr] = {}
    stack = [(value, False) for value in reversed(values)]
    while stack:
        e, ready = stack.pop()
        if id(e) in found:
            continue
        if ready:
            found[id(e)] = e
            continue
        stack.append((e, True))
        leaf = isinstance(e, Load) or e is acc or (isinstance(e, Compare) and e.a.dtype == i64)
        if not leaf:
            stack += [(x, False) for x in expr_children(e)]
    return list(found.values())


def _is_test(e: Expr, lane: Var, block: Var | None) -> bool:
    """Whether an expression says lane + ... < a constant, by the place in the panel alone: it holds for the first lanes of each vector."""
    if (
        not isinstance(e, Compare)
        or e.op != "lt"
        or not isinstance(e.b, Const)
        or coefficient(e.a, lane) != 1
    ):
        return False
    stack = [e.a]
    while stack:
        x = stack.pop()
        if isinstance(x, Binary) and x.op in ("add", "mul"):
            stack += (x.a, x.b)
        elif not isinstance(x, Const) and x is not lane and (block is None or x is not block):
            return False
    return True


def _at(e: Expr, lane: Var, block: int) -> int:
    """The value of an index at a place of the panel."""
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, Binary):
        a, b = _at(e.a, lane, block), _at(e.b, lane, block)
        return a + b if e.op == "add" else a * b
    return 0 if e is lane else block


def _step(x: Load | Store, var: Var) -> int | None:
    """The stride of an address in a variable, in elements; None where it is no constant."""
    total = 0
    for index, step in zip(x.index, x.buffer.steps, strict=True):
        c = coefficient(index, var)
        if c == 0:
            continue
        if not isinstance(c, int) or not isinstance(step, int):
            return None
        total += c * step
    return total


@dataclass(frozen=True)
class Finishing:
    """A finish as the function of a tile knows it.

    Args:
        finish:  what is done
        loads:   the loads of the element
        vectors: of a panel
        lanes:   of a vector
        target:  the machine
        steps:   the length of the tile's only loop; None where it is not known, or there are several
    """

    finish: Finish
    loads: tuple[Load, ...]
    vectors: int
    lanes: int
    target: Target
    steps: int | None = None

    @staticmethod
    def of(tile: Tile, target: Target) -> Finishing | None:
        """That of a tile, where it has one."""
        if not isinstance(tile.c, Finish):
            return None
        values = [store.value for store in tile.c.stores]
        loads = tuple(e for e in _parts(values, tile.c.acc) if isinstance(e, Load))
        length = tile.steps[0].extent
        steps = int(length.value) if len(tile.steps) == 1 and isinstance(length, Const) else None
        return Finishing(tile.c, loads, tile.vectors, tile.lanes, target, steps)

    @property
    def each(self) -> int:
        """Vectors of a block."""
        return self.finish.width // self.lanes

    @property
    def places(self) -> list[Load | Store]:
        """Whatever has an address."""
        coming = self.finish.coming
        return [*self.loads, *self.finish.stores, *(() if coming is None else (coming.place,))]

    @property
    def names(self) -> list[str]:
        """The pointers: for each place those of its blocks."""
        blocks = range(self.vectors // self.each)
        return [f"%e{n}_{block}" for n in range(len(self.places)) for block in blocks]

    @property
    def row_bytes(self) -> list[int]:
        """For each pointer the distance of rows."""
        coming = self.finish.coming
        steps = [
            (coming.step if coming is not None and x is coming.place else _step(x, self.finish.row) or 0)
            * x.buffer.dtype.bytes
            for x in self.places
        ]
        return [step for step in steps for _ in range(self.vectors // self.each)]

    @property
    def digest(self) -> str:
        """The same for functions that are the same."""
        numbers: dict[int, int] = {}
        words = [str(self.row_bytes), str(self.each), str((self.steps, self.fetched)) if self.fetched else ""]
        values = [store.value for store in self.finish.stores]
        for e in _parts(values, self.finish.acc):
            at = [numbers[id(x)] for x in expr_children(e) if id(x) in numbers and not isinstance(e, Load)]
            what = f"{e.op}" if isinstance(e, (Unary, Binary, Compare)) else ""
            what += f"{e.value!r}" if isinstance(e, Const) else ""
            lane = _step(e, self.finish.lane) if isinstance(e, Load) else ""
            test = e.inside if isinstance(e, Load) else e
            what += str(self._room(test)) if isinstance(test, Compare) and test.a.dtype == i64 else ""
            numbers[id(e)] = len(numbers)
            words.append(f"{type(e).__name__}{e.dtype}{what}{lane}{at}")
        words.append(str([numbers.get(id(value), -1) for value in values]))
        return "f" + hashlib.blake2b("; ".join(words).encode(), digest_size=8).hexdigest()

    def _room(self, test: Compare) -> list[int]:
        """For each vector of the panel the lanes from its first on for which a test holds, more than it has where for all."""
        assert isinstance(test.b, Const)
        places = (divmod(vector, self.each) for vector in range(self.vectors))
        limit = int(test.b.value)
        return [limit - _at(test.a, self.finish.lane, block) - n * self.lanes for block, n in places]

    def _mask(self, test: Expr, vector: int) -> V:
        assert isinstance(test, Compare)
        room = self._room(test)[vector]
        if room >= self.lanes or room <= 0:
            return V("true" if room > 0 else "false", "i1")
        bits = ", ".join(f"i1 {'true' if lane < room else 'false'}" for lane in range(self.lanes))
        return V(f"<{bits}>", "i1", self.lanes)

    def pointers(self, e: LoopEmitter) -> list[V]:
        """The values of `names` at the call."""
        f, found = self.finish, dict[tuple[int, int], V]()
        for block in range(self.vectors // self.each):

            def addresses(block: int = block) -> list[V]:
                for var, number in ((f.row, 0), (f.lane, 0), (f.block, block)):
                    e.bind(var, e.b.number(number, "i64"))
                return [e.address(x.buffer, x.index)[0] for x in self.places]

            for n, v in enumerate(e.inline(addresses)):
                found[n, block] = v
        return [found[key] for key in sorted(found)]

    @property
    def fetched(self) -> list[tuple[int, str, int]]:
        """What is read row by row, and therefore fetched: for each line of a row its number, its pointer and its offset."""
        blocks, size = self.vectors // self.each, self.finish.acc.dtype.bytes
        found: list[tuple[str, int]] = []
        if self.finish.coming is not None:
            found += [(self.names[-1], line * size) for line in self.finish.coming.lines]
        for n, load in enumerate(self.loads):
            wide = self.finish.width * size if _step(load, self.finish.lane) else 1
            if self.row_bytes[n * blocks]:
                places = self.names[n * blocks : (n + 1) * blocks]
                found += [(name, line) for name in places for line in range(0, wide, LINE)]
        return [(n, *place) for n, place in enumerate(found)]

    def fetches(self, rows: int) -> Iterator[str]:
        """The lines in front of the loops of a tile: all rows that will be read are brought in meanwhile."""
        steps = dict(zip(self.names, self.row_bytes, strict=True))
        for n, name, line in self.fetched:
            for i in range(rows):
                at = f"%f{n}_{i}"
                yield f"  {at} = getelementptr i8, ptr {name}, i64 {i * steps[name] + line}"
                yield f"  call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)"

    def spreads(self, rows: int) -> bool:
        """Whether the loop of a tile is long enough to bring in a row now and then; all at once keep the loop's own operands
        waiting."""
        return bool(self.fetched) and self.steps is not None and self.steps >= 2 * rows + BEFORE

    def fetch(self, rows: int, step: str) -> Iterator[str]:
        """The lines in the body of the loop, which fetch the next row where it is its turn; the block `fetched` is left open."""
        assert self.steps is not None
        shift = min(PACE, (self.steps - BEFORE) // rows).bit_length() - 1
        first = self.steps - BEFORE - (rows << shift)
        yield f"  %since = sub i64 {step}, {first}"
        # rotated, so that what is no multiple is larger than any row
        yield f"  %turn = call i64 @llvm.fshr.i64(i64 %since, i64 %since, i64 {shift})"
        yield f"  %due = icmp ult i64 %turn, {rows}"
        yield "  br i1 %due, label %fetch, label %fetched"
        yield "fetch:"
        steps = dict(zip(self.names, self.row_bytes, strict=True))
        for n, name, line in self.fetched:
            yield f"  %fr{n} = mul i64 %turn, {steps[name]}"
            yield f"  %fp{n} = getelementptr i8, ptr {name}, i64 %fr{n}"
            yield f"  %f{n} = getelementptr i8, ptr %fp{n}, i64 {line}"
            yield f"  call void @llvm.prefetch.p0(ptr %f{n}, i32 0, i32 3, i32 1)"
        yield "  br label %fetched"
        yield "fetched:"

    def text(self, module: Module, sums: Mapping[tuple[int, int], str]) -> Iterator[str]:
        """The lines behind the loops of a tile: sums by row and vector."""
        from .emit import ExprEmitter

        f = self.finish
        ty, size = llvm_type(f.acc.dtype), f.acc.dtype.bytes
        b = Builder(module)
        e = ExprEmitter(module, self.target, b, {}, {})
        e.lanes = self.lanes
        blocks = self.vectors // self.each
        values = [store.value for store in f.stores]
        tests = [x for x in _parts(values, f.acc) if isinstance(x, Compare) and x.a.dtype == i64]
        for (i, j), text in sums.items():
            block, vector = divmod(j, self.each)

            def place(n: int, i: int = i, block: int = block, vector: int = vector) -> V:
                x, at = self.places[n], n * blocks + block
                wide = vector * self.lanes if isinstance(x, Store) or _step(x, f.lane) else 0
                offset = i * self.row_bytes[at] + wide * size
                pointer = V(self.names[at], "ptr")
                return (
                    b.pure(f"getelementptr i8, ptr {{0}}, i64 {offset}", (pointer,), "ptr")
                    if offset
                    else pointer
                )

            b.here.bound.clear()
            b.here.bound[id(f.acc)] = V(text, ty, self.lanes)
            for test in tests:
                b.here.bound[id(test)] = self._mask(test, j)
            for n, load in enumerate(self.loads):
                stride = _step(load, f.lane)
                inside = None if load.inside is None else self._mask(load.inside, j)
                inside = None if inside is not None and inside.text == "true" else inside
                if self.row_bytes[n * blocks]:
                    b.here.bound[id(load)] = e.load_from(load.buffer, place(n), stride, inside)
                else:  # the same for all rows
                    key = ("load", n, block, vector)
                    if key not in b.here.known:
                        b.here.known[key] = e.load_from(load.buffer, place(n), stride, inside)
                    b.here.bound[id(load)] = b.here.known[key]
            for n, value in enumerate([e.wide(store.value) for store in f.stores], start=len(self.loads)):
                b.effect(f"store {value.type} {value.text}, ptr {place(n).text}, align {size}")
        yield from b.here.lines
