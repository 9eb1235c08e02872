"""The register tile: C[i, j] (+)= sum over p of A[i, p] * B[p, j], rows x (vectors * lanes) accumulators held in registers.

One function a tile's shape and element type, shared by all contractions of an object, and small ones that run over any
number of rows in tiles of several heights. Strides are arguments; rows are addressed from every third row's pointer
(p, p + s, p + 2s), so that few registers hold addresses. Tiles of few rows split k over several accumulators, which
are added by a tree at the end: latency, not order, is what would limit them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .kernel_ir import Tile

if TYPE_CHECKING:
    from .emit import ExprEmitter

__all__ = ["emit_call", "rows_function", "tile_function"]


def emit_call(emitter: ExprEmitter, s: Tile) -> None:
    """The call for one tile statement."""
    b = emitter.b
    dtype = s.c.buffer.dtype
    assert s.a.buffer.dtype == dtype and s.b.buffer.dtype == dtype
    shape = (s.vectors, s.lanes)
    name = rows_function(emitter.module, dtype, s.heights, *shape)
    a, bb, c = (emitter.address(x.buffer, x.index)[0] for x in (s.a, s.b, s.c))
    size = b.number(dtype.bytes, "i64")
    strides = [b.mul(emitter.eval(x), size) for x in (s.a_row, s.a_k, s.b_k, s.c_row)]
    m, k, add = emitter.eval(s.m), emitter.eval(s.k), emitter.eval(s.accumulate)
    args = [a, strides[0], strides[1], bb, strides[2], c, strides[3], m, k, add]
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


_PARAMS = "ptr %a0, i64 %ar, i64 %ak, ptr %b0, i64 %bk, ptr %c0, i64 %cr"


def rows_function(module: Module, dtype: DType, heights: tuple[int, ...], vectors: int, lanes: int) -> str:
    """The function that runs over m rows in tiles of the given heights."""
    name = f"@nv_rows_{dtype}_{'_'.join(map(str, heights))}x{vectors}x{lanes}"
    if name in module.functions:
        return name
    mixture = len(heights) == 2 and heights[1] == heights[0] - 1 and heights[0] > 2
    lines = [
        f"define internal void {name}({_PARAMS}, i64 %m, i64 %k, i1 %add) nounwind {{",
        "entry:",
        "  br label %t0",
    ]
    before, done = "entry", "0"
    for n, height in enumerate(heights):
        tile = tile_function(module, dtype, height, vectors, lanes)
        after = f"t{n + 1}" if n + 1 < len(heights) else "end"
        lines += [
            f"t{n}:",
            f"  %i{n} = phi i64 [ {done}, %{before} ], [ %n{n}, %w{n} ]",
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
            f"  call void {tile}(ptr %a{n}w, i64 %ar, i64 %ak, ptr %b0, i64 %bk, ptr %c{n}w, i64 %cr, i64 %k, i1 %add)",
            f"  %n{n} = add i64 %i{n}, {height}", f"  br label %t{n}",
        ]  # fmt: skip
        before, done = f"t{n}", f"%i{n}"
    module.functions[name] = "\n".join([*lines, "end:", "  ret void", "}", ""])
    return name


def tile_function(module: Module, dtype: DType, rows: int, vectors: int, lanes: int) -> str:
    """The name of the function for one tile of that shape, added to the module where it is not there yet."""
    name = f"@nv_tile_{dtype}_{rows}x{vectors}x{lanes}"
    if name not in module.functions:
        tile = _Tile(rows, vectors, lanes, llvm_type(dtype), dtype.bytes, module.fma)
        head = f"define internal void {name}({_PARAMS}, i64 %k, i1 %add) nounwind {{"
        module.functions[name] = "\n".join([head, "entry:", *tile.text(), "}", ""])
        if module.fma:
            module.declare(f"{tile.vt} @llvm.fma.{tile.mangled}({tile.vt}, {tile.vt}, {tile.vt})")
    return name


class _Tile:
    """The lines of one tile's function."""

    def __init__(self, rows: int, vectors: int, lanes: int, ty: str, size: int, fma: bool) -> None:
        self.rows, self.vectors, self.lanes, self.ty, self.size = rows, vectors, lanes, ty, size
        self.vt = f"<{lanes} x {ty}>" if lanes > 1 else ty
        self.mangled = f"v{lanes}f{8 * size}" if lanes > 1 else f"f{8 * size}"
        self.uses_fma = fma
        accumulators = rows * vectors
        self.unroll = 4 if accumulators <= 2 else 2 if accumulators <= 4 else 1
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"%x{self.rows}_{self.count}"

    def multiply(self, a: str, b: str, c: str) -> Iterator[str]:
        """Lines whose last defines the returned name: c + a * b."""
        if self.uses_fma:
            self.last = self.fresh()
            yield f"  {self.last} = call {self.vt} @llvm.fma.{self.mangled}({self.vt} {a}, {self.vt} {b}, {self.vt} {c})"
        else:
            product, self.last = self.fresh(), self.fresh()
            yield f"  {product} = fmul {self.vt} {a}, {b}"
            yield f"  {self.last} = fadd {self.vt} {c}, {product}"

    def text(self) -> Iterator[str]:
        r, vt = self.rows, self.vt
        yield f"  %ab{r}_0 = getelementptr i8, ptr %a0, i64 0"
        if r > 3:
            yield f"  %ar3_{r} = mul i64 %ar, 3"
        for g in range(1, -(-r // 3)):
            yield f"  %ab{r}_{g} = getelementptr i8, ptr %ab{r}_{g - 1}, i64 %ar3_{r}"
        zeros = {
            (u, i, j): "zeroinitializer" if self.lanes > 1 else "0.0"
            for u in range(self.unroll)
            for i in range(r)
            for j in range(self.vectors)
        }
        entry = "entry"
        if self.unroll > 1:
            yield f"  %ku{r} = and i64 %k, {-self.unroll}"
            yield f"  br label %h{r}u"
            yield from self._loop(
                "u",
                entry,
                f"%ku{r}",
                self.unroll,
                zeros,
                "0",
                "%b0",
                [f"%ab{r}_{g}" for g in range(-(-r // 3))],
            )
            entry = f"h{r}u"
            sums = {key: f"%acc{r}u_{'_'.join(map(str, key))}" for key in zeros}
            yield f"q{r}u:"
            yield f"  br label %h{r}"
            yield from self._loop(
                "",
                f"q{r}u",
                "%k",
                1,
                sums,
                f"%p{r}u",
                f"%bp{r}u",
                [f"%ap{r}u_{g}" for g in range(-(-r // 3))],
            )
        else:
            yield f"  br label %h{r}"
            yield from self._loop(
                "", entry, "%k", 1, zeros, "0", "%b0", [f"%ab{r}_{g}" for g in range(-(-r // 3))]
            )
        yield f"q{r}:"
        total: dict[tuple[int, int], str] = {}
        for i in range(r):
            for j in range(self.vectors):
                parts = [f"%acc{r}_0_{i}_{j}", *(f"%acc{r}u_{u}_{i}_{j}" for u in range(1, self.unroll))]
                while len(parts) > 1:
                    pairs: list[str] = []
                    for x, y in zip(parts[0::2], parts[1::2], strict=True):
                        pairs.append(self.fresh())
                        yield f"  {pairs[-1]} = fadd {vt} {x}, {y}"
                    parts = pairs
                total[i, j] = parts[0]
        yield f"  %cp{r}_0 = getelementptr i8, ptr %c0, i64 0"
        for i in range(1, r):
            yield f"  %cp{r}_{i} = getelementptr i8, ptr %cp{r}_{i - 1}, i64 %cr"
        addresses: dict[tuple[int, int], str] = {}
        for i in range(r):
            for j in range(self.vectors):
                addresses[i, j] = f"%cp{r}_{i}"
                if j:
                    addresses[i, j] = self.fresh()
                    yield f"  {addresses[i, j]} = getelementptr i8, ptr %cp{r}_{i}, i64 {j * self.lanes * self.size}"
        yield f"  br i1 %add, label %g{r}, label %w{r}"
        yield f"w{r}:"
        for key, value in total.items():
            yield f"  store {vt} {value}, ptr {addresses[key]}, align {self.size}"
        yield "  ret void"
        yield f"g{r}:"
        for key, value in total.items():
            old, new = self.fresh(), self.fresh()
            yield f"  {old} = load {vt}, ptr {addresses[key]}, align {self.size}"
            yield f"  {new} = fadd {vt} {old}, {value}"
            yield f"  store {vt} {new}, ptr {addresses[key]}, align {self.size}"
        yield "  ret void"

    def _loop(
        self,
        tag: str,
        before: str,
        stop: str,
        step: int,
        start: dict[tuple[int, int, int], str],
        first: str,
        b: str,
        bases: list[str],
    ) -> Iterator[str]:
        """The loop over k in `h`, with body `l`, leaving to `q`."""
        r, vt = self.rows, self.vt
        head, body = f"h{r}{tag}", f"l{r}{tag}"
        lines: list[str] = []
        sums = {key: f"%acc{r}{tag}_{'_'.join(map(str, key))}" for key in start if key[0] < step}
        current = dict(sums)
        ap, bp = [f"%ap{r}{tag}_{g}" for g in range(len(bases))], f"%bp{r}{tag}"
        for u in range(step):
            columns: list[str] = []
            for j in range(self.vectors):
                address, value = bp, self.fresh()
                if j:
                    address = self.fresh()
                    lines.append(
                        f"  {address} = getelementptr i8, ptr {bp}, i64 {j * self.lanes * self.size}"
                    )
                lines.append(f"  {value} = load {vt}, ptr {address}, align {self.size}")
                columns.append(value)
            if r > 2:
                double = self.fresh()
                lines.append(f"  {double} = shl i64 %ar, 1")
            for i in range(r):
                address = ap[i // 3]
                if i % 3:
                    address = self.fresh()
                    offset = "%ar" if i % 3 == 1 else double  # pyright: ignore[reportPossiblyUnboundVariable] -- rows > 2 here
                    lines.append(f"  {address} = getelementptr i8, ptr {ap[i // 3]}, i64 {offset}")
                x = self.fresh()
                lines.append(f"  {x} = load {self.ty}, ptr {address}, align {self.size}")
                if self.lanes > 1:
                    one, x, scalar = self.fresh(), self.fresh(), x
                    lines.append(f"  {one} = insertelement {vt} poison, {self.ty} {scalar}, i64 0")
                    lines.append(
                        f"  {x} = shufflevector {vt} {one}, {vt} poison, <{self.lanes} x i32> zeroinitializer"
                    )
                for j in range(self.vectors):
                    lines += self.multiply(x, columns[j], current[u, i, j])
                    current[u, i, j] = self.last
            following = [self.fresh() for _ in ap]
            lines += [
                f"  {new} = getelementptr i8, ptr {old}, i64 %ak"
                for new, old in zip(following, ap, strict=True)
            ]
            ap = following
            next_b = self.fresh()
            lines.append(f"  {next_b} = getelementptr i8, ptr {bp}, i64 %bk")
            bp = next_b
        yield f"{head}:"
        yield f"  %p{r}{tag} = phi i64 [ {first}, %{before} ], [ %pn{r}{tag}, %{body} ]"
        yield f"  %bp{r}{tag} = phi ptr [ {b}, %{before} ], [ {bp}, %{body} ]"
        for g, base in enumerate(bases):
            yield f"  %ap{r}{tag}_{g} = phi ptr [ {base}, %{before} ], [ {ap[g]}, %{body} ]"
        for key, name in sums.items():
            yield f"  {name} = phi {vt} [ {start[key]}, %{before} ], [ {current[key]}, %{body} ]"
        yield f"  %more{r}{tag} = icmp slt i64 %p{r}{tag}, {stop}"
        yield f"  br i1 %more{r}{tag}, label %{body}, label %q{r}{tag}"
        yield f"{body}:"
        yield from lines
        yield f"  %pn{r}{tag} = add i64 %p{r}{tag}, {step}"
        yield f"  br label %{head}"
