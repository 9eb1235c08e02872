"""Convolutions over blocks of channels; see docs/design/layout.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ....ir.dims import Dim, product
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import bool_, f32
from .. import kernel_ir as k
from ..extents import ceil_div, known, rest_of, times
from ..finish import finishes
from ..layout import Layout
from ..schedule import tile_heights, tile_shape
from .blocked import in_layout
from .conv_plan import ConvPlan, row_axis
from .conv_result import ConvResult
from .loops import ROWS, nest, nest_in_parts
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory

__all__ = ["direct", "window_steps"]

PIECE = 126
"""Places of a row that are summed before their epilogue runs."""


FETCHED = 256
"""Places of a result up to which the next panel of weights is fetched ahead."""

KEPT = 640 << 10
"""Bytes of weights up to which rows are shared before panels: each thread reads all of them, once a part."""

NEAR = 256 << 10
"""Bytes of a panel of weights that the second cache holds beside the one in use."""


def direct(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """One tile for each image, panel of output channels, row, and piece of the row."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    channels, out = x.type.shape[1], shape[1]
    assert isinstance(channels, int) and isinstance(out, int)
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    source = in_layout(lowering, x, plan.in_block, plan.halo)
    layout = source.layout
    assert layout is not None
    result = ConvResult(lowering, node, tail, plan.out_block)

    read, spatial = x.type.shape, shape[2:]
    one = prod(window) == 1 and {*op.strides} == {1} and not any(map(any, (*layout.halo, *op.padding)))
    if one and result.merges(lowering, node):
        op = replace(op, strides=(1,), padding=((0, 0),), lhs_dilation=(1,), rhs_dilation=(1,))
        layout, window = Layout(channels, layout.block, ((0, 0),)), [1]
        shape, read = (*shape[:2], product(spatial)), (*read[:2], product(spatial))
    each = channels // op.groups
    blocks = -(-out // plan.out_block)
    rows, panel, lanes = tile_shape(
        lowering.target, plan.out_block, blocks // op.groups, known(shape[2 + row_axis(shape)])
    )
    columns = panel * plan.out_block
    panels = blocks // panel
    pairs = _in_pairs(lowering, out, panels, panel, each if layout.block > 1 else 1, lanes)
    held = columns - lanes // 2 if pairs else columns
    packed = _pack(lowering, node, plan, columns, panels, each, pairs)
    assert isinstance(packed.size, int)

    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    image = scope.view(source, layout.shape(read))
    weights = scope.view(packed, (panels, packed.size // panels))
    n, p, piece = k.Var("n"), k.Var("panel"), k.Var("piece")
    row = row_axis(shape)
    width = shape[2 + row]
    near = packed.size * f32.bytes <= KEPT
    outer = [(axis, k.Var(f"o{axis}")) for axis in range(len(window)) if axis != row]
    mc = _piece(width, rows, near and not outer)
    start, count, down, along = k.Var("start"), k.Var("count"), *tail.window
    if tail.pool is not None:  # whole windows
        width, mc = result.shape[3] * along, min(PIECE // along, known(result.shape[3]) or PIECE) * along

    def place(along: k.Expr) -> tuple[k.Expr, ...]:
        found: list[k.Expr] = [along] * len(window)
        for axis, var in outer:
            found[axis] = var
        return tuple(found)

    def corner(within: int) -> list[k.Expr]:
        """Where a tile begins in the image: of the row `within` a window of the pool."""
        found: list[k.Expr] = []
        for axis, at in enumerate(place(start)):
            at = pull.affine(at, down, within) if axis != row else at
            found.append(pull.affine(at, op.strides[axis], layout.halo[axis][0] - op.padding[axis][0]))
        return found

    zero = k.as_index(0)
    sums = k.Buffer("sums", f32, (down * mc, columns), align=64)
    steps = window_steps(op, layout, image, window, each, held)
    group = p // (panels // op.groups) * (each // layout.block) if op.groups > 1 else zero
    i, half, lane = k.Var("i"), k.Var("half"), k.Var("c")
    block = half if panels == 1 else p * panel + half if panel > 1 else p
    acc = k.Var("acc", f32)
    at = (
        pull.reshaped(place(start + i), shape[2:], spatial)
        if len(shape[2:]) < len(spatial)
        else place(start + i)
    )
    finish = None
    column = half * plan.out_block + lane
    if tail.pool is None:
        store = result.store(scope, pull, node, block, lane, (n, *at), acc)
        if finishes((store,), i, lane, acc, half):
            finish = k.Finish(i, half, lane, plan.out_block, acc, (store,))
        each_place: tuple[k.Stmt, ...] = (k.Let(acc, k.Load(sums, (i, column))), store)
        turns: k.Expr = count
    else:
        where = n, outer[0][1], piece * (mc // along) + i
        each_place = result.window_of(
            scope, pull, node, block, lane, where, lambda y, x: sums.at(i * along + (y * mc + x), column)
        )
        turns = count // along
    tiles = [
        k.Tile(
            rows,
            columns // lanes,
            lanes,
            k.Load(image, (n, group, *corner(within), zero)),
            k.as_index(image.steps[2 + row] * op.strides[row]),
            k.Load(weights, (p, zero)),
            k.as_index(lanes),
            finish or k.Load(sums, (k.as_index(within * mc), zero)),
            k.as_index(columns),
            count,
            steps,
            k.const(False, bool_),
            tile_heights(rows, known(width), mc, often_low=True),
            ahead=_ahead(known(times([shape[0], *shape[2:]])), panels, packed.size),
            pairs=pairs,
        )
        for within in range(down)
    ]
    epilogue: k.Stmt = k.For(lane, plan.out_block, each_place, "vector")
    epilogue = k.For(i, turns, (k.For(half, panel, (epilogue,)),))
    pieces = -(-width // mc) if isinstance(width, int) else ceil_div(width, mc)
    body: list[k.Stmt] = [k.Let(start, piece * mc), k.Let(count, rest_of(width, start, mc)), *tiles]
    body += [] if finish else [epilogue]
    high = [shape[2 + axis] if tail.pool is None else result.shape[2 + axis] for axis, _ in outer]
    if any(map(any, result.layout.halo)) and len(outer) == 1 and row == 1 and pieces == 1 and known(high[0]):
        body.append(k.For(half, panel, tuple(result.rim(scope, n, block, outer[0][1]))))
    else:
        result.clear(lowering, node)
    places: list[tuple[k.Var, k.Index]] = [
        *((var, size) for (_, var), size in zip(outer, high, strict=True)),
        (piece, pieces),
    ]
    around = [(n, shape[0]), (p, panels), *places]
    least = ROWS if outer else 1
    loops = nest_in_parts(body, around, least=least) if near else nest(body, around)
    lowering.launch(scope, "conv", loops, node.origins, scratch=() if finish else (sums,))
    result.finish(lowering)


def _piece(width: Dim, rows: int, shared: bool) -> int:
    """Places of a piece. Where their number is known and threads share pieces: of an even number of equal ones, whole tiles if
    there are such."""
    if not isinstance(width, int) or (width <= PIECE and (not shared or width < 2 * rows)):
        return known(width) or PIECE
    if width <= PIECE:
        return -(-width // 2)
    whole = range(PIECE // rows * rows, PIECE // 2, -rows)
    return next((size for size in whole if width % (2 * size) == 0), PIECE)


def _in_pairs(lowering: Lowering, out: int, panels: int, panel: int, each: int, lanes: int) -> bool:
    """Whether the last vector of the only panel has half as many channels as lanes at most: then steps of k go in pairs, and it
    is not the half of each product wasted."""
    width = lowering.target.lanes(4)
    return (
        panels == 1 and panel > 1 and lanes == width == 16 and 0 < out % lanes <= lanes // 2 and each % 2 == 0
    )


def _ahead(places: int | None, panels: int, weights: Dim) -> int:
    """Weights of a panel, where the next one is worth fetching while it is used: few places use each, so that it hardly hides
    behind them that all come from far."""
    assert isinstance(weights, int)
    each = weights // panels
    return each if panels > 1 and places is not None and places <= FETCHED and 4 * each <= NEAR else 0


def window_steps(
    op: Conv, layout: Layout, image: k.Buffer, window: Sequence[int], channels: int, columns: int
) -> tuple[k.Step, ...]:
    """The nest of the sum: blocks of a group's input channels, window, lanes; those that are one stretch in memory as one step."""
    strides = image.steps
    lanes = min(channels, layout.block)
    nest: list[tuple[int, k.Index]] = [(-(-channels // layout.block), strides[1])]
    nest += [(size, strides[axis] * op.rhs_dilation[axis - 2]) for axis, size in enumerate(window, start=2)]
    nest.append((lanes, 1))
    rest = channels % layout.block
    merged: list[tuple[int, k.Index]] = []
    if rest and channels > layout.block:  # the lanes apart, so that those beyond the channels are left out
        merged = [nest[0], *(step for step in nest[1:-1] if step[0] != 1), nest[-1]]
        nest = []
    for extent, stride in reversed(nest):
        if extent == 1:
            continue
        if merged and isinstance(stride, int) and stride == merged[0][0] * _int(merged[0][1]):
            merged[0] = (extent * merged[0][0], merged[0][1])
        else:
            merged.insert(0, (extent, stride))
    steps: list[k.Step] = []
    below = columns
    for extent, stride in reversed(merged or [(1, 1)]):
        steps.insert(0, k.Step(k.as_index(extent), k.as_index(stride), k.as_index(below)))
        below *= extent
    if rest and channels > layout.block:
        steps[-1] = replace(steps[-1], last=rest)
    return tuple(steps)


def _int(x: k.Index) -> int:
    return x if isinstance(x, int) else -1


def _pack(
    lowering: Lowering,
    node: Node,
    plan: ConvPlan,
    columns: int,
    panels: int,
    channels: int,
    pairs: bool,
) -> Memory:
    """The weights as [panel][block of input channels][window][lane][column], zero beyond the channels; in pairs of lanes, whose last columns lie
    in one vector, as a tile of pairs wants them."""
    w = node.operands[1]
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    memory = lowering.memory_of(w)
    fixed = memory is not None and lowering.is_fixed(memory)
    lanes = min(channels, plan.in_block)
    blocks = -(-channels // plan.in_block)
    half = plan.out_block // 2 if pairs else 0
    whole = columns - 2 * half  # of these the last half of the columns lies between
    depth = blocks * prod(window) * lanes
    place = Memory("prepared" if fixed else "arena", f32, panels * depth * (columns - half))
    scope = KernelScope()
    pull = lowering.pull(scope)
    panel, block, lane, j = k.Var("panel"), k.Var("cb"), k.Var("c"), k.Var("j")
    at = tuple(k.Var(f"w{axis}") for axis in range(len(window)))

    def element(out: k.Expr, channel: k.Expr) -> k.Expr:
        tests = [out < k.as_index(w.type.shape[0])] if panels * columns != w.type.shape[0] else []
        tests += [channel < channels] if blocks * lanes != channels else []
        inside = pull.all_of(tests)
        found = pull.read(w, (out, channel, *at), inside)
        if inside is not None and not isinstance(found, k.Load):
            found = k.select(inside, found, k.zero(f32))
        return found

    outer = list(zip((panel, block, *at), (panels, blocks, *window), strict=True))
    if not pairs:
        target = scope.output(place, (panels, blocks, *window, lanes, columns))
        store = target.store(
            (panel, block, *at, lane, j), element(panel * columns + j, block * plan.in_block + lane)
        )
        body = nest([store], [*outer, (lane, lanes), (j, columns)], vector=True)
    else:
        pair, side, i = k.Var("pair"), k.Var("side"), k.Var("i")
        target = scope.output(place, (panels, blocks, *window, lanes // 2, 2 * (columns - half)))
        channel = block * plan.in_block + pair * 2 + side
        first = target.store((panel, block, *at, pair, side * whole + j), element(j, channel))
        last = target.store((panel, block, *at, pair, i * 2 + side + 2 * whole), element(i + whole, channel))
        both = (k.For(j, whole, (first,), "vector"), k.For(i, half, (last,)))
        body = nest(both, [*outer, (pair, lanes // 2), (side, 2)])
    lowering.packing(scope, fixed, body, node.origins)
    return place
