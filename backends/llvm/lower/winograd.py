"""Convolution of 3 x 3 windows by Winograd's F(4x4, 3x3): 36 products of matrices instead of nine of four times the size.

The transforms are those of winograd_tiles.py. Dilated windows are windows over every second (third...) place: so are their tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product as places
from math import prod

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import bool_, f32
from .. import kernel_ir as k
from ..extents import ceil_div, known, rest_of
from ..schedule import tile_heights, tile_shape
from ..tile_text import TALL
from .blocked import in_layout
from .conv_plan import ConvPlan, near
from .conv_result import ConvResult
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .winograd_tiles import Grid, Side, Vector, by_places, by_weights, of_results, on_both_axes

__all__ = ["winograd"]

CACHED = 256 << 10
"""Bytes of transformed tiles that should stay near."""

PAGE = 4096
"""Bytes of memory that fill each set of the first cache once."""

MOST = 3 << 19
"""Bytes of transformed tiles that the stack may hold."""


def winograd(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """For each group of tiles: transform its places, multiply, transform back, and run the epilogue."""
    x, (tail,) = node.operands[0], tails
    shape = node.results[0].type.shape
    source = in_layout(lowering, x, plan.in_block, plan.halo)
    assert source.layout is not None
    result = ConvResult(lowering, node, tail, plan.out_block)
    result.clear(lowering, node)
    depth = source.layout.blocks * plan.in_block
    blocks = result.layout.blocks
    rows, panel, lanes = tile_shape(lowering.target, plan.out_block, blocks)
    columns, panels = panel * plan.out_block, blocks // panel
    packed = _pack(lowering, node, depth, columns, panels)

    assert isinstance(node.op, Conv)
    far = node.op.rhs_dilation
    grid = Grid(shape, far)
    sizes = shape[2], shape[3]
    sized = all(isinstance(d, int) for d in sizes)
    width, tiles = blocks * plan.out_block, known(grid.tiles)
    group = _group(tiles, depth, width, rows)
    afar = not near(36 * 4 * depth * width, lowering.target)
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    weights = scope.view(packed, (6, 6, panels, depth, columns))
    # a block wider than the channels, and a tile more where that is a page's: the 36 places of a tile would meet in the same sets of the
    # first cache
    apart = depth + plan.in_block
    held = group + 1 if group * apart * f32.bytes % PAGE == 0 else group
    between = (6, 6, held, apart), (6, 6, group, width)
    zero = k.as_index(0)
    task, begin, left = k.Var("task"), k.Var("first"), k.Var("count")
    at_once = group == tiles and afar
    first: k.Expr = begin
    count: k.Expr = left
    if at_once:  # one group would be one thread's: so each stage is shared
        spread, sums = (scope.output(Memory("arena", f32, prod(shape)), shape) for shape in between)
        first, count = zero, k.as_index(group)
    else:
        spread, sums = (
            k.Buffer(name, f32, shape, align=64) for name, shape in zip("vm", between, strict=True)
        )

    # into V
    side = Side.of(scope, x, source, plan.halo, 6, by_places)
    into = side.spread(pull, grid, spread, first, count, (0, source.layout.blocks))

    # the products
    row, column, p = k.Var("row"), k.Var("column"), k.Var("panel")
    product = k.Tile(
        rows,
        columns // lanes,
        lanes,
        k.Load(spread, (row, column, zero, zero)),
        k.as_index(apart),
        k.Load(weights, (row, column, p, zero, zero)),
        k.as_index(lanes),
        k.Load(sums, (row, column, zero, p * columns)),
        k.as_index(width),
        count,
        (k.Step(k.as_index(depth), k.as_index(1), k.as_index(columns)),),
        k.const(False, bool_),
        tile_heights(rows, tiles, group, often_low=not sized),
        afar=group < TALL and afar,
    )
    products = nest([product], [(row, 6), (column, 6), (p, panels)], parallel=at_once)

    # back
    tile_, block_, lane_ = k.Var("tile"), k.Var("cb"), k.Var("c")
    place = grid.place(first + tile_)
    index = block_ * plan.out_block + lane_
    square = [[sums.at(k.as_index(i), k.as_index(j), tile_, index) for j in range(6)] for i in range(6)]
    results = on_both_axes(square, of_results)
    n, corners = grid.n, grid.corners(pull)
    if sized:
        each = _in_registers(lowering, scope, node, result, results, grid, (block_, lane_))
        scratch = () if at_once else (spread, sums)
    else:  # few results of the last tiles of an axis are there: a loop over those that are
        kept = k.Buffer("t", f32, (4, 4, plan.out_block), align=64)
        scratch = (spread, sums, kept)
        stores = [
            kept.store((k.as_index(y), k.as_index(x_), lane_), e)
            for y, row in enumerate(results)
            for x_, e in enumerate(row)
        ]
        i, j, again = k.Var("i"), k.Var("j"), k.Var("c")
        acc = k.Var("acc", f32)
        y, x_ = (c + (var if d == 1 else var * d) for c, var, d in zip(corners, (i, j), far, strict=True))
        one = lowering.pull(scope, blocked=True)
        store = result.store(scope, one, node, block_, again, (n, y, x_), acc)
        inner = k.For(again, plan.out_block, (k.Let(acc, kept.at(i, j, again)), store), "vector")
        down, along = (_there(size, c, d) for size, c, d in zip(sizes, corners, far, strict=True))
        each = (
            k.For(lane_, plan.out_block, tuple(stores), "vector"),
            k.For(i, down, (k.For(j, along, (inner,)),)),
        )
    out = nest([*place, *each], [(block_, blocks), (tile_, count)], parallel=at_once)
    stages = [replace(into, kind="parallel") if at_once else into, *products, *out]
    if not at_once:
        stages = [k.Let(begin, task * group), k.Let(left, rest_of(grid.tiles, begin, group)), *stages]
        stages = nest(stages, [(task, ceil_div(grid.tiles, group))])
    lowering.launch(scope, "winograd", stages, node.origins, scratch=scratch)
    result.finish(lowering)


def _in_registers(
    lowering: Lowering,
    scope: KernelScope,
    node: Node,
    result: ConvResult,
    results: Sequence[Vector],
    grid: Grid,
    channel: tuple[k.Expr, k.Var],
) -> tuple[k.Stmt, ...]:
    """The results of a tile, or the pools of its whole windows; of the last tiles some lie beyond the last."""
    body: list[k.Stmt] = []
    pull = lowering.pull(scope, blocked=True)
    window = result.tail.window
    starts = grid.corners(pull)
    if result.tail.pool is not None:
        starts = [pull.affine(t, 4 // size, 0) for t, size in zip(grid.at, window, strict=True)]
    for first in places(*(range(4 // size) for size in window)):
        corner = [pull.affine(c, 1, d * at) for c, d, at in zip(starts, grid.far, first, strict=True)]
        tests: list[k.Expr] = []
        for axis, (place, at, d) in enumerate(zip(corner, first, grid.far, strict=True)):
            size, tiles = result.shape[2 + axis], grid.dims[1 + axis].extent
            assert isinstance(size, int) and isinstance(tiles, int)
            if (at + 1) * d > size - (tiles - d) * (4 // window[axis]):
                tests.append(place < size)
        one = lowering.pull(scope, blocked=True)
        y, x = (size * at for size, at in zip(window, first, strict=True))
        statements = result.window_of(
            scope, one, node, *channel, (grid.n, *corner), lambda i, j, y=y, x=x: results[y + i][x + j]
        )
        inside = pull.all_of(tests)
        body += statements if inside is None else [k.If(inside, statements)]
    return (k.For(channel[1], result.layout.block, tuple(body), "vector"),)


def _there(size: Dim, corner: k.Expr, dilation: int) -> k.Expr:
    """How many of a tile's results along an axis there are."""
    if dilation == 1:
        return rest_of(size, corner, 4)
    return k.minimum((k.as_index(size) - corner + (dilation - 1)) // dilation, 4)


def _group(tiles: int | None, depth: int, width: int, rows: int) -> int:
    """Tiles that go through together: as many as stay in cache, more where the weights are larger still. Where they are known, groups
    are about equal, and several are an even number."""
    each = 36 * 4 * (depth + width)
    bound = min(MOST, max(CACHED, 36 * 4 * depth * width // 4))
    group = most = max(1, bound // each)
    if group > rows:
        group -= group % rows
    if tiles is None:
        return group
    parts = -(-tiles // group)
    if parts > 1 and parts % 2:
        parts += -1 if -(-tiles // (parts - 1)) <= most else 1
    return -(-tiles // parts) if tiles else 1


def _pack(lowering: Lowering, node: Node, depth: int, columns: int, panels: int) -> Memory:
    """The transformed weights as [6][6][panel][input channel][column], zero beyond the channels."""
    w = node.operands[1]
    out, channels = w.type.shape[:2]
    assert isinstance(out, int) and isinstance(channels, int)
    memory = lowering.memory_of(w)
    fixed = memory is not None and lowering.is_fixed(memory)
    place = Memory("prepared" if fixed else "arena", f32, 36 * panels * depth * columns)
    scope = KernelScope()
    pull = lowering.pull(scope)
    panel, channel, j = k.Var("panel"), k.Var("c"), k.Var("j")
    o = panel * columns + j
    tests = [o < out] if panels * columns != out else []
    tests += [channel < channels] if depth != channels else []
    inside = pull.all_of(tests)
    square: list[Vector] = []
    for y in range(3):
        row: list[k.Expr] = []
        for x in range(3):
            element = pull.read(w, (o, channel, k.as_index(y), k.as_index(x)), inside)
            if inside is not None and not isinstance(element, k.Load):
                element = k.select(inside, element, k.zero(f32))
            row.append(element)
        square.append(row)
    target = scope.output(place, (6, 6, panels, depth, columns))
    body = [
        target.store((k.as_index(i), k.as_index(n), panel, channel, j), e)
        for i, row in enumerate(on_both_axes(square, by_weights))
        for n, e in enumerate(row)
    ]
    loops = nest(body, [(panel, panels), (channel, depth), (j, columns)], vector=True)
    lowering.packing(scope, fixed, loops, node.origins)
    return place
