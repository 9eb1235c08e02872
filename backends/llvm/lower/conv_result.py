"""Where a convolution over blocks puts its result: into the blocks that its readers want, or through them into plain memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product as places

from ....ir.dims import Dim, product
from ....ir.graph import Node
from ....ir.types import f32
from .. import kernel_ir as k
from ..layout import Layout
from .blocked import blocked_map, blocked_memory, unblock, zero_rim
from .loops import nest
from .lowering import Lowering, Tail
from .map_loops import uses_any
from .memory import KernelScope
from .pooling import larger
from .pull import Index, Pull

__all__ = ["ConvResult"]


class ConvResult:
    """The memory of a convolution's result. Its rim is zeroed by `clear`, or row by row by `rim`.

    Attributes:
        layout: the blocks that the kernel writes
    """

    def __init__(self, lowering: Lowering, node: Node, tail: Tail, block: int) -> None:
        self.tail, self.shape = tail, tail.stored.type.shape
        channels = self.shape[1]
        assert isinstance(channels, int)
        self.channels = channels
        given = tail.memory.layout
        if given is not None and given.block == block:
            self.memory, self.layout = tail.memory, given
        else:
            self.layout = Layout(channels, block, ((0, 0),) * (len(self.shape) - 2))
            self.memory = blocked_memory(tail.stored, self.layout)

    def clear(self, lowering: Lowering, node: Node) -> None:
        """Before the kernel: zero the rim."""
        zero_rim(lowering, self.memory, self.shape, node.origins)

    def rim(self, scope: KernelScope, image: k.Expr, block: k.Expr, row: k.Expr) -> list[k.Stmt]:
        """What zeroes the rim beside a row of an image, and before the first row and after the last: for who writes
        the row has its lines."""
        high, wide = self.shape[2:]
        assert isinstance(high, int)
        (above, below), (left, right) = self.layout.halo
        buffer = scope.output(self.memory, self.layout.shape(self.shape))

        def zeros(rows: int, columns: Dim, first: k.Index, start: Dim) -> list[k.Stmt]:
            y, x, lane = k.Var("y"), k.Var("x"), k.Var("c")
            at = (image, block, y + first, x + start, lane)
            loops = [(y, rows), (x, columns), (lane, self.layout.block)]
            return nest([buffer.store(at, k.zero(f32))], loops, vector=True, parallel=False)

        found = zeros(1, left, row + above, 0) if left else []
        found += zeros(1, right, row + above, wide + left) if right else []
        whole = wide + left + right
        found += [k.If(row < 1, tuple(zeros(above, whole, 0, 0)))] if above else []
        found += (
            [k.If(k.as_index(high - 2) < row, tuple(zeros(below, whole, high + above, 0)))] if below else []
        )
        return found

    def store(
        self,
        scope: KernelScope,
        pull: Pull,
        node: Node,
        block: k.Expr,
        lane: k.Expr,
        place: Index,
        acc: k.Expr,
    ) -> k.Store:
        """The tail of the sum `acc`, stored: at image and places `place`, in a lane of a block; zero beyond the channels."""
        return self.pooled(scope, pull, node, block, lane, place, {(0,) * (len(place) - 1): acc})

    def pooled(
        self,
        scope: KernelScope,
        pull: Pull,
        node: Node,
        block: k.Expr,
        lane: k.Expr,
        place: Index,
        sums: Mapping[tuple[int, ...], k.Expr],
    ) -> k.Store:
        """The largest of the tails of sums at the places of a window, stored at the place of the pool."""
        channel = block
        if self.layout.block > 1:
            channel = pull.split(block * self.layout.block + lane, self.layout.block, block, lane)
        index = (place[0], channel, *place[1:])
        inside = channel < self.channels if self.layout.ragged else None
        element: k.Expr | None = None
        for offset, acc in sums.items():
            at = index
            if self.tail.pool is not None:
                steps = zip(place[1:], self.tail.window, offset, strict=True)
                at = (*index[:2], *(pull.affine(i, size, within) for i, size, within in steps))
            pull.give(node.results[0], at, acc)
            found = pull.read(self.tail.value, at, inside)
            element = found if element is None else larger(element, found)
        assert element is not None
        if inside is not None:
            element = k.select(inside, element, k.zero(element.dtype))
        layout, shape, at = pull.merged(self.layout, self.shape, index)
        return scope.output(self.memory, layout.shape(shape)).store(pull.blocked(layout, at), element)

    def window_of(
        self,
        scope: KernelScope,
        pull: Pull,
        node: Node,
        block: k.Expr,
        lane: k.Expr,
        place: Index,
        sum_at: Callable[[int, int], k.Expr],
    ) -> tuple[k.Stmt, ...]:
        """The sums of a window, by row and column in it, and the store of the pool."""
        down, along = self.tail.window
        sums: dict[tuple[int, ...], k.Expr] = {}
        bound: list[k.Stmt] = []
        for y, x in places(range(down), range(along)):
            acc = k.Var(f"acc{y}{x}", f32)
            bound.append(k.Let(acc, sum_at(y, x)))
            sums[y, x] = acc
        return (*bound, self.pooled(scope, pull, node, block, lane, place, sums))

    def merges(self, lowering: Lowering, node: Node) -> bool:
        """Whether all places of an image can be one row: neither the result nor what its tail reads has a rim between rows or
        asks for a row."""
        spatial = self.shape[2:]
        if len(spatial) < 2 or self.tail.pool is not None or any(map(any, self.layout.halo)):
            return False
        scope, p = KernelScope(), k.Var("p")
        pull = lowering.pull(scope, blocked=True)
        place = pull.reshaped((p,), (product(spatial),), spatial)
        block, lane, image, acc = k.Var("cb"), k.Var("c"), k.Var("n"), k.Var("acc", f32)
        store = self.store(scope, pull, node, block, lane, (image, *place), acc)
        parts = set(place) - {p, *(e for e in place if isinstance(e, k.Const))}
        return not any(uses_any(e, parts) for e in (store.value, *store.index))

    def finish(self, lowering: Lowering) -> None:
        """After the kernel: copy the result to where it belongs, plain or in blocks of another size, if that is elsewhere."""
        if self.memory is not self.tail.memory:
            lowering.memory[self.tail.stored] = self.memory
            if self.tail.memory.layout is None:
                unblock(lowering, self.tail.stored, self.memory, self.tail.memory)
            else:
                blocked_map(lowering, self.tail.stored, self.tail.memory)
