"""Sorting: keys are whole numbers in the order wanted, and each element computes by itself where it goes.

A line of known size up to `SHORT` is sorted by counting, for each element, those that come before it: n^2 comparisons.
Longer lines are sorted so in blocks of `BLOCK`, which are then merged two by two: an element's place in the merged run
is its place in its own plus what a binary search counts in the other, n log^2 n steps in all. No iteration needs
another one, so all are vectors; equals keep their order by the rule of the search, whatever the grouping.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim
from ....ir.graph import Node, Value
from ....ir.ops.sort import Sort, TopK
from ....ir.types import DType, i8, i16, i32, i64
from .. import kernel_ir as k
from .cumulative import around_lines
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .pull import Pull

__all__ = ["sort"]

SHORT = 64
BLOCK = 32
BLOCK_BITS = 5
INTEGERS = {8: i8, 16: i16, 32: i32, 64: i64}
INFINITY = {"f64": 0x7FF << 52, "f32": 0xFF << 23, "f16": 0x1F << 10, "bf16": 0xFF << 7}


def sort(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """Sort or TopK; values and indices."""
    op = node.op
    assert isinstance(op, (Sort, TopK))
    line = Line(lowering, node, tails, op.axis, op.descending if isinstance(op, Sort) else op.largest)
    size, count = node.operands[0].type.shape[op.axis], node.results[0].type.shape[op.axis]
    if isinstance(size, int) and size <= SHORT:
        body = around_lines(line.count_all(size, count), line.loops, line.x.type.shape, op.axis)
    else:
        body = around_lines(
            line.merge_all(size, count), line.loops, line.x.type.shape, op.axis, vectors=False
        )
    lowering.launch(line.scope, op.mnemonic, body, node.origins)


class Line:
    """One kernel that sorts the lines of a tensor one after the other."""

    def __init__(
        self, lowering: Lowering, node: Node, tails: Sequence[Tail], axis: int, descending: bool
    ) -> None:
        self.axis = axis
        self.descending = descending
        self.x: Value = node.operands[0]
        self.scope = KernelScope()
        self.pull: Pull = lowering.pull(self.scope)
        self.loops = [k.Var(f"i{a}") for a in range(self.x.type.rank)]
        shape = node.results[0].type.shape
        self.values, self.indices = (self.scope.output(t.memory, shape) for t in tails)
        self.vector = axis == self.x.type.rank - 1

    def at(self, place: k.Expr) -> tuple[k.Expr, ...]:
        """The index of an element of the line."""
        return (*self.loops[: self.axis], place, *self.loops[self.axis + 1 :])

    def key(self, place: k.Expr) -> k.Expr:
        """An element of the line as a number whose order is the one wanted; equals have equal keys."""
        x = self.pull.read(self.x, self.at(place))
        if x.dtype.is_float:
            number = self.key_type()
            top = (1 << (number.bits - 1)) - 1
            bits = k.Bits(x, number)
            size = bits & k.const(top, number)
            signed = k.select(bits < k.zero(number), -size, size)
            x = k.select(size > k.const(INFINITY[x.dtype.name], number), k.const(top, number), signed)
        return ~x if self.descending else x

    def key_type(self) -> DType:
        dtype = self.x.type.dtype
        return INTEGERS[dtype.bits] if dtype.is_float else dtype

    # short lines
    def count_all(self, size: int, count: Dim) -> list[k.Stmt]:
        """Each element goes to the number of those before it."""
        i, j, before = self.loops[self.axis], k.Var("j"), k.Var("before")
        mine, other = k.Var("mine", self.key_type()), self.key(j)
        comes_first = (other < mine) | (other.eq(mine) & (j < i))
        counting = k.For(
            j, size, (), "serial", (k.Carry(before, k.const(0, i64), before + comes_first.cast(i64)),)
        )
        kept = None if count == size else before < count
        body = (
            k.Let(mine, self.key(i)),
            counting,
            self.values.store(self.at(before), self.pull.read(self.x, self.at(i)), kept),
            self.indices.store(self.at(before), i, kept),
        )
        return [k.For(i, size, body, "vector" if self.vector else "serial")]

    # long lines
    def merge_all(self, size: Dim, count: Dim) -> list[k.Stmt]:
        """Blocks, levels of merging from one half of two arrays to the other and back, then the first `count`."""
        n = k.as_index(size)
        keys = self._halves(self.key_type(), size)
        order = self._halves(i64, size)
        levels = k.Var("levels")
        more: k.Expr = k.const(0, i64)
        for level in range(63 - BLOCK_BITS):
            more = more + (n > (BLOCK << level)).cast(i64)
        i, level = k.Var("i"), k.Var("level")
        last = levels & k.const(1, i64)
        found = k.Var("found")
        out = (
            k.Let(found, order[last, i]),
            self.indices.store(self.at(i), found),
            self.values.store(self.at(i), self.pull.read(self.x, self.at(found))),
        )
        return [
            k.Let(levels, more),
            k.For(i, size, (keys.store((1, i), self.key(i)),), "vector"),
            self._blocks(keys, order, size),
            k.For(level, levels, self._merged(keys, order, size, level)),
            k.For(i, count, out, "vector"),
        ]

    def _halves(self, dtype: DType, size: Dim) -> k.Buffer:
        return self.scope.output(Memory("arena", dtype, 2 * size), (2, size))

    def _blocks(self, keys: k.Buffer, order: k.Buffer, size: Dim) -> k.Stmt:
        """From the second half to the first, each block sorted."""
        i, j, before = k.Var("i"), k.Var("j"), k.Var("before")
        zero, one = k.const(0, i64), k.const(1, i64)
        start, mine = k.Var("start"), k.Var("mine", keys.dtype)
        place = start + j
        inside = place < size
        other = keys.at(one, place, inside=inside)
        comes_first = inside & ((other < mine) | (other.eq(mine) & (place < i)))
        carry = k.Carry(before, zero, before + comes_first.cast(i64))
        body = (
            k.Let(start, i & k.const(-BLOCK, i64)),
            k.Let(mine, keys[one, i]),
            k.For(j, BLOCK, (), "serial", (carry,)),
            keys.store((zero, start + before), mine),
            order.store((zero, start + before), i),
        )
        return k.For(i, size, body, "vector")

    def _merged(self, keys: k.Buffer, order: k.Buffer, size: Dim, level: k.Var) -> tuple[k.Stmt, ...]:
        """From one half to the other, neighbouring runs merged."""
        i, step, before = k.Var("i"), k.Var("s"), k.Var("before")
        one = k.const(1, i64)
        source, width = level & one, k.Var("width")
        start, sibling, length = k.Var("start"), k.Var("sibling"), k.Var("length")
        mine, is_left = k.Var("mine", keys.dtype), (i & width).eq(0)
        # the sibling's elements that come before this one: of the right run those less, of the left the equal too
        reach = before + k.Binary("shr", width, step)
        inside = reach <= length
        other = keys.at(source, sibling + reach - 1, inside=inside)
        comes_first = inside & k.select(is_left, other < mine, other <= mine)
        carry = k.Carry(before, k.const(0, i64), k.select(comes_first, reach, before))
        place = start + (i & (width - 1)) + before
        body = (
            k.Let(start, i & (k.const(0, i64) - width * 2)),
            k.Let(sibling, k.select(is_left, start + width, start)),
            k.Let(length, k.maximum(k.minimum(k.as_index(size) - sibling, width), 0)),
            k.Let(mine, keys[source, i]),
            k.For(step, level + (BLOCK_BITS + 1), (), "serial", (carry,)),
            keys.store((one - source, place), mine),
            order.store((one - source, place), order[source, i]),
        )
        return (k.Let(width, k.Binary("shl", k.const(BLOCK, i64), level)), k.For(i, size, body, "vector"))
