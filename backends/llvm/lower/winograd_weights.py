"""The derivative by weights of 3 x 3 windows by Winograd's transforms read the other way round; see winograd_tiles.py.

Rows and columns of the 36 products are input and output channels, or the other way round where the result is turned at once; k
counts the tiles of all images. A task takes some channels of each side and a part of the tiles, as the shapes say; its tiles go
through in groups, in order, so that the transformed places and the sums stay in the second cache. The sums become weights at the
end, in the order in which the result lies, so that what follows runs over neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest

from ....ir.dims import MAX_DIM, symbol
from ....ir.graph import Node
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import ceil_div, rest_of
from ..schedule import tile_heights, tile_shape
from .blocked import in_layout
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .pull import Pull
from .tails import turned
from .weights_plan import WeightsPlan
from .winograd_tiles import Grid, Side, by_places, by_results, of_weights, on_both_axes

__all__ = ["winograd_weights"]

LANES = 16
"""Channels of a block."""


def winograd_weights(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: WeightsPlan) -> None:
    """For each part of the tiles and group of channels on each side: transform, multiply, and transform the sums back."""
    x, g, share, (tail,) = plan.x, plan.g, plan.share, tails
    assert share is not None
    source = in_layout(lowering, x, LANES, plan.halo)
    slope = in_layout(lowering, g, LANES, plan.g_halo)
    result = _Result(lowering, node, tail, share.parts)
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    sides = [
        (Side.of(scope, x, source, plan.halo, 6, by_places), share.inner),
        (Side.of(scope, g, slope, plan.g_halo, 4, by_results), share.outer),
    ]
    (down, tall), (across, wide) = reversed(sides) if result.turned else sides
    most, panel, lanes = tile_shape(lowering.target, LANES, across.blocks)
    columns, held = panel * LANES, share.group
    # one more than there are: the 36 squares of a buffer would meet in the same sets of the first cache
    v = k.Buffer("v", f32, (6, 6, held + 1, tall * LANES), align=64)
    w = k.Buffer("w", f32, (6, 6, held + 1, wide * LANES), align=64)
    sums = k.Buffer("m", f32, (6, 6, tall * LANES + 1, wide * LANES), align=64)
    grid = Grid(g.type.shape)
    each = k.maximum(ceil_div(grid.tiles, share.parts), share.least)

    part, row_group, group, piece = (k.Var(name) for name in ("part", "rows", "columns", "piece"))
    begin, left, first, count = (k.Var(name) for name in ("begin", "left", "first", "count"))
    rows, blocks, zero = k.Var("high"), k.Var("wide"), k.as_index(0)
    row, column, p = k.Var("row"), k.Var("column"), k.Var("panel")
    multiply = k.Tile(
        most,
        columns // lanes,
        lanes,
        k.Load(v, (row, column, zero, zero)),
        k.as_index(1),
        k.Load(w, (row, column, zero, p * columns)),
        k.as_index(lanes),
        k.Load(sums, (row, column, zero, p * columns)),
        k.as_index(wide * LANES),
        rows * LANES,
        (k.Step(count, k.as_index(tall * LANES), k.as_index(wide * LANES)),),
        piece > 0,
        tile_heights(most, down.blocks * LANES, tall * LANES),
    )
    products = k.For(row, 6, (k.For(column, 6, (k.For(p, blocks // panel, (multiply,)),)),))
    body = [
        k.Let(first, begin + piece * held),
        k.Let(count, k.minimum(left - piece * held, held)),
        down.spread(pull, grid, v, first, count, (row_group * tall, rows)),
        across.spread(pull, grid, w, first, count, (group * wide, blocks)),
        products,
    ]
    made = k.Buffer("t", f32, (LANES * 9,), align=64)
    task = [
        k.Let(begin, part * each),
        k.Let(left, k.minimum(k.as_index(grid.tiles) - begin, each)),
        k.Let(rows, rest_of(down.blocks, row_group * tall, tall)),
        k.Let(blocks, rest_of(across.blocks, group * wide, wide)),
        k.For(piece, (left + (held - 1)) // held, tuple(body)),
    ]
    i, b = k.Var("i"), k.Var("b")
    at = row_group * (tall * LANES) + i, group * wide + b
    squares = k.Part(
        _weights(),
        (sums[zero, zero, i, b * LANES], made[0]),
        (("square", k.as_index(sums.steps[1])),),
    )
    j = k.Var("j")
    none = k.For(j, LANES * 9, (made.store(j, k.zero(f32)),), "vector")
    out = k.For(
        b, blocks, (k.If(left > 0, (squares,), (none,)), *result.stored(scope, pull, part, *at, made))
    )
    height = rest_of(result.rows, row_group * (tall * LANES), tall * LANES)
    task.append(k.For(i, height, (out,)))
    loops = [(part, share.parts), (row_group, -(-down.blocks // tall)), (group, -(-across.blocks // wide))]
    lowering.launch(scope, "winograd_weights", nest(task, loops), node.origins, scratch=(v, w, sums, made))
    result.finish()


@cache
def _weights() -> k.Kernel:
    """The 36 squares of sums as 3 x 3 weights, channel by channel."""
    square = symbol("square", 0, MAX_DIM)
    squares = k.Buffer("squares", f32, (6, 6, LANES), (6 * square, square, 1))
    weights = k.Buffer("weights", f32, (LANES, 9))
    lane, numbers = k.Var("c"), [k.as_index(i) for i in range(9)]
    sums = [[squares.at(numbers[i], numbers[j], lane) for j in range(6)] for i in range(6)]
    found = [e for line in on_both_axes(sums, of_weights) for e in line]
    stores = [weights.store((lane, n), e) for n, e in zip(numbers, found, strict=True)]
    return k.Kernel("weights", (squares, weights), (k.For(lane, LANES, tuple(stores), "vector"),))


class _Result:
    """Where the weights go: through what follows them, or first into sums of parts of the tiles.

    Attributes:
        turned: whether the result has output channels first, as the weights themselves; else input channels
        rows:   channels of its first axis
    """

    def __init__(self, lowering: Lowering, node: Node, tail: Tail, parts: int) -> None:
        self.lowering, self.node, self.tail, self.parts = lowering, node, tail, parts
        self.turned = turned(lowering, tail.value)
        rows, columns = tail.value.type.shape[:2]
        assert isinstance(rows, int) and isinstance(columns, int)
        self.rows, self.columns = rows, columns
        self.apart = Memory("arena", f32, parts * rows * columns * 9) if parts > 1 else None

    def stored(
        self, scope: KernelScope, pull: Pull, part: k.Expr, row: k.Expr, block: k.Expr, made: k.Buffer
    ) -> list[k.Stmt]:
        """The weights of a row and block of columns, stored."""
        at = k.Var("at")
        count = rest_of(self.columns, block * LANES, LANES) * 9
        column = block * (LANES * 9) + at
        if self.apart is None:
            body = self.last(scope, pull, row, column, made[at])
        else:
            sums = scope.output(self.apart, (self.parts, self.rows, self.columns * 9))
            body = [sums.store((part, row, column), made[at])]
        return [k.For(at, count, tuple(body), "vector")]

    def last(self, scope: KernelScope, pull: Pull, row: k.Expr, column: k.Expr, sum_: k.Expr) -> list[k.Stmt]:
        """The sum of one weight through its tail, stored."""
        acc, value = k.Var("acc", f32), self.tail.value
        channel, *place = pull.reshaped((column,), (self.columns * 9,), (self.columns, 3, 3))
        first, second = (channel, row) if self.turned else (row, channel)
        pull.give(self.node.results[0], (first, second, *place), acc)
        element = pull.read(value, (row, channel, *place))
        target = scope.output(self.tail.memory, (self.rows, self.columns * 9))
        return [k.Let(acc, sum_), target.store((row, column), element)]

    def finish(self) -> None:
        """Add what was summed apart, by a tree."""
        if self.apart is None:
            return
        scope = KernelScope()
        pull = self.lowering.pull(scope)
        sums = scope.view(self.apart, (self.parts, self.rows, self.columns * 9))
        row, column = k.Var("row"), k.Var("column")
        total: list[k.Expr] = [sums.at(part, row, column) for part in range(self.parts)]
        while len(total) > 1:
            pairs = zip_longest(total[::2], total[1::2])
            total = [a if b is None else a + b for a, b in pairs]
        body = self.last(scope, pull, row, column, total[0])
        loops = nest(body, [(row, self.rows), (column, self.columns * 9)], vector=True)
        self.lowering.launch(scope, "add", loops, self.node.origins)
