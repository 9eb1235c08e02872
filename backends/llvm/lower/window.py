"""Pools and window sums: loops over the result, the places of a small window written out, of a large one reduced over."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as places
from math import prod

from ....ir.dims import bounds
from ....ir.graph import Node, Value
from ....ir.ops.common import accumulator
from ....ir.ops.patches import FoldPatches
from ....ir.ops.window import MaxPool, WindowSum
from ....ir.types import i64
from .. import kernel_ir as k
from ..layout import Layout
from .blocked import Blocks, zero_rim
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .pooling import larger
from .pull import Index, Pull

__all__ = ["fold_patches", "max_pool", "window_sum"]

WRITTEN_OUT = 81
"""Places of a window that are written out; beyond it the code would grow with the window."""

Place = int | k.Var


class Window:
    """The loops over a result [N, C, spatial...] and the element of x at each place of the window.

    Attributes:
        vars:  the index of the result's element
        alike: whether x lies in the same blocks, so that lanes which are no channel can be read
    """

    def __init__(
        self,
        pull: Pull,
        x: Value,
        result: Value,
        op: MaxPool | WindowSum,
        base: Sequence[int],
        layout: Layout | None,
    ) -> None:
        self.pull, self.x, self.op, self.base = pull, x, op, tuple(base)
        self.shape = result.type.shape
        self.blocks = None if layout is None else Blocks(pull, layout, self.shape)
        self.loops = tuple(k.Var(f"i{axis}") for axis in range(result.type.rank))
        self.vars: Index = self.loops if self.blocks is None else self.blocks.index
        source = pull.layout(x)
        self.alike = layout is not None and source is not None and source.block == layout.block

    def element(self, offset: Sequence[Place], nearest: bool = False) -> tuple[k.Expr, Index, k.Expr | None]:
        """The element at a place of the window, its index in x, and whether it lies inside x.

        Args:
            nearest: read the nearest element instead of one outside, but along the lanes
        """
        at: list[k.Expr] = list(self.vars[:2])
        tests: list[k.Expr] = []
        if self.blocks is not None and self.blocks.inside is not None and not self.alike:
            tests.append(self.blocks.inside)
        for i, place in enumerate(offset):
            low, high = self.op.padding[i]
            step = self.op.dilation[i]
            if isinstance(place, int):
                corner = self.pull.affine(self.vars[i + 2], self.op.strides[i], place * step)
            else:
                corner = self.pull.affine(self.vars[i + 2], self.op.strides[i], 0) + place * step
            size = self.x.type.shape[i + 2]
            source, inside = self.pull.unpad(corner, low, high, self.base[i] - 1, size)
            if nearest and inside and (self.blocks is not None or i + 3 < len(self.shape)):
                source, inside = self.pull.clamped(source, size), []
            at.append(source)
            tests += inside
        index = tuple(at)
        test = self.pull.all_of(tests)
        return self.pull.read(self.x, index, test), index, test

    def flat(self, index: Index) -> k.Expr:
        """The row-major place of an index in x."""
        found: k.Expr = index[0]
        for i, d in zip(index[1:], self.x.type.shape[1:], strict=True):
            found = found * k.as_index(d) + i
        return found

    @property
    def is_large(self) -> bool:
        """Whether the places are reduced over in loops."""
        return prod(self.op.window) > WRITTEN_OUT

    def dims(self) -> tuple[k.LoopDim, ...]:
        """The loops over the places, row-major."""
        return tuple(k.LoopDim(k.Var(f"p{i}"), size) for i, size in enumerate(self.op.window))

    def offsets(self) -> list[tuple[int, ...]]:
        """The places of the window, row-major."""
        return list(places(*(range(size) for size in self.op.window)))

    def store(self, scope: KernelScope, memory: Memory, element: k.Expr) -> k.Store:
        if self.blocks is not None:
            return self.blocks.store(self.pull, scope, memory, self.shape, element)
        return scope.output(memory, self.shape).store(self.vars, element)

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        if self.blocks is not None:
            return self.blocks.around(body)
        return nest(body, list(zip(self.loops, self.shape, strict=True)), vector=True)


def max_pool(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """The first of the largest; NaN above all. The index is flat over x."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, MaxPool)
    values, indices = node.results
    layout = tails[0].memory.layout
    if layout is not None:
        zero_rim(lowering, tails[0].memory, values.type.shape, node.origins)
    scope = KernelScope()
    pull = lowering.pull(scope, layout is not None)
    window = Window(pull, x, values, op, (1,) * len(op.window), layout)
    read = [v for v in node.results if lowering.uses.get(v, 0) or v in lowering.wanted]
    before: list[k.Stmt] = []
    if window.is_large:
        best, where, reduce = _largest(window)
        before.append(reduce)
        if window.blocks is not None and window.blocks.inside is not None:
            best = k.select(window.blocks.inside, best, k.zero(x.type.dtype))
    elif indices in read or not _all_reach_in(op, x):
        best, where = _first_largest(window)
    else:
        best = where = _maximum(window)
    by_value = {tail.value: tail.memory for tail in tails}
    stores: list[k.Stmt] = before
    for value, element in ((values, best), (indices, where)):
        if value in read:
            stores.append(window.store(scope, by_value[value], element))
    lowering.launch(scope, op.mnemonic, window.around(stores), node.origins)


def _all_reach_in(op: MaxPool, x: Value) -> bool:
    """Whether each window has the element of x that is nearest to any of its places, whatever the sizes."""
    return set(op.dilation) == {1} and all(bounds(size)[0] >= 1 for size in x.type.shape[2:])


def _maximum(window: Window) -> k.Expr:
    """The largest alone, the first of equal ones; NaN above all. The nearest element, which stands in the window too, is read for
    one outside."""
    best: k.Expr | None = None
    for offset in window.offsets():
        element, _, inside = window.element(offset, nearest=True)
        if inside is not None:
            element = k.select(inside, element, k.monoid("max", element.dtype).identity[0])
        if best is not None:
            element = larger(best, element)
        best = element
    assert best is not None
    return best


def _first_largest(window: Window) -> tuple[k.Expr, k.Expr]:
    """The largest and its place."""
    best: k.Expr = k.zero(window.x.type.dtype)
    where: k.Expr = k.const(-1, i64)
    padded = any(any(p) for p in window.op.padding)
    for count, offset in enumerate(window.offsets()):
        element, index, inside = window.element(offset)
        flat = window.flat(index)
        if count == 0 and not padded:
            best, where = element, flat
            continue
        wins = element > best
        if element.dtype.is_float:
            wins = wins | (element.ne(element) & best.eq(best))
        if padded:
            wins = wins | (where < 0)
            if inside is not None:
                wins = wins & inside
        best, where = k.select(wins, element, best), k.select(wins, flat, where)
    return best, where


def _largest(window: Window) -> tuple[k.Var, k.Var, k.Reduce]:
    """The same in loops; what lies outside x loses against everything."""
    dims = window.dims()
    element, index, inside = window.element([d.var for d in dims])
    monoid = k.argmax(element.dtype)
    flat = window.flat(index)
    if inside is not None:
        lowest, last = monoid.identity
        element, flat = k.select(inside, element, lowest), k.select(inside, flat, last)
    best, where = k.Var("best", element.dtype), k.Var("where", i64)
    return best, where, k.Reduce((best, where), monoid, dims, (element, flat))


def window_sum(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """The sum over the window in row-major order; what lies outside counts as 0."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, WindowSum)
    (tail,) = tails
    layout = tail.memory.layout
    if layout is not None:
        zero_rim(lowering, tail.memory, tail.value.type.shape, node.origins)
    scope = KernelScope()
    pull = lowering.pull(scope, layout is not None)
    window = Window(pull, x, node.results[0], op, op.base_dilation, layout)
    acc = accumulator(x.type.dtype, None)
    total: k.Expr | None = None
    before: list[k.Stmt] = []
    dims = window.dims() if window.is_large else ()
    for offset in [[d.var for d in dims]] if dims else window.offsets():
        element, _, inside = window.element(offset)
        wide = element.cast(acc)
        if inside is not None:
            wide = k.select(inside, wide, k.zero(acc))
        total = wide if total is None else total + wide
    assert total is not None
    if dims:
        result = k.Var("r", acc)
        before.append(k.reduction("add", result, dims, total))
        total = result
    pull.give(node.results[0], window.vars, total.cast(x.type.dtype))
    store = window.store(scope, tail.memory, pull.read(tail.value, window.vars))
    lowering.launch(scope, op.mnemonic, window.around([*before, store]), node.origins)


def fold_patches(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """For each element of the result the sum, in the order of the window's places, of what was read there."""
    op, x, result = node.op, node.operands[0], node.results[0]
    assert isinstance(op, FoldPatches)
    (tail,) = tails
    scope = KernelScope()
    pull = lowering.pull(scope)
    loops = tuple(k.Var(f"i{axis}") for axis in range(result.type.rank))
    acc = accumulator(x.type.dtype, None)
    total: k.Expr = k.zero(acc)
    for number, offset in enumerate(places(*(range(size) for size in op.window))):
        at: list[k.Expr] = [loops[0], pull.affine(loops[1], op.places, number)]
        tests: list[k.Expr] = []
        for axis, place in enumerate(offset):
            # result[i] was read by window o at this place where o * stride = i + low - place * dilation
            shift = place * op.dilation[axis] - op.padding[axis][0]
            window, inside = pull.unpad(
                loops[axis + 2], shift, 1, op.strides[axis] - 1, x.type.shape[axis + 2]
            )
            at.append(window)
            tests += inside
        test = pull.all_of(tests)
        wide = pull.read(x, tuple(at), test).cast(acc)
        total = total + (wide if test is None else k.select(test, wide, k.zero(acc)))
    pull.give(result, loops, total.cast(x.type.dtype))
    stored = pull.read(tail.value, loops)
    store = scope.output(tail.memory, tail.value.type.shape).store(loops, stored)
    statements = nest([store], list(zip(loops, result.type.shape, strict=True)), vector=True)
    lowering.launch(scope, op.mnemonic, statements, node.origins)
