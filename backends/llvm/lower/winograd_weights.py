"""The derivative by weights of 3 x 3 windows by Winograd's transforms read the other way round; see winograd_tiles.py.

Rows of the 36 products are input channels, columns output channels, and k counts the tiles of all images. A task takes some
channels of each side and a part of the tiles, as the shapes say; its tiles go through in groups, in order, so that the transformed
places and the sums stay in the second cache. The sums become weights at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ....ir.graph import Node
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import ceil_div, rest_of
from ..schedule import tile_heights, tile_shape
from .blocked import in_layout
from .conv_weights import unpack
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .weights_plan import WeightsPlan
from .winograd_tiles import Grid, Side, by_places, by_results, of_weights, on_both_axes

__all__ = ["winograd_weights"]


def winograd_weights(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: WeightsPlan) -> None:
    """For each part of the tiles and group of channels on each side: transform, multiply, and transform the sums back."""
    x, g, share, (tail,) = plan.x, plan.g, plan.share, tails
    assert share is not None
    source = in_layout(lowering, x, plan.x_block, plan.halo)
    slope = in_layout(lowering, g, plan.g_block, plan.g_halo)
    assert source.layout is not None and slope.layout is not None
    most, panel, lanes = tile_shape(lowering.target, plan.g_block, slope.layout.blocks)
    columns, tall, wide = panel * plan.g_block, share.down * plan.x_block, share.across * plan.g_block
    inner, blocks = source.layout.blocks, slope.layout.blocks
    over_sides = -(-blocks // share.across), -(-inner // share.down)

    grid = Grid(g.type.shape)
    each, held = k.maximum(ceil_div(grid.tiles, share.parts), share.least), share.group
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    places = Side.of(scope, x, source, plan.halo, 6, by_places)
    slopes = Side.of(scope, g, slope, plan.g_halo, 4, by_results)
    # one more than there are: the 36 squares of a buffer would meet in the same sets of the first cache
    v = k.Buffer("v", f32, (6, 6, held + 1, tall), align=64)
    w = k.Buffer("w", f32, (6, 6, held + 1, wide), align=64)
    sums = k.Buffer("m", f32, (6, 6, tall + 1, wide), align=64)

    part, over, side, piece = (k.Var(name) for name in ("part", "across", "down", "piece"))
    begin, left, first, count = (k.Var(name) for name in ("begin", "left", "first", "count"))
    zero = k.as_index(0)
    high, width = k.Var("rows"), k.Var("blocks")
    into = [
        places.spread(pull, grid, v, first, count, (side * share.down, high)),
        slopes.spread(pull, grid, w, first, count, (over * share.across, width)),
    ]
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
        tile_heights(most, inner * plan.x_block, tall),
    )
    products = k.For(row, 6, (k.For(column, 6, (k.For(p, width // panel, (product,)),)),))
    body: list[k.Stmt] = [
        k.Let(first, begin + piece * held),
        k.Let(count, k.minimum(left - piece * held, held)),
        *into,
        products,
    ]
    apart = (share.parts, *over_sides, 9, tall, wide)
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

    def everywhere(body: Sequence[k.Stmt]) -> k.For:
        lanes = k.For(lane, plan.g_block, tuple(body), "vector")
        return k.For(i, high * plan.x_block, (k.For(b, width, (lanes,)),))

    none = [s.buffer.store(s.index, k.zero(f32)) for s in stores]
    task = [
        k.Let(begin, part * each),
        k.Let(left, k.minimum(k.as_index(grid.tiles) - begin, each)),
        k.Let(high, rest_of(inner, side * share.down, share.down)),
        k.Let(width, rest_of(blocks, over * share.across, share.across)),
        k.For(piece, (left + (held - 1)) // held, tuple(body)),
        k.If(left > 0, (everywhere(stores),), (everywhere(none),)),
    ]
    loops = nest(task, list(zip((part, over, side), apart[:3], strict=True)))
    lowering.launch(scope, "winograd_weights", loops, node.origins, scratch=(v, w, sums))
    unpack(lowering, node, tail, memory, apart, run=0)
