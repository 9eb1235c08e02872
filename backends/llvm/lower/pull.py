"""Values as functions of an index: how chains of maps and data movement become one expression.

`Pull.read(value, index)` gives the expression for one element. An elementwise op reads its operands at the same
index, a movement op at another one, and a value that has memory is a load. Nothing is computed into memory on the
way, so a region of maps is one kernel, and a permuted or padded operand of a contraction costs no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.dims import Dim, product
from ....ir.graph import Node, Value
from ....ir.ops.constant import Constant, Iota
from ....ir.ops.index import Gather, GatherElements
from ....ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from ....ir.types import i64
from .. import kernel_ir as k
from ..layout import Layout
from .boxes import dynamic_slice, dynamic_update_slice
from .elementwise import ELEMENTWISE, elementwise
from .groups import dim_groups
from .patches import patches

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
        self.halves: dict[k.Expr, tuple[int, k.Expr, k.Expr]] = {}
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
        return _MOVES[op.mnemonic](self, value.node, index, inside, element)

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
        known = self.halves.get(index)
        if known is not None and step == 1 and isinstance(start, int) and start % known[0] == 0:
            block, high, low = known
            self.halves[found] = (block, self.affine(high, 1, start // block), low)
        return found

    def split(self, channel: k.Expr, block: int, high: k.Expr, low: k.Expr) -> k.Expr:
        """Say that a channel index is high * block + low, so that blocked memory is read without a division."""
        self.halves[channel] = (block, high, low)
        return channel

    def blocked(self, layout: Layout, index: Index) -> Index:
        """Where the element at an index lies in blocked memory."""
        image, channel, *place = index
        inner = [self.affine(i, 1, low) for i, (low, _) in zip(place, layout.halo, strict=True)]
        if layout.block == 1:
            return (image, channel, *inner, ZERO)
        known = self.halves.get(channel)
        if known is not None and known[0] == layout.block:
            return (image, known[1], *inner, known[2])
        if isinstance(channel, k.Const):
            high, low = divmod(int(channel.value), layout.block)
            return (image, k.const(high, i64), *inner, k.const(low, i64))
        size = layout.block
        high = self.memo(("div", channel, size), lambda: channel // size)
        low = self.memo(("mod", channel, size), lambda: channel % size)
        return (image, high, *inner, low)

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
            blocks = self.buffer(value, layout.shape(shape))
            assert blocks is not None
            return blocks.at(*self.blocked(layout, index), inside=inside)
        for group, (axes, combined) in self.flat.items():
            kept = len(index) - len(group)
            if kept >= 0 and index[kept:] == group and shape[kept:] == axes:
                flat = self.buffer(value, (*shape[:kept], product(shape[kept:])))
                return None if flat is None else flat.at(*index[:kept], combined, inside=inside)
        buffer = self.buffer(value, shape)
        return None if buffer is None else buffer.at(*index, inside=inside)


Element = Callable[[Value, Index, "k.Expr | None"], k.Expr]
Move = Callable[[Pull, Node, Index, "k.Expr | None", Element], k.Expr]


def _constant(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Constant)
    literal = node.op.value
    assert literal.array.size == 1, "a constant of several elements has memory"
    return k.const(literal.array.reshape(-1)[0].item(), literal.type.dtype)


def _iota(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Iota)
    return index[node.op.axis].cast(node.op.dtype)


def _broadcast(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, BroadcastInDim)
    x = node.operands[0]
    at = tuple(
        ZERO if size == 1 else index[axis] for size, axis in zip(x.type.shape, node.op.axes, strict=True)
    )
    return element(x, at, inside)


def _permute(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Permute)
    at: list[k.Expr] = [ZERO] * len(index)
    for axis, source in enumerate(node.op.axes):
        at[source] = index[axis]
    return element(node.operands[0], tuple(at), inside)


def _slice(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Slice)
    at = tuple(
        pull.affine(i, step, start)
        for i, start, step in zip(index, node.op.starts, node.op.strides, strict=True)
    )
    return element(node.operands[0], at, inside)


def _reverse(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Reverse)
    shape = node.operands[0].type.shape
    at = tuple(
        pull.affine(i, -1, shape[axis] - 1) if axis in node.op.axes else i for axis, i in enumerate(index)
    )
    return element(node.operands[0], at, inside)


def _pad(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    op = node.op
    assert isinstance(op, Pad)
    x, value = node.operands
    at: list[k.Expr] = []
    tests: list[k.Expr] = []
    for axis, i in enumerate(index):
        source, axis_tests = pull.unpad(i, op.low[axis], op.high[axis], op.interior[axis], x.type.shape[axis])
        at.append(source)
        tests += axis_tests
    test = pull.all_of(tests)
    both = pull.all_of([t for t in (inside, test) if t is not None])
    found = element(x, tuple(at), both)
    return found if test is None else k.select(test, found, element(value, (), inside))


def _concat(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Concat)
    axis = node.op.axis
    start: Dim = 0
    parts: list[tuple[k.Expr | None, k.Expr]] = []
    for count, x in enumerate(node.operands):
        size = x.type.shape[axis]
        at = list(index)
        at[axis] = pull.affine(index[axis], 1, -start)
        below = pull.memo(("lt", index[axis], start + size), lambda a=axis, e=start + size: index[a] < e)
        from_start = pull.memo(("ge", index[axis], start), lambda a=axis, s=start: index[a] >= s)
        tests = [
            t
            for t in (
                inside,
                below if count + 1 < len(node.operands) else None,
                from_start if count else None,
            )
            if t is not None
        ]
        parts.append((below, element(x, tuple(at), pull.all_of(tests))))
        start = start + size
    result = parts[-1][1]
    for below, found in reversed(parts[:-1]):
        assert below is not None
        result = k.select(below, found, result)
    return result


def _reshape(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Reshape)
    x = node.operands[0]
    return element(x, pull.reshaped(index, node.op.shape, x.type.shape), inside)


def _gather(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Gather)
    x, indices = node.operands
    axis, rank = node.op.axis, indices.type.rank
    where = element(indices, index[axis : axis + rank], inside)
    at = (*index[:axis], pull.clamped(where, x.type.shape[axis]), *index[axis + rank :])
    return element(x, at, inside)


def _gather_elements(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, GatherElements)
    x, indices = node.operands
    axis = node.op.axis
    where = element(indices, index, inside)
    return element(x, (*index[:axis], pull.clamped(where, x.type.shape[axis]), *index[axis + 1 :]), inside)


ZERO = k.const(0, i64)
_MOVES: dict[str, Move] = {
    "constant": _constant,
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "permute": _permute,
    "slice": _slice,
    "reverse": _reverse,
    "pad": _pad,
    "concat": _concat,
    "reshape": _reshape,
    "gather": _gather,
    "gather_elements": _gather_elements,
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "patches": patches,
    "opt_barrier": lambda pull, node, index, inside, element: element(node.operands[0], index, inside),
}
