"""The register tile: C[i, j] (+)= sum over p of A[i, p] * B[p, j], rows x (vectors * lanes) accumulators held in registers.

One function a tile's shape, depth of its nest of steps and element type, shared by all contractions of an object, and small
ones that run over any number of rows in tiles of several heights. The distances of rows are part of the function where they
are known, so that one register addresses all of them. Other strides are arguments; rows are addressed from every
third row's pointer (p, p + s, p + 2s) then, so that few registers hold addresses. Tiles of few rows split the innermost step over
several accumulators, which are added by a tree at the end: latency, not order, is what would limit them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .kernel_ir import Const, Tile

if TYPE_CHECKING:
    from .emit import ExprEmitter

__all__ = ["emit_call", "rows_function", "tile_function"]

TALL = 8
"""Rows from which on a tile computes long enough to bring in the operand of later ones meanwhile."""
AHEAD = 8192
"""How far ahead, in bytes."""
LINE = 64
"""Bytes of a line of the caches."""

Key = tuple[int, int, int]
"""An accumulator: which of those that split the sum, row, vector."""


def emit_call(emitter: ExprEmitter, s: Tile) -> None:
    """The call for one tile statement."""
    b = emitter.b
    dtype = s.c.buffer.dtype
    assert s.a.buffer.dtype == dtype and s.b.buffer.dtype == dtype
    rows = _rows(s, dtype.bytes, id(s.b.buffer) not in emitter.scratch and _dense(s))
    name = rows_function(emitter.module, dtype, s.heights, s.vectors, s.lanes, len(s.steps), rows)
    a, bb, c = (emitter.address(x.buffer, x.index)[0] for x in (s.a, s.b, s.c))
    size = b.number(dtype.bytes, "i64")
    strides = (s.a_row, s.a_row if s.a_run is None else s.a_run, s.b_vector, s.c_row)
    a_row, a_run, b_vector, c_row = (b.mul(emitter.eval(x), size) for x in strides)
    nest = [
        v
        for p in s.steps
        for v in (emitter.eval(p.extent), b.mul(emitter.eval(p.a), size), b.mul(emitter.eval(p.b), size))
    ]
    add, m = emitter.eval(s.accumulate), emitter.eval(s.m)
    args = [a, a_row, *([a_run] if rows.run else []), bb, b_vector, c, c_row, add, *nest, m]
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the operands lie.

    Args:
        run:     rows of A in a run, 0 for all in one
        fixed:   the distance of rows and of runs in bytes, where they are known
        streams: whether B is one stretch of memory that comes from beyond the first caches
    """

    run: int = 0
    fixed: tuple[int, int] | None = None
    streams: bool = False

    @property
    def suffix(self) -> str:
        fixed = "" if self.fixed is None else f"s{self.fixed[0]}" + (f"_{self.fixed[1]}" if self.run else "")
        return (f"r{self.run}" if self.run else "") + fixed + ("f" if self.streams else "")

    def offset(self, row: int) -> int:
        """Bytes from the first row, where distances are known."""
        assert self.fixed is not None
        run = self.run or row + 1
        return row // run * self.fixed[1] + row % run * self.fixed[0]


def _rows(s: Tile, size: int, streams: bool) -> Rows:
    row, run = s.a_row, s.a_run
    if not isinstance(row, Const) or not (run is None or isinstance(run, Const)):
        return Rows(s.run, None, streams)
    return Rows(s.run, (int(row.value) * size, 0 if run is None else int(run.value) * size), streams)


def _dense(s: Tile) -> bool:
    """Whether B's panel is read without gaps."""
    step, vector = s.steps[-1].b, s.b_vector
    dense = isinstance(step, Const) and int(step.value) == s.vectors * s.lanes
    return dense and isinstance(vector, Const) and int(vector.value) == s.lanes


def _operands(rows: Rows, names: tuple[str, str] = ("%a0", "%c0")) -> str:
    """The parameters of the operands: addresses, strides in bytes."""
    runs = ", i64 %as" if rows.run else ""
    return f"ptr {names[0]}, i64 %ar{runs}, ptr %b0, i64 %bv, ptr {names[1]}, i64 %cr, i1 %add"


def _nest(depth: int) -> str:
    """The parameters of the steps: length, stride in A and in B, in bytes."""
    return "".join(f", i64 %n{n}, i64 %sa{n}, i64 %sb{n}" for n in range(depth))


def rows_function(
    module: Module,
    dtype: DType,
    heights: tuple[int, ...],
    vectors: int,
    lanes: int,
    depth: int = 1,
    rows: Rows = Rows(),
) -> str:
    """The function that runs over m rows in tiles of the given heights."""
    name = f"@nv_rows_{dtype}_{'_'.join(map(str, heights))}x{vectors}x{lanes}_{depth}{rows.suffix}"
    if name in module.functions:
        return name
    mixture = len(heights) == 2 and heights[1] == heights[0] - 1 and heights[0] > 2
    lines = [
        f"define internal void {name}({_operands(rows)}{_nest(depth)}, i64 %m) nounwind {{",
        "entry:",
        "  br label %t0",
    ]
    before, done = "entry", "0"
    for n, height in enumerate(heights):
        tile = tile_function(module, dtype, height, vectors, lanes, depth, rows)
        after = f"t{n + 1}" if n + 1 < len(heights) else "end"
        lines += [
            f"t{n}:",
            f"  %i{n} = phi i64 [ {done}, %{before} ], [ %next{n}, %w{n} ]",
            f"  %left{n} = sub i64 %m, %i{n}",
        ]
        if mixture and n == 0:  # as long as the rest is no multiple of the lower height
            lines += [f"  %rest = urem i64 %left0, {heights[1]}", "  %fits0 = icmp ne i64 %rest, 0"]
        else:
            lines.append(f"  %fits{n} = icmp sge i64 %left{n}, {height}")
        lines += [
            f"  br i1 %fits{n}, label %w{n}, label %{after}", f"w{n}:",
            f"  %ao{n} = mul i64 %i{n}, %ar", f"  %a{n}w = getelementptr i8, ptr %a0, i64 %ao{n}",
            f"  %co{n} = mul i64 %i{n}, %cr", f"  %c{n}w = getelementptr i8, ptr %c0, i64 %co{n}",
            f"  call void {tile}({_operands(rows, (f'%a{n}w', f'%c{n}w'))}{_nest(depth)})",
            f"  %next{n} = add i64 %i{n}, {height}", f"  br label %t{n}",
        ]  # fmt: skip
        before, done = f"t{n}", f"%i{n}"
    module.functions[name] = "\n".join([*lines, "end:", "  ret void", "}", ""])
    return name


def tile_function(
    module: Module, dtype: DType, height: int, vectors: int, lanes: int, depth: int, rows: Rows = Rows()
) -> str:
    """The name of the function for one tile of that shape, added to the module where it is not there yet."""
    name = f"@nv_tile_{dtype}_{height}x{vectors}x{lanes}_{depth}{rows.suffix}"
    if name not in module.functions:
        tile = _Tile(height, vectors, lanes, llvm_type(dtype), dtype.bytes, module.fma, depth, rows)
        head = f"define internal void {name}({_operands(rows)}{_nest(depth)}) nounwind {{"
        module.functions[name] = "\n".join([head, "entry:", *tile.text(), "}", ""])
        if rows.streams and height >= TALL:
            module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        if module.fma:
            module.declare(f"{tile.vt} @llvm.fma.{tile.mangled}({tile.vt}, {tile.vt}, {tile.vt})")
    return name


class _Tile:
    """The lines of one tile's function."""

    def __init__(
        self, rows: int, vectors: int, lanes: int, ty: str, size: int, fma: bool, depth: int, place: Rows
    ) -> None:
        self.rows, self.vectors, self.lanes, self.ty, self.size = rows, vectors, lanes, ty, size
        self.depth = depth
        self.place, self.run = place, place.run or rows
        self.vt = f"<{lanes} x {ty}>" if lanes > 1 else ty
        self.mangled = f"v{lanes}f{8 * size}" if lanes > 1 else f"f{8 * size}"
        self.uses_fma = fma
        accumulators = rows * vectors
        self.unroll = 4 if accumulators <= 2 else 2 if accumulators <= 4 else 1
        self.keys: list[Key] = [
            (u, i, j) for u in range(self.unroll) for i in range(rows) for j in range(vectors)
        ]
        self.firsts = [0] if place.fixed else [row for row in range(rows) if row % self.run % 3 == 0]
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"%x{self.count}"

    def text(self) -> Iterator[str]:
        if self.rows > 3 and self.place.fixed is None:
            yield "  %ar3 = mul i64 %ar, 3"
        for j in range(2, self.vectors):
            yield f"  %bv{j} = mul i64 %bv, {j}"
        zeros = dict.fromkeys(self.keys, "zeroinitializer" if self.lanes > 1 else "0.0")
        sums = yield from self._level(0, "entry", zeros, "%a0", "%b0")
        yield from self._store(sums)

    def _level(
        self, level: int, before: str, start: dict[Key, str], a: str, b: str
    ) -> Generator[str, None, dict[Key, str]]:
        """The loop of a step, entered from the open block `before`; leaves an open block q<level>."""
        if level == self.depth - 1:
            return (yield from self._innermost(level, before, start, a, b))
        sums = {key: f"%s{level}_{'_'.join(map(str, key))}" for key in start}
        inner = self._exit(level + 1)
        yield f"  br label %h{level}"
        yield f"h{level}:"
        yield f"  %p{level} = phi i64 [ 0, %{before} ], [ %pn{level}, %q{level + 1} ]"
        yield f"  %a{level}_ = phi ptr [ {a}, %{before} ], [ %an{level}, %q{level + 1} ]"
        yield f"  %b{level}_ = phi ptr [ {b}, %{before} ], [ %bn{level}, %q{level + 1} ]"
        for key, name in sums.items():
            yield f"  {name} = phi {self.vt} [ {start[key]}, %{before} ], [ {inner[key]}, %q{level + 1} ]"
        yield f"  %more{level} = icmp slt i64 %p{level}, %n{level}"
        yield f"  br i1 %more{level}, label %l{level}, label %q{level}"
        yield f"l{level}:"
        yield from self._level(level + 1, f"l{level}", sums, f"%a{level}_", f"%b{level}_")
        yield f"  %an{level} = getelementptr i8, ptr %a{level}_, i64 %sa{level}"
        yield f"  %bn{level} = getelementptr i8, ptr %b{level}_, i64 %sb{level}"
        yield f"  %pn{level} = add i64 %p{level}, 1"
        yield f"  br label %h{level}"
        yield f"q{level}:"
        return sums

    def _exit(self, level: int) -> dict[Key, str]:
        """The names of the sums where a level has been left."""
        if level < self.depth - 1:
            return {key: f"%s{level}_{'_'.join(map(str, key))}" for key in self.keys}
        last = {key: f"%acc_{'_'.join(map(str, key))}" for key in self.keys if key[0] == 0}
        return {key: last.get(key, f"%accu_{'_'.join(map(str, key))}") for key in self.keys}

    def _innermost(
        self, level: int, before: str, start: dict[Key, str], a: str, b: str
    ) -> Generator[str, None, dict[Key, str]]:
        bases: list[str] = []
        start_of_run = a
        for row in self.firsts:
            bases.append(a if row == 0 else self.fresh())
            if row and row % self.run:
                yield f"  {bases[-1]} = getelementptr i8, ptr {bases[-2]}, i64 %ar3"
            elif row:
                yield f"  {bases[-1]} = getelementptr i8, ptr {start_of_run}, i64 %as"
                start_of_run = bases[-1]
        stop, first = f"%n{level}", "0"
        if self.unroll > 1:
            yield f"  %whole = and i64 %n{level}, {-self.unroll}"
            yield "  br label %hu"
            yield from self._loop("u", before, "%whole", self.unroll, start, "0", b, bases, level)
            yield "qu:"
            before, first, b = "qu", "%pu", "%bpu"
            bases = [f"%apu_{g}" for g in range(len(self.firsts))]
            start = {key: f"%accu_{'_'.join(map(str, key))}" for key in start}
        yield "  br label %h"
        yield from self._loop("", before, stop, 1, start, first, b, bases, level)
        yield "q:"
        yield f"  br label %q{level}"
        yield f"q{level}:"
        return self._exit(level)

    def _loop(
        self,
        tag: str,
        before: str,
        stop: str,
        step: int,
        start: dict[Key, str],
        first: str,
        b: str,
        bases: list[str],
        level: int,
    ) -> Iterator[str]:
        """The loop over the innermost step in `h`, with body `l`, leaving to `q`."""
        vt = self.vt
        head, body = f"h{tag}", f"l{tag}"
        lines: list[str] = []
        sums = {key: f"%acc{tag}_{'_'.join(map(str, key))}" for key in start if key[0] < step}
        current = dict(sums)
        ap, bp = [f"%ap{tag}_{g}" for g in range(len(bases))], f"%bp{tag}"
        for u in range(step):
            columns: list[str] = []
            for j in range(self.vectors):
                address, value = bp, self.fresh()
                if j:
                    address = self.fresh()
                    offset = "%bv" if j == 1 else f"%bv{j}"
                    lines.append(f"  {address} = getelementptr i8, ptr {bp}, i64 {offset}")
                lines.append(f"  {value} = load {vt}, ptr {address}, align {self.size}")
                columns.append(value)
            lines += self._fetch(bp)
            double = self.fresh()
            if self.rows > 2 and self.place.fixed is None:
                lines.append(f"  {double} = shl i64 %ar, 1")
            for i in range(self.rows):
                within = i % self.run % 3 if self.place.fixed is None else i
                address = base = ap[self.firsts.index(i - within)]
                if within:
                    address = self.fresh()
                    offset = "%ar" if within == 1 else double
                    if self.place.fixed is not None:
                        offset = str(self.place.offset(i))
                    lines.append(f"  {address} = getelementptr i8, ptr {base}, i64 {offset}")
                x = self.fresh()
                lines.append(f"  {x} = load {self.ty}, ptr {address}, align {self.size}")
                if self.lanes > 1:
                    one, x, scalar = self.fresh(), self.fresh(), x
                    lines.append(f"  {one} = insertelement {vt} poison, {self.ty} {scalar}, i64 0")
                    lines.append(
                        f"  {x} = shufflevector {vt} {one}, {vt} poison, <{self.lanes} x i32> zeroinitializer"
                    )
                for j in range(self.vectors):
                    current[u, i, j] = self.fresh()
                    lines += self._multiply(current[u, i, j], x, columns[j], sums[u, i, j])
            following = [self.fresh() for _ in ap]
            lines += [
                f"  {new} = getelementptr i8, ptr {old}, i64 %sa{level}"
                for new, old in zip(following, ap, strict=True)
            ]
            ap = following
            next_b = self.fresh()
            lines.append(f"  {next_b} = getelementptr i8, ptr {bp}, i64 %sb{level}")
            bp = next_b
        yield f"{head}:"
        yield f"  %p{tag} = phi i64 [ {first}, %{before} ], [ %pn{tag}, %{body} ]"
        yield f"  %bp{tag} = phi ptr [ {b}, %{before} ], [ {bp}, %{body} ]"
        for g, base in enumerate(bases):
            yield f"  %ap{tag}_{g} = phi ptr [ {base}, %{before} ], [ {ap[g]}, %{body} ]"
        for key, name in sums.items():
            yield f"  {name} = phi {vt} [ {start[key]}, %{before} ], [ {current[key]}, %{body} ]"
        yield f"  %more{tag} = icmp slt i64 %p{tag}, {stop}"
        yield f"  br i1 %more{tag}, label %{body}, label %q{tag}"
        yield f"{body}:"
        yield from lines
        yield f"  %pn{tag} = add i64 %p{tag}, {step}"
        yield f"  br label %{head}"

    def _fetch(self, b: str) -> Iterator[str]:
        """Bring in what comes some time later, where it comes from afar: the machine itself looks no further than a page."""
        if self.place.streams and self.rows >= TALL:
            for line in range(0, self.vectors * self.lanes * self.size, LINE):
                address = self.fresh()
                yield f"  {address} = getelementptr i8, ptr {b}, i64 {AHEAD + line}"
                yield f"  call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)"

    def _multiply(self, name: str, a: str, b: str, c: str) -> list[str]:
        """name = c + a * b."""
        if self.uses_fma:
            return [
                f"  {name} = call {self.vt} @llvm.fma.{self.mangled}({self.vt} {a}, {self.vt} {b}, {self.vt} {c})"
            ]
        product = self.fresh()
        return [f"  {product} = fmul {self.vt} {a}, {b}", f"  {name} = fadd {self.vt} {c}, {product}"]

    def _store(self, sums: dict[Key, str]) -> Iterator[str]:
        """Join what was split, then write the sums or add them to what is there."""
        vt = self.vt
        total: dict[tuple[int, int], str] = {}
        for i in range(self.rows):
            for j in range(self.vectors):
                parts = [sums[u, i, j] for u in range(self.unroll)]
                while len(parts) > 1:
                    pairs: list[str] = []
                    for x, y in zip(parts[0::2], parts[1::2], strict=True):
                        pairs.append(self.fresh())
                        yield f"  {pairs[-1]} = fadd {vt} {x}, {y}"
                    parts = pairs
                total[i, j] = parts[0]
        row = "%c0"
        addresses: dict[tuple[int, int], str] = {}
        for i in range(self.rows):
            if i:
                before, row = row, self.fresh()
                yield f"  {row} = getelementptr i8, ptr {before}, i64 %cr"
            for j in range(self.vectors):
                addresses[i, j] = row
                if j:
                    addresses[i, j] = self.fresh()
                    yield f"  {addresses[i, j]} = getelementptr i8, ptr {row}, i64 {j * self.lanes * self.size}"
        yield "  br i1 %add, label %adds, label %writes"
        yield "writes:"
        for key, value in total.items():
            yield f"  store {vt} {value}, ptr {addresses[key]}, align {self.size}"
        yield "  ret void"
        yield "adds:"
        for key, value in total.items():
            old, new = self.fresh(), self.fresh()
            yield f"  {old} = load {vt}, ptr {addresses[key]}, align {self.size}"
            yield f"  {new} = fadd {vt} {old}, {value}"
            yield f"  store {vt} {new}, ptr {addresses[key]}, align {self.size}"
        yield "  ret void"
