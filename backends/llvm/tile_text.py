"""The lines of a register tile's function: its loops over k, what it fetches meanwhile, and its sums."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from .builder import Module
from .finish import LINE, Finishing

__all__ = ["AHEAD", "TALL", "Form", "TileText"]

TALL = 8
"""Rows from which on a tile computes long enough to bring in the operand of later ones meanwhile."""
AHEAD = 8192
"""How far ahead, in bytes."""
SHORT_AHEAD = 2048
"""How far ahead tiles of few rows fetch, which do nothing else than wait for memory."""

Key = tuple[int, int, int]
"""An accumulator: which of those that split the sum, row, vector."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the function of a tile knows beyond its shape: where the rows of A lie, and more of the steps.

    Args:
        run:   rows in a run, 0 for all in one
        fixed: the distance of rows and of runs in bytes, where they are known
        last:  length of the innermost step in the last turn of the outermost, None where it is that of all
        ahead: bytes from what is read of B to what is brought in meanwhile, 0 for nothing
        cache: into which cache, the first or the second
        afar:  whether tiles of few rows fetch as well
        pairs: whether the last vector holds two steps of k
    """

    run: int = 0
    fixed: tuple[int, int] | None = None
    last: int | None = None
    ahead: int = 0
    cache: int = 1
    afar: bool = False
    pairs: bool = False

    @property
    def suffix(self) -> str:
        fixed = "" if self.fixed is None else f"s{self.fixed[0]}" + (f"_{self.fixed[1]}" if self.run else "")
        return (
            (f"r{self.run}" if self.run else "")
            + fixed
            + ("" if self.last is None else f"l{self.last}")
            + (f"h{self.ahead}_{self.cache}" if self.ahead else "")
            + ("f" if self.afar else "")
            + ("p" if self.pairs else "")
        )

    def offset(self, row: int) -> int:
        """Bytes from the first row, where distances are known."""
        assert self.fixed is not None
        run = self.run or row + 1
        return row // run * self.fixed[1] + row % run * self.fixed[0]


class TileText:
    """The lines of one tile's function; parameters that are `known` stand in them as literals."""

    def __init__(
        self, rows: int, vectors: int, lanes: int, ty: str, size: int, fma: bool, depth: int, form: Form,
        after: Finishing | None, known: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.rows, self.vectors, self.lanes, self.ty, self.size = rows, vectors, lanes, ty, size
        self.depth = depth
        self.form, self.run = form, form.run or rows
        self.after, self.known = after, known
        self.vt = f"<{lanes} x {ty}>" if lanes > 1 else ty
        self.mangled = f"v{lanes}f{8 * size}" if lanes > 1 else f"f{8 * size}"
        self.uses_fma = fma
        accumulators = rows * vectors
        self.unroll = 1 if form.pairs else 4 if accumulators <= 2 else 2 if accumulators <= 6 else 1
        length = known.get(f"%n{depth - 1}")
        self.rest = length is None or form.last is not None or int(length) % self.unroll != 0
        self.keys: list[Key] = [
            (u, i, j) for u in range(self.unroll) for i in range(rows) for j in range(vectors)
        ]
        self.firsts = [0] if form.fixed else [row for row in range(rows) if row % self.run % 3 == 0]
        self.spreads = after is not None and self.unroll == 1 and not form.pairs and after.spreads(rows)
        self.count = 0

    def of(self, parameter: str) -> str:
        """A parameter, or its value where that is known."""
        return self.known.get(parameter, parameter)

    def fresh(self) -> str:
        self.count += 1
        return f"%x{self.count}"

    def text(self, module: Module) -> Iterator[str]:
        after = self.after
        if self.rows > 3 and self.form.fixed is None:
            yield f"  %ar3 = mul i64 {self.of('%ar')}, 3"
        for j in range(2, self.vectors):
            yield f"  %bv{j} = mul i64 {self.of('%bv')}, {j}"
        if after is not None:
            module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
            if not self.spreads:
                yield from after.fetches(self.rows)
        zeros = dict.fromkeys(self.keys, "zeroinitializer" if self.lanes > 1 else "0.0")
        sums = yield from self._level(0, "entry", zeros, "%a0", "%b0")
        total = yield from self._joined(sums)
        if after is None:
            yield from self._store(total)
        else:
            yield from after.text(module, total)
            yield "  ret void"

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
        yield f"  %more{level} = icmp slt i64 %p{level}, {self.of(f'%n{level}')}"
        yield f"  br i1 %more{level}, label %l{level}, label %q{level}"
        yield f"l{level}:"
        yield from self._level(level + 1, f"l{level}", sums, f"%a{level}_", f"%b{level}_")
        yield f"  %an{level} = getelementptr i8, ptr %a{level}_, i64 {self.of(f'%sa{level}')}"
        yield f"  %bn{level} = getelementptr i8, ptr %b{level}_, i64 {self.of(f'%sb{level}')}"
        yield f"  %pn{level} = add i64 %p{level}, 1"
        yield f"  br label %h{level}"
        yield f"q{level}:"
        return sums

    def _exit(self, level: int) -> dict[Key, str]:
        """The names of the sums where a level has been left."""
        if level < self.depth - 1:
            return {key: f"%s{level}_{'_'.join(map(str, key))}" for key in self.keys}
        last = {key: f"%acc_{'_'.join(map(str, key))}" for key in self.keys if key[0] == 0 and self.rest}
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
                yield f"  {bases[-1]} = getelementptr i8, ptr {start_of_run}, i64 {self.of('%as')}"
                start_of_run = bases[-1]
        stop, first = self.of(f"%n{level}"), "0"
        if self.form.last is not None:
            yield f"  %turns = sub i64 {self.of('%n0')}, %p0"
            yield "  %ends = icmp eq i64 %turns, 1"
            yield f"  %stop = select i1 %ends, i64 {self.form.last}, i64 {stop}"
            stop = "%stop"
        if self.unroll > 1:
            whole = stop
            if self.rest:
                whole = "%whole"
                yield f"  %whole = and i64 {stop}, {-self.unroll}"
            yield "  br label %hu"
            yield from self._loop("u", before, whole, self.unroll, start, "0", b, bases, level)
            yield "qu:"
            before, first, b = "qu", "%pu", "%bpu"
            bases = [f"%apu_{g}" for g in range(len(self.firsts))]
            start = {key: f"%accu_{'_'.join(map(str, key))}" for key in start}
        if self.rest:
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
        inside, fetch = body, list[str]()  # where the body is left
        if self.after is not None and self.spreads:
            inside, fetch = "fetched", [*self.after.fetch(self.rows, f"%p{tag}")]
        lines: list[str] = []
        sums = {key: f"%acc{tag}_{'_'.join(map(str, key))}" for key in start if key[0] < step}
        current = dict(sums)
        ap, bp = [f"%ap{tag}_{g}" for g in range(len(bases))], f"%bp{tag}"
        for u in range(step):
            if self.form.pairs:
                ap, bp = self._pair(lines, ap, bp, current)
            else:
                ap, bp = self._one(lines, u, ap, bp, current, level)
        yield f"{head}:"
        yield f"  %p{tag} = phi i64 [ {first}, %{before} ], [ %pn{tag}, %{inside} ]"
        yield f"  %bp{tag} = phi ptr [ {b}, %{before} ], [ {bp}, %{inside} ]"
        for g, base in enumerate(bases):
            yield f"  %ap{tag}_{g} = phi ptr [ {base}, %{before} ], [ {ap[g]}, %{inside} ]"
        for key, name in sums.items():
            yield f"  {name} = phi {vt} [ {start[key]}, %{before} ], [ {current[key]}, %{inside} ]"
        yield f"  %more{tag} = icmp slt i64 %p{tag}, {stop}"
        yield f"  br i1 %more{tag}, label %{body}, label %q{tag}"
        yield f"{body}:"
        yield from fetch
        yield from lines
        yield f"  %pn{tag} = add i64 %p{tag}, {2 if self.form.pairs else step}"
        yield f"  br label %{head}"

    def _one(
        self, lines: list[str], u: int, ap: list[str], bp: str, sums: dict[Key, str], level: int
    ) -> tuple[list[str], str]:
        """One step of k, added to the sums numbered u; the addresses of the next step."""
        columns: list[str] = []
        for j in range(self.vectors):
            offset = "" if not j else self.of("%bv") if j == 1 else f"%bv{j}"
            columns.append(self._load(lines, self.vt, self._moved(lines, bp, offset)))
        lines += self._fetch(bp)
        for i, address in enumerate(self._row_addresses(lines, ap)):
            x = self._spread(lines, self._load(lines, self.ty, address))
            for j in range(self.vectors):
                self._multiply(lines, (u, i, j), x, columns[j], sums)
        return [self._moved(lines, old, self.of(f"%sa{level}")) for old in ap], self._moved(
            lines, bp, self.of(f"%sb{level}")
        )

    def _pair(self, lines: list[str], ap: list[str], bp: str, sums: dict[Key, str]) -> tuple[list[str], str]:
        """Two steps of k, which lie side by side in A: whole vectors of both, then one that has both of half as many columns."""
        whole, vector = self.vectors - 1, self.lanes * self.size
        columns = [
            self._load(lines, self.vt, self._moved(lines, bp, str(n * vector) if n else ""))
            for n in range(2 * whole + 1)
        ]
        lines += self._fetch(bp)
        for i, address in enumerate(self._row_addresses(lines, ap)):
            for k in range(2):
                at = self._moved(lines, address, str(k * self.size) if k else "")
                x = self._spread(lines, self._load(lines, self.ty, at))
                for j in range(whole):
                    self._multiply(lines, (0, i, j), x, columns[k * whole + j], sums)
            x = self._spread(lines, self._load(lines, f"<2 x {self.ty}>", address), pair=True)
            self._multiply(lines, (0, i, whole), x, columns[-1], sums)
        ap = [self._moved(lines, old, str(2 * self.size)) for old in ap]
        return ap, self._moved(lines, bp, str((2 * whole + 1) * vector))

    def _moved(self, lines: list[str], address: str, offset: str) -> str:
        """An address some bytes on."""
        if not offset:
            return address
        name = self.fresh()
        lines.append(f"  {name} = getelementptr i8, ptr {address}, i64 {offset}")
        return name

    def _load(self, lines: list[str], ty: str, address: str) -> str:
        name = self.fresh()
        lines.append(f"  {name} = load {ty}, ptr {address}, align {self.size}")
        return name

    def _row_addresses(self, lines: list[str], ap: list[str]) -> Iterator[str]:
        """Where each row of A has this step of k."""
        double = ""
        if self.rows > 2 and self.form.fixed is None:
            double = self.fresh()
            lines.append(f"  {double} = shl i64 {self.of('%ar')}, 1")
        for i in range(self.rows):
            within = i % self.run % 3 if self.form.fixed is None else i
            offset = "" if not within else self.of("%ar") if within == 1 else double
            if within and self.form.fixed is not None:
                offset = str(self.form.offset(i))
            yield self._moved(lines, ap[self.firsts.index(i - within)], offset)

    def _spread(self, lines: list[str], x: str, pair: bool = False) -> str:
        """An element, or a pair of them, repeated over all lanes."""
        if self.lanes == 1:
            return x
        ty, name = self.vt, self.fresh()
        if pair:
            of, order = f"<2 x {self.ty}>", "i32 0, i32 1"
            mask = ", ".join([order] * (self.lanes // 2))
            lines.append(f"  {name} = shufflevector {of} {x}, {of} poison, <{self.lanes} x i32> <{mask}>")
            return name
        one = self.fresh()
        lines.append(f"  {one} = insertelement {ty} poison, {self.ty} {x}, i64 0")
        lines.append(
            f"  {name} = shufflevector {ty} {one}, {ty} poison, <{self.lanes} x i32> zeroinitializer"
        )
        return name

    def _fetch(self, b: str) -> Iterator[str]:
        """Bring in what comes some time later, where it comes from afar: the machine itself looks no further than a page."""
        form = self.form
        tall = self.rows >= TALL or form.cache > 1
        if form.ahead and (tall or form.afar):
            distance = form.ahead if tall else SHORT_AHEAD
            for line in range(0, self.vectors * self.lanes * self.size, LINE):
                address = self.fresh()
                yield f"  {address} = getelementptr i8, ptr {b}, i64 {distance + line}"
                yield f"  call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {4 - form.cache}, i32 1)"

    def _multiply(self, lines: list[str], key: Key, a: str, b: str, sums: dict[Key, str]) -> None:
        """Add a * b to a sum."""
        name, vt = self.fresh(), self.vt
        if self.uses_fma:
            lines.append(
                f"  {name} = call {vt} @llvm.fma.{self.mangled}({vt} {a}, {vt} {b}, {vt} {sums[key]})"
            )
        else:
            product = self.fresh()
            lines.append(f"  {product} = fmul {vt} {a}, {b}")
            lines.append(f"  {name} = fadd {vt} {sums[key]}, {product}")
        sums[key] = name

    def _joined(self, sums: dict[Key, str]) -> Generator[str, None, dict[tuple[int, int], str]]:
        """Join what was split."""
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
            if self.form.pairs:
                total[i, self.vectors - 1] = yield from self._folded(total[i, self.vectors - 1])
        return total

    def _folded(self, pairs: str) -> Generator[str, None, str]:
        """The sums of pairs of neighbouring lanes, and zeros behind them."""
        vt, lanes = self.vt, self.lanes
        sides: list[str] = []
        for first in range(2):
            mask = ", ".join(f"i32 {2 * n + first if 2 * n < lanes else lanes}" for n in range(lanes))
            sides.append(self.fresh())
            yield f"  {sides[-1]} = shufflevector {vt} {pairs}, {vt} zeroinitializer, <{lanes} x i32> <{mask}>"
        name = self.fresh()
        yield f"  {name} = fadd {vt} {sides[0]}, {sides[1]}"
        return name

    def _store(self, total: dict[tuple[int, int], str]) -> Iterator[str]:
        """Write the sums or add them to what is there."""
        vt, row = self.vt, "%c0"
        addresses: dict[tuple[int, int], str] = {}
        for i in range(self.rows):
            if i:
                before, row = row, self.fresh()
                yield f"  {row} = getelementptr i8, ptr {before}, i64 {self.of('%cr')}"
            for j in range(self.vectors):
                addresses[i, j] = row
                if j:
                    addresses[i, j] = self.fresh()
                    yield f"  {addresses[i, j]} = getelementptr i8, ptr {row}, i64 {j * self.lanes * self.size}"
        yield f"  br i1 {self.of('%add')}, label %adds, label %writes"
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
