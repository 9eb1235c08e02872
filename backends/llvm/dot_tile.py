"""The dot tile: C[i, j] (+)= sum over p of A[i, p] * B[j, p], where rows of both operands lie along p.

A register holds neighbouring p; an accumulator belongs to one row of A and one of B, so that columns fill no lanes and none are
wasted. What is left over at the end of p goes through a mask. The accumulators are then folded: the halves of two
registers are added into one, until a register holds one sum a column. The order of a sum depends on the length,
the lanes and the parts alone, not on where its tile stands.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .kernel_ir import Dot

if TYPE_CHECKING:
    from .emit import ExprEmitter

__all__ = ["dot_function", "emit_dot"]

_PARAMETERS = "ptr %a, ptr %b, ptr %c, i64 %cr, i64 %k, i1 %add"
Key = tuple[int, int, int]
"""An accumulator: row, column, part."""


def emit_dot(emitter: ExprEmitter, s: Dot) -> None:
    """The call for one dot statement."""
    b = emitter.b
    dtype = s.c.buffer.dtype
    assert s.a.buffer.dtype == dtype and s.b.buffer.dtype == dtype
    shape = Shape(dtype, s.parts, s.lanes, s.a_row, s.b_row, emitter.module.fma)
    name = dot_function(emitter.module, shape, s.heights, s.widths)
    a, bb, c = (emitter.address(x.buffer, x.index)[0] for x in (s.a, s.b, s.c))
    c_row = b.mul(emitter.eval(s.c_row), b.number(dtype.bytes, "i64"))
    args = [a, bb, c, c_row, *map(emitter.eval, (s.length, s.accumulate, s.n, s.m))]
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


@dataclass(frozen=True, slots=True)
class Shape:
    """What all tiles of a dot statement share.

    Args:
        parts:        accumulators that split one sum
        a_row, b_row: distances of rows in elements
    """

    dtype: DType
    parts: int
    lanes: int
    a_row: int
    b_row: int
    fma: bool

    def __str__(self) -> str:
        return f"{self.dtype}_{self.parts}x{self.lanes}_s{self.a_row}_{self.b_row}"


def dot_function(module: Module, shape: Shape, heights: Sequence[int], widths: Sequence[int]) -> str:
    """The function over n rows of B and m rows of A: in order, as many of each height and width as fit."""
    wide = _words(widths)
    name = f"@nv_dots_{shape}_{_words(heights)}x{wide}"
    if name in module.functions:
        return name
    size = shape.dtype.bytes
    rows = [(height, f"@nv_dots_{shape}_{height}_by_{wide}", ", i64 %n") for height in heights]
    for height, row, _ in rows:
        tiles = [(width, _tile(module, shape, height, width), "") for width in widths]
        module.functions.setdefault(row, _cover(row, tiles, "n", "b", f"{shape.b_row * size}", f"{size}"))
    module.functions[name] = _cover(name, rows, "m", "a", f"{shape.a_row * size}", "%cr", ", i64 %n")
    return name


def _words(sizes: Sequence[int]) -> str:
    return "_".join(map(str, sizes))


def _cover(
    name: str,
    calls: Sequence[tuple[int, str, str]],
    count: str,
    operand: str,
    step: str,
    c_step: str,
    more: str = "",
) -> str:
    """A function over `count` rows of an operand in pieces, each a call (size, function, further arguments)."""
    lines = [
        f"define internal void {name}({_PARAMETERS}{more}, i64 %{count}) nounwind {{",
        "entry:",
        "  br label %h0",
    ]
    before, done = "entry", "0"
    for z, (size, function, arguments) in enumerate(calls):
        after = f"h{z + 1}" if z + 1 < len(calls) else "end"
        moved = {"a": "%a", "b": "%b", operand: f"%x{z}"}
        lines += [
            f"h{z}:", f"  %i{z} = phi i64 [ {done}, %{before} ], [ %next{z}, %l{z} ]",
            f"  %left{z} = sub i64 %{count}, %i{z}", f"  %fits{z} = icmp sge i64 %left{z}, {size}",
            f"  br i1 %fits{z}, label %l{z}, label %{after}",
            f"l{z}:", f"  %o{z} = mul i64 %i{z}, {step}", f"  %x{z} = getelementptr i8, ptr %{operand}, i64 %o{z}",
            f"  %p{z} = mul i64 %i{z}, {c_step}", f"  %y{z} = getelementptr i8, ptr %c, i64 %p{z}",
            f"  call void {function}(ptr {moved['a']}, ptr {moved['b']}, ptr %y{z}, i64 %cr, i64 %k, i1 %add{arguments})",
            f"  %next{z} = add i64 %i{z}, {size}", f"  br label %h{z}",
        ]  # fmt: skip
        before, done = f"h{z}", f"%i{z}"
    return "\n".join([*lines, "end:", "  ret void", "}", ""])


def _tile(module: Module, shape: Shape, rows: int, columns: int) -> str:
    """The function of one tile."""
    name = f"@nv_dot_{shape}_{rows}x{columns}"
    if name not in module.functions:
        tile = _Tile(shape, rows, columns)
        head = f"define internal void {name}({_PARAMETERS}) nounwind {{"
        module.functions[name] = "\n".join([head, "entry:", *tile.text(), "  ret void", "}", ""])
        module.declare(f"{tile.vt} @llvm.masked.load.{tile.mangled}.p0(ptr, {tile.mask}, {tile.vt})")
        if shape.fma:
            module.declare(f"{tile.vt} @llvm.fma.{tile.mangled}({tile.vt}, {tile.vt}, {tile.vt})")
    return name


@dataclass(slots=True)
class _Tile:
    """The lines of one tile's function."""

    shape: Shape
    rows: int
    columns: int
    count: int = 0

    @property
    def ty(self) -> str:
        return llvm_type(self.shape.dtype)

    @property
    def vt(self) -> str:
        return f"<{self.shape.lanes} x {self.ty}>"

    @property
    def mask(self) -> str:
        return f"<{self.shape.lanes} x i1>"

    @property
    def mangled(self) -> str:
        return f"v{self.shape.lanes}f{8 * self.shape.dtype.bytes}"

    def fresh(self) -> str:
        self.count += 1
        return f"%x{self.count}"

    def text(self) -> Iterator[str]:
        lanes, parts = self.shape.lanes, self.shape.parts
        keys = [(i, j, u) for i in range(self.rows) for j in range(self.columns) for u in range(parts)]
        firsts = [key for key in keys if key[2] == 0]
        yield f"  %even = and i64 %k, {-lanes * parts}"
        yield f"  %whole = and i64 %k, {-lanes}"
        yield "  br label %hu"
        sums = dict.fromkeys(keys, "zeroinitializer")
        yield from self._loop("u", "entry", "0", "%even", parts, sums)
        sums = {key: f"%u{_name(key)}" for key in keys}
        last = "u"
        if parts > 1:
            yield "eu:"
            yield "  br label %hv"
            yield from self._loop("v", "eu", "%iu", "%whole", 1, {key: sums[key] for key in firsts})
            sums |= {key: f"%v{_name(key)}" for key in firsts}
            last = "v"
        yield f"e{last}:"
        yield "  %left = sub i64 %k, %whole"
        yield "  %some = icmp ne i64 %left, 0"
        yield "  br i1 %some, label %rest, label %fold"
        yield "rest:"
        lane = "i64" if self.shape.dtype.bytes == 8 else "i32"
        left = "%left"
        if lane == "i32":
            left = "%left32"
            yield "  %left32 = trunc i64 %left to i32"
        yield f"  %left1 = insertelement <{lanes} x {lane}> poison, {lane} {left}, i64 0"
        yield (
            f"  %lefts = shufflevector <{lanes} x {lane}> %left1, <{lanes} x {lane}> poison, "
            f"<{lanes} x i32> zeroinitializer"
        )
        steps = ", ".join(f"{lane} {n}" for n in range(lanes))
        yield f"  %on = icmp ult <{lanes} x {lane}> <{steps}>, %lefts"
        masked = {key: sums[key] for key in firsts}
        yield from self._multiply("%whole", 1, masked, masked=True)
        yield "  br label %fold"
        yield "fold:"
        for key in firsts:
            yield f"  %f{_name(key)} = phi {self.vt} [ {sums[key]}, %e{last} ], [ {masked[key]}, %rest ]"
            sums[key] = f"%f{_name(key)}"
        results: list[str] = []
        for i in range(self.rows):
            row: list[str] = []
            for j in range(self.columns):
                row.append((yield from self._joined([sums[i, j, u] for u in range(parts)])))
            results.append((yield from self._folded(row)))
        yield from self._store(results)

    def _loop(
        self, tag: str, before: str, first: str, stop: str, parts: int, start: dict[Key, str]
    ) -> Iterator[str]:
        """The loop over whole registers, `parts` at a time, in `h`, with body `l`, leaving to `e`."""
        sums = {key: f"%{tag}{_name(key)}" for key in start}
        current = dict(sums)
        lines = list(self._multiply(f"%i{tag}", parts, current))
        yield f"h{tag}:"
        yield f"  %i{tag} = phi i64 [ {first}, %{before} ], [ %n{tag}, %l{tag} ]"
        for key, name in sums.items():
            yield f"  {name} = phi {self.vt} [ {start[key]}, %{before} ], [ {current[key]}, %l{tag} ]"
        yield f"  %more{tag} = icmp slt i64 %i{tag}, {stop}"
        yield f"  br i1 %more{tag}, label %l{tag}, label %e{tag}"
        yield f"l{tag}:"
        yield from lines
        yield f"  %n{tag} = add i64 %i{tag}, {self.shape.lanes * parts}"
        yield f"  br label %h{tag}"

    def _multiply(self, at: str, parts: int, sums: dict[Key, str], *, masked: bool = False) -> Iterator[str]:
        """Add the products of the registers from p = `at` on to the sums."""
        size, vt = self.shape.dtype.bytes, self.vt
        a, b = self.fresh(), self.fresh()
        yield f"  {a} = getelementptr {self.ty}, ptr %a, i64 {at}"
        yield f"  {b} = getelementptr {self.ty}, ptr %b, i64 {at}"

        def load(base: str, offset: int) -> Iterator[str]:
            address, value = self.fresh(), self.fresh()
            loaded.append(value)
            yield f"  {address} = getelementptr i8, ptr {base}, i64 {offset * size}"
            if masked:
                yield (
                    f"  {value} = call {vt} @llvm.masked.load.{self.mangled}.p0(ptr align {size} {address}, "
                    f"{self.mask} %on, {vt} zeroinitializer)"
                )
            else:
                yield f"  {value} = load {vt}, ptr {address}, align {size}"

        for u in range(parts):
            loaded: list[str] = []
            for i in range(self.rows):
                yield from load(a, i * self.shape.a_row + u * self.shape.lanes)
            for j in range(self.columns):
                yield from load(b, j * self.shape.b_row + u * self.shape.lanes)
                for i in range(self.rows):
                    name = self.fresh()
                    yield from self._fma(name, loaded[i], loaded[-1], sums[i, j, u])
                    sums[i, j, u] = name

    def _fma(self, name: str, a: str, b: str, c: str) -> Iterator[str]:
        """name = c + a * b."""
        vt = self.vt
        if self.shape.fma:
            yield f"  {name} = call {vt} @llvm.fma.{self.mangled}({vt} {a}, {vt} {b}, {vt} {c})"
        else:
            product = self.fresh()
            yield f"  {product} = fmul {vt} {a}, {b}"
            yield f"  {name} = fadd {vt} {c}, {product}"

    def _joined(self, parts: list[str]) -> Generator[str, None, str]:
        """The sum of the parts, by a tree."""
        while len(parts) > 1:
            pairs = [(self.fresh(), x, y) for x, y in zip(parts[0::2], parts[1::2], strict=True)]
            for name, x, y in pairs:
                yield f"  {name} = fadd {self.vt} {x}, {y}"
            parts = [name for name, _, _ in pairs]
        return parts[0]

    def _folded(self, sums: list[str]) -> Generator[str, None, str]:
        """A vector of `columns` lanes: of each register the sum of its lanes.

        A step adds every second unit of lanes to its neighbour, units of half a register first, of one lane last, and
        makes one register of two. Small units stay within their 16 bytes, which machines shuffle quickly.
        """
        lanes, size = self.shape.lanes, self.shape.dtype.bytes
        owners: list[list[int | None]] = [[j] * lanes for j in range(len(sums))]
        unit = lanes // 2
        while unit:
            group = min(lanes, 16 // size) if 2 * unit * size <= 16 else lanes
            even = [lane for lane in range(lanes) if not lane // unit % 2]
            taken = [
                lane + source * lanes
                for start in range(0, lanes, group)
                for source in (0, 1)
                for lane in even
                if start <= lane < start + group
            ]
            following: list[str] = []
            owned: list[list[int | None]] = []
            for n in range(0, len(sums), 2):
                x, y = sums[n], sums[n + 1] if n + 1 < len(sums) else "poison"
                both = owners[n] + (owners[n + 1] if n + 1 < len(sums) else [None] * lanes)
                low, high, total = self.fresh(), self.fresh(), self.fresh()
                for name, shift in ((low, 0), (high, unit)):
                    picks = ", ".join(f"i32 {lane + shift}" for lane in taken)
                    yield f"  {name} = shufflevector {self.vt} {x}, {self.vt} {y}, <{lanes} x i32> <{picks}>"
                yield f"  {total} = fadd {self.vt} {low}, {high}"
                following.append(total)
                owned.append([both[lane] for lane in taken])
            sums, owners, unit = following, owned, unit // 2
        (total,), (owner,) = sums, owners
        picks = ", ".join(f"i32 {owner.index(j)}" for j in range(self.columns))
        result = self.fresh()
        yield f"  {result} = shufflevector {self.vt} {total}, {self.vt} poison, <{self.columns} x i32> <{picks}>"
        return result

    def _store(self, results: list[str]) -> Iterator[str]:
        """Write the sums or add them to what is there."""
        size, row = self.shape.dtype.bytes, "%c"
        vt = f"<{self.columns} x {self.ty}>"
        places: list[str] = []
        for i in range(self.rows):
            if i:
                before, row = row, self.fresh()
                yield f"  {row} = getelementptr i8, ptr {before}, i64 %cr"
            places.append(row)
        yield "  br i1 %add, label %adds, label %writes"
        yield "adds:"
        added: list[str] = []
        for place, result in zip(places, results, strict=True):
            old, new = self.fresh(), self.fresh()
            yield f"  {old} = load {vt}, ptr {place}, align {size}"
            yield f"  {new} = fadd {vt} {old}, {result}"
            added.append(new)
        yield "  br label %writes"
        yield "writes:"
        for i, (result, new) in enumerate(zip(results, added, strict=True)):
            yield f"  %w{i} = phi {vt} [ {result}, %fold ], [ {new}, %adds ]"
        for i, place in enumerate(places):
            yield f"  store {vt} %w{i}, ptr {place}, align {size}"


def _name(key: Key) -> str:
    return "_".join(map(str, key))
