"""The derivative by weights of 3 x 3 windows by Winograd's transforms read the other way round; see winograd_tiles.py.

Rows of the 36 products are input channels, columns output channels, and k counts the tiles of all images. A task takes some
channels of each side and a part of the tiles, as the shapes say; its tiles go through in groups, in order, so that the transformed
places and the sums stay in the second cache. The sums become weights at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ....ir.graph import Node
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import ceil_div, known, rest_of
from ..schedule import tile_heights, tile_shape
from .blocked import in_layout
from .conv_weights import PARTS, WeightsPlan, unpack
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .winograd_tiles import Grid, Side, by_places, by_results, of_weights, on_both_axes

__all__ = ["winograd_weights"]

BLOCKS = 4
"""Blocks of channels of a task on each side."""

GROUP = 32
"""Tiles that go through together."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """How the blocks of one side are shared out: `each` to a group."""

    blocks: int
    each: int

    @property
    def groups(self) -> int:
        return -(-self.blocks // self.each)


def _cut(blocks: int, unit: int) -> _Cut:
    """Groups of about equal size, each of whole units."""
    units, most = blocks // unit, BLOCKS // unit
    return _Cut(blocks, -(-units // -(-units // most)) * unit)


def winograd_weights(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: WeightsPlan) -> None:
    """For each part of the tiles and group of channels on each side: transform, multiply, and transform the sums back."""
    x, g, (tail,) = plan.x, plan.g, tails
    source = in_layout(lowering, x, plan.x_block, plan.halo)
    slope = in_layout(lowering, g, plan.g_block, plan.g_halo)
    assert source.layout is not None and slope.layout is not None
    most, panel, lanes = tile_shape(lowering.target, plan.g_block, slope.layout.blocks)
    down, across = _cut(source.layout.blocks, 1), _cut(slope.layout.blocks, panel)
    columns, tall, wide = panel * plan.g_block, down.each * plan.x_block, across.each * plan.g_block

    grid = Grid(g.type.shape)
    tiles = known(grid.tiles)
    parts = -(-PARTS // (down.groups * across.groups))
    share = ceil_div(grid.tiles, parts)
    held = GROUP if tiles is None else _equal(-(-tiles // parts), GROUP)
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    pairs = (source, plan.halo), (slope, plan.g_halo)
    (x_rim, g_rim) = (
        [have - want for (have, _), (want, _) in zip(m.layout.halo, halo, strict=True)]  # type: ignore[union-attr]
        for m, halo in pairs
    )
    places = Side(scope.view(source, source.layout.shape(x.type.shape)), x_rim, 6, by_places)
    slopes = Side(scope.view(slope, slope.layout.shape(g.type.shape)), g_rim, 4, by_results)
    v = k.Buffer("v", f32, (6, 6, held, tall), align=64)
    w = k.Buffer("w", f32, (6, 6, held, wide), align=64)
    sums = k.Buffer("m", f32, (6, 6, tall, wide), align=64)

    part, over, side, piece, tile = (k.Var(name) for name in ("part", "across", "down", "piece", "tile"))
    begin, left, first, count = (k.Var(name) for name in ("begin", "left", "first", "count"))
    zero = k.as_index(0)
    high, width = k.Var("rows"), k.Var("blocks")
    into = k.For(
        tile,
        count,
        (
            *grid.place(first + tile),
            places.spread(pull, grid, v, tile, high, side * down.each),
            slopes.spread(pull, grid, w, tile, width, over * across.each),
        ),
    )
    row, column, p = k.Var("row"), k.Var("column"), k.Var("panel")
    product = k.Tile(
        most,
        columns // lanes,
        lanes,
        k.Load(v, (row, column, zero, zero)),
        k.as_index(1),
        k.Load(w, (row, column, zero, p * columns)),
        k.as_index(lanes),
        k.Load(sums, (row, column, zero, p * columns)),
        k.as_index(wide),
        high * plan.x_block,
        (k.Step(count, k.as_index(tall), k.as_index(wide)),),
        piece > 0,
        tile_heights(most, down.blocks * plan.x_block, tall),
    )
    products = k.For(row, 6, (k.For(column, 6, (k.For(p, width // panel, (product,)),)),))
    body: list[k.Stmt] = [
        k.Let(first, begin + piece * held),
        k.Let(count, k.minimum(left - piece * held, held)),
        into,
        products,
    ]
    pieces = k.maximum((left + (held - 1)) // held, 1)
    apart = (parts, across.groups, down.groups, 9, tall, wide)
    memory = Memory("arena", f32, prod(apart))
    made = scope.output(memory, apart)
    i, b, lane = k.Var("i"), k.Var("ob"), k.Var("c")
    j = b * plan.g_block + lane
    square = [[sums.at(k.as_index(y), k.as_index(z), i, j) for z in range(6)] for y in range(6)]
    stores = [
        made.store((part, over, side, k.as_index(3 * y + z), i, j), e)
        for y, line in enumerate(on_both_axes(square, of_weights))
        for z, e in enumerate(line)
    ]
    out = k.For(
        i, high * plan.x_block, (k.For(b, width, (k.For(lane, plan.g_block, tuple(stores), "vector"),)),)
    )
    task = [
        k.Let(begin, part * share),
        k.Let(left, k.maximum(k.minimum(k.as_index(grid.tiles) - begin, share), 0)),
        k.Let(high, rest_of(down.blocks, side * down.each, down.each)),
        k.Let(width, rest_of(across.blocks, over * across.each, across.each)),
        k.For(piece, pieces, tuple(body)),
        out,
    ]
    loops = nest(task, [(part, parts), (over, across.groups), (side, down.groups)])
    lowering.launch(scope, "winograd_weights", loops, node.origins, scratch=(v, w, sums))
    unpack(lowering, node, tail, memory, apart, run=0)


def _equal(total: int, most: int) -> int:
    """The size of equal parts, none larger than `most`."""
    return -(-total // -(-total // most)) if total else 1
