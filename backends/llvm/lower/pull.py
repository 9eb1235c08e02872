"""Values as functions of an index: how chains of maps and data movement become one expression.

`Pull.read(value, index)` gives the expression for one element. An elementwise op reads its operands at the same
index, a movement op at another one, and a value that has memory is a load. Nothing is computed into memory on the
way, so a region of maps is one kernel, and a permuted or padded operand of a contraction costs no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ....ir.dims import Dim, product
from ....ir.graph import Node, Value
from ....ir.types import i64
from .. import kernel_ir as k
from ..layout import Layout
from .elementwise import ELEMENTWISE, elementwise
from .groups import dim_groups
from .moves import MOVES, ZERO, Element

__all__ = ["MAPS", "ZERO", "Pull", "is_map"]

Index = tuple[k.Expr, ...]
Request = tuple[Value, Index, "k.Expr | None"]

MOVEMENT = (
    "broadcast_in_dim", "permute", "reshape", "slice", "reverse", "pad", "concat", "gather", "gather_elements", "iota",
    "opt_barrier", "dynamic_slice", "dynamic_update_slice", "patches",
)  # fmt: skip
MAPS = frozenset((*ELEMENTWISE, *MOVEMENT, "constant"))
"""Ops whose result at an index is an expression of their operands' elements."""


def is_map(node: Node) -> bool:
    """Whether one element of the node's result can be pulled."""
    return node.op.mnemonic in MAPS


class Halves(NamedTuple):
    """A channel as high * block + low + shift, where low counts the lanes of a block and 0 <= shift < block."""

    block: int
    high: k.Expr
    low: k.Expr
    shift: int


class Pull:
    """Reads elements of values inside one kernel.

    Args:
        resolve: the value that stands for a region's input
        buffer:  the kernel's view of a value's memory under a shape, or None for a value that is computed
        layout:  how that memory is blocked, or None
        computed: where the values go that the kernel computes, from memory or from its own sums
    """

    def __init__(
        self,
        resolve: Callable[[Value], Value],
        buffer: Callable[[Value, Sequence[Dim]], k.Buffer | None],
        layout: Callable[[Value], Layout | None],
        computed: dict[Value, None],
    ) -> None:
        self.resolve = resolve
        self.buffer = buffer
        self.layout = layout
        self.computed = computed
        self.halves: dict[k.Expr, Halves] = {}
        self.ranges: dict[k.Expr, tuple[int, int]] = {}
        self.given: dict[Value, dict[Index, k.Expr]] = {}
        self.flat: dict[Index, tuple[tuple[Dim, ...], k.Expr]] = {}
        self._memo: dict[tuple[Value, Index, k.Expr | None], k.Expr] = {}
        self._exprs: dict[object, k.Expr] = {}

    def give(self, value: Value, index: Index, element: k.Expr) -> None:
        """Say what the value is at an index: the accumulator of the contraction it comes from."""
        self.given.setdefault(value, {})[index] = element

    def flatten(self, index: Index, shape: Sequence[Dim], combined: k.Expr) -> None:
        """Say that indices into neighbouring axes together count as `combined`, so that loads stay of unit stride."""
        self.flat[index] = (tuple(shape), combined)

    def read(self, value: Value, index: Index, inside: k.Expr | None = None) -> k.Expr:
        """One element; no memory is touched where `inside` is false. Iterative: chains are deep."""
        stack: list[Request] = [(value, index, inside)]
        while stack:
            key = stack[-1]
            if key in self._memo:
                stack.pop()
                continue
            needed: list[Request] = []

            def element(v: Value, i: Index, p: k.Expr | None, needed: list[Request] = needed) -> k.Expr:
                found = self._memo.get((v, i, p))
                if found is None:
                    needed.append((v, i, p))
                    return k.zero(v.type.dtype)
                return found

            result = self._step(*key, element)
            if needed:
                stack += needed
            else:
                self._memo[key] = result
                stack.pop()
        return self._memo[value, index, inside]

    def _step(self, value: Value, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
        if value in self.given:
            assert index in self.given[value], (
                "an epilogue reads its contraction at the index it is computed for"
            )
            self.computed[value] = None
            return self.given[value][index]
        value = self.resolve(value)
        loaded = self._load(value, index, inside)
        if loaded is not None:
            return loaded
        assert value.node is not None, f"{value!r} has no memory"
        op, operands = value.node.op, value.node.operands
        self.computed[value] = None
        if op.mnemonic in ELEMENTWISE:
            return elementwise(op, [element(o, index, inside) for o in operands])
        return MOVES[op.mnemonic](self, value.node, index, inside, element)

    def memo(self, key: object, make: Callable[[], k.Expr]) -> k.Expr:
        """The same object for the same key, so that equal indices are one expression."""
        found = self._exprs.get(key)
        if found is None:
            found = self._exprs[key] = make()
        return found

    def affine(self, index: k.Expr, step: int, start: Dim) -> k.Expr:
        """index * step + start."""

        def build() -> k.Expr:
            scaled = index if step == 1 else index * step
            return scaled if start == 0 else scaled + start

        found = self.memo(("affine", index, step, start), build)
        if step == 1 and isinstance(start, int):
            if index in self.halves:
                block, high, low, shift = self.halves[index]
                more, rest = divmod(shift + start, block)
                self.halves[found] = Halves(block, self._block(high, more), low, rest)
            if index in self.ranges:
                first, behind = self.ranges[index]
                self.ranges[found] = (first + start, behind + start)
        return found

    def _block(self, high: k.Expr, more: int) -> k.Expr:
        """Some blocks on."""
        if isinstance(high, k.Const):
            return k.const(int(high.value) + more, i64)
        return self.affine(high, 1, more)

    def split(
        self, channel: k.Expr, block: int, high: k.Expr, low: k.Expr, within: tuple[int, int] | None = None
    ) -> k.Expr:
        """Say that a channel index is high * block + low, so that blocked memory is read without a division.

        Args:
            within: the first channel that it can be, and the one behind the last
        """
        self.halves[channel] = Halves(block, high, low, 0)
        if within is not None:
            self.ranges[channel] = within
        return channel

    def blocked(self, layout: Layout, index: Index) -> Index:
        """Where the element at an index lies in blocked memory."""
        image, channel, *place = index
        inner = [self.affine(i, 1, low) for i, (low, _) in zip(place, layout.halo, strict=True)]
        if layout.block == 1:
            return (image, channel, *inner, ZERO)
        known = self.halves.get(channel)
        if known is not None and known.block == layout.block and known.shift == 0:
            return (image, known.high, *inner, known.low)
        if isinstance(channel, k.Const):
            high, low = divmod(int(channel.value), layout.block)
            return (image, k.const(high, i64), *inner, k.const(low, i64))
        size = layout.block
        high = self.memo(("div", channel, size), lambda: channel // size)
        low = self.memo(("mod", channel, size), lambda: channel % size)
        return (image, high, *inner, low)

    def merged(
        self, layout: Layout, shape: Sequence[Dim], index: Index
    ) -> tuple[Layout, tuple[Dim, ...], Index]:
        """Blocks with their places counted as one axis, where an index is known so and no rim lies between; else as they are."""
        known = self.flat.get(tuple(index[2:]))
        if known is None or known[0] != tuple(shape[2:]) or any(map(any, layout.halo)):
            return layout, tuple(shape), index
        flat = Layout(layout.channels, layout.block, ((0, 0),))
        return flat, (*shape[:2], product(known[0])), (*index[:2], known[1])

    def all_of(self, tests: Sequence[k.Expr]) -> k.Expr | None:
        """Whether all hold; None for no test."""
        result: k.Expr | None = None
        for test in tests:
            left = result
            result = test if left is None else self.memo(("and", left, test), lambda a=left, b=test: a & b)
        return result

    def unpad(
        self, index: k.Expr, low: int, high: int, interior: int, size: Dim
    ) -> tuple[k.Expr, list[k.Expr]]:
        """The element that stands at an index of a padded axis, and the tests that there is one."""
        place = self.affine(index, 1, -low)
        step = interior + 1
        tests: list[k.Expr] = []
        if low > 0:
            tests.append(self.memo(("ge", place, 0), lambda: place >= 0))
        if high > 0:
            end = (size - 1) * step + 1
            tests.append(self.memo(("lt", place, end), lambda: place < end))
        if step > 1:
            tests.append(self.memo(("on", place, step), lambda: (place % step).eq(0)))
            return self.memo(("div", place, step), lambda: place // step), tests
        return place, tests

    def clamped(self, where: k.Expr, size: Dim) -> k.Expr:
        """An index that lies within an axis."""

        def build() -> k.Expr:
            return k.maximum(k.minimum(where.cast(i64), k.as_index(size) - 1), 0)

        return self.memo(("clamp", where, size), build)

    def reshaped(self, index: Index, shape: Sequence[Dim], old: Sequence[Dim]) -> Index:
        """Where the element at an index of `shape` stands in the same elements under the shape `old`."""
        at: list[k.Expr] = [ZERO] * len(old)
        for left, right in dim_groups(old, shape):
            if len(left) == 1 and len(right) == 1:
                at[left[0]] = index[right[0]]
            elif left:
                linear = self._linear(tuple(index[axis] for axis in right), [shape[axis] for axis in right])
                for axis, part in zip(left, self._split(linear, [old[axis] for axis in left]), strict=True):
                    at[axis] = part
        return tuple(at)

    def _linear(self, index: Index, shape: Sequence[Dim]) -> k.Expr:
        if index in self.flat and self.flat[index][0] == tuple(shape):
            return self.flat[index][1]
        kept = [(i, d) for i, d in zip(index, shape, strict=True) if d != 1]
        if not kept:
            return ZERO
        total, _ = kept[0]
        for i, d in kept[1:]:
            before = total
            total = self.memo(
                ("linear", before, d, i), lambda a=before, b=i, size=d: a * k.as_index(size) + b
            )
        return total

    def _split(self, linear: k.Expr, shape: Sequence[Dim]) -> Index:
        kept = [axis for axis, d in enumerate(shape) if d != 1]
        parts: list[k.Expr] = [ZERO] * len(shape)
        rest = linear
        for axis in reversed(kept):
            if axis == kept[0]:
                parts[axis] = rest
            else:
                size = k.as_index(shape[axis])
                before = rest
                parts[axis] = self.memo(("mod", before, shape[axis]), lambda a=before, b=size: a % b)
                rest = self.memo(("div", before, shape[axis]), lambda a=before, b=size: a // b)
        found = tuple(parts)
        if len(kept) > 1:
            self.flatten(found, shape, linear)
        return found

    def _load(self, value: Value, index: Index, inside: k.Expr | None) -> k.Expr | None:
        shape = value.type.shape
        layout = self.layout(value)
        if layout is not None:
            layout, shape, index = self.merged(layout, shape, index)
            blocks = self.buffer(value, layout.shape(shape))
            assert blocks is not None
            known = self.halves.get(index[1])
            if known is not None and known.block == layout.block and known.shift:
                return self._across(blocks, layout, index, known, inside)
            return blocks.at(*self.blocked(layout, index), inside=inside)
        for group, (axes, combined) in self.flat.items():
            kept = len(index) - len(group)
            if kept >= 0 and index[kept:] == group and shape[kept:] == axes:
                flat = self.buffer(value, (*shape[:kept], product(shape[kept:])))
                return None if flat is None else flat.at(*index[:kept], combined, inside=inside)
        buffer = self.buffer(value, shape)
        return None if buffer is None else buffer.at(*index, inside=inside)

    def _across(
        self, blocks: k.Buffer, layout: Layout, index: Index, known: Halves, inside: k.Expr | None
    ) -> k.Expr:
        """Lanes that lie in two neighbouring blocks of memory: a load of each under a mask."""
        block, high, low, shift = known
        image, _, *place = index
        inner = [self.affine(i, 1, rim) for i, (rim, _) in zip(place, layout.halo, strict=True)]
        edge = block - shift
        first = self.memo(("lt", low, edge), lambda: low < edge)
        second = self.memo(("ge", low, edge), lambda: low >= edge)
        parts: list[k.Expr] = []
        for more, test, start in ((0, first, shift), (1, second, shift - block)):
            at = self._block(high, more)
            if isinstance(at, k.Const) and not 0 <= int(at.value) < layout.blocks:
                continue
            masks = self.all_of([t for t in (inside, test) if t is not None])
            parts.append(blocks.at(image, at, *inner, self.affine(low, 1, start), inside=masks))
        return parts[0] if len(parts) == 1 else k.select(first, *parts)
