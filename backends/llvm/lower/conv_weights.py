"""The derivative of a convolution by its weights: batch and channels change places, and the window is the whole image.

Rows of a tile are the lanes of a block of input channels (or, where there are
few channels, the places of the window), columns the output channels of a panel of the slope; the sum runs over rows and
columns of an image inside the tile, and over images outside of it, in order. Where there are few panels and blocks, the images are
summed in parts, as many as the shapes say, so that threads have something to share; a tree adds the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import bool_, f32
from .. import kernel_ir as k
from ..extents import ceil_div, known, rest_of
from ..schedule import tile_heights, tile_shape
from .blocked import in_layout
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory
from .weights_plan import PARTS, WeightsPlan

__all__ = ["conv_weights"]


NEAR = 24 << 10
"""Bytes that should stay in the first cache."""


def conv_weights(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: WeightsPlan) -> None:
    """One tile for each panel, block of input channels, image, and place of the window (or whole window)."""
    op, (tail,) = node.op, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    window = [d for d in shape[2:] if isinstance(d, int)]
    channels, out = plan.x.type.shape[1], plan.g.type.shape[1]
    assert isinstance(channels, int) and isinstance(out, int)
    source = in_layout(lowering, plan.x, plan.x_block, plan.halo)
    slope = in_layout(lowering, plan.g, plan.g_block, ((0, 0),) * len(window))
    assert source.layout is not None and slope.layout is not None

    blocks, inner = slope.layout.blocks, source.layout.blocks
    most, panel, lanes = tile_shape(lowering.target, plan.g_block, blocks)
    if plan.run and prod(window[-2:]) > most:  # all places of the window are rows of one tile
        panel = 1
    columns, panels = panel * plan.g_block, blocks // panel
    tall = prod(window[-2:]) if plan.run else plan.x_block
    loops_of = window[:-2] if plan.run else window

    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    image = scope.view(source, source.layout.shape(plan.x.type.shape))
    slopes = scope.view(slope, slope.layout.shape(plan.g.type.shape))
    places = prod(loops_of)
    images = plan.x.type.shape[0]
    parts = 1 if panels * inner >= PARTS else min(PARTS, max(1, known(images) or PARTS))
    apart = (parts, panels, inner, places, tall, columns)
    sums_memory = Memory("arena", f32, prod(apart))
    sums = scope.output(sums_memory, apart)
    part, p, cb, n, zero = k.Var("part"), k.Var("panel"), k.Var("cb"), k.Var("n"), k.as_index(0)
    at = [k.Var(f"w{axis}") for axis in range(len(loops_of))]
    corner: list[k.Expr] = []
    rim = list(zip(source.layout.halo, op.padding, op.strides, strict=True))
    for axis, ((have, _), (want, _), step) in enumerate(rim):
        if axis < len(at):
            corner.append(pull.affine(at[axis], step, have - want))
        else:
            corner.append(k.as_index(have - want))
    flat: k.Expr = zero
    for var, size in zip(at, loops_of, strict=True):
        flat = flat * size + var
    x_steps, g_steps = image.steps[2:-1], slopes.steps[2:-1]
    low = [have for have, _ in slope.layout.halo]
    high = plan.g.type.shape[2:]
    y, first, rows = k.Var("y"), k.Var("first"), k.Var("rows")
    chunk = _chunk(high, columns + source.layout.block)
    extents: list[k.Index] = [rows, *high[1:]]
    steps = tuple(
        k.Step(k.as_index(size), k.as_index(a * move), k.as_index(b))
        for size, a, move, b in zip(extents, x_steps, op.rhs_dilation, g_steps, strict=True)
    )
    corner[0] = corner[0] + first * op.rhs_dilation[0]
    tile = k.Tile(
        min(most, tall),
        columns // lanes,
        lanes,
        k.Load(image, (n, cb, *corner, zero)),
        k.as_index(op.strides[-1] if plan.run else 1),
        k.Load(slopes, (n, p * panel, first + low[0], *map(k.as_index, low[1:]), zero)),
        k.as_index(slopes.steps[1] if panel > 1 else lanes),
        k.Load(sums, (part, p, cb, flat, zero, zero)),
        k.as_index(columns),
        k.as_index(tall),
        steps,
        k.const(True, bool_),
        (tall,) if plan.run else tile_heights(most, tall, tall),
        plan.run if len(window) > 1 else 0,
        k.as_index(x_steps[-2] * op.strides[-2]) if plan.run and len(window) > 1 else None,
    )
    body: list[k.Stmt] = [tile]
    for var, size in reversed(list(zip(at, loops_of, strict=True))):
        body = [k.For(var, size, tuple(body))]
    each, i, j = k.Var("at"), k.Var("i"), k.Var("j")
    clear = k.For(j, columns, (sums.store((part, p, cb, each, i, j), k.zero(f32)),), "vector")
    empty = k.For(each, places, (k.For(i, tall, (clear,)),))
    chunks = (k.Let(first, y * chunk), k.Let(rows, rest_of(high[0], first, chunk)), *body)
    share = k.as_index(ceil_div(images, parts))
    begin, turn = k.Var("begin"), k.Var("turn")
    over_rows = k.For(y, ceil_div(high[0], chunk), chunks)
    over_images = k.For(
        turn, k.minimum(k.as_index(images) - begin, share), (k.Let(n, begin + turn), over_rows)
    )
    begins = k.Let(begin, part * share)
    loops = nest([empty, begins, over_images], [(part, parts), (p, panels), (cb, inner)])
    lowering.launch(scope, "conv_weights", loops, node.origins)
    _unpack(lowering, node, tail, sums_memory, apart, plan.run)


def _chunk(places: Sequence[Dim], floats: int) -> int:
    """Rows of an image whose slopes and places stay in the first cache while the window moves over them."""
    each = 4 * floats
    for size in places[1:]:
        each *= size if isinstance(size, int) else 32
    return max(1, NEAR // max(1, each))


def _unpack(
    lowering: Lowering, node: Node, tail: Tail, sums: Memory, shape: tuple[int, ...], run: int
) -> None:
    """From sums [parts, panels of output channels, blocks of input channels, places, rows, columns], added over the parts, to the
    result, with its tail. Rows are channels, or places of the window where there is a run of them."""
    result = node.results[0].type.shape
    window = [d for d in result[2:] if isinstance(d, int)]
    channels, out, columns = result[0], result[1], shape[-1]
    assert isinstance(channels, int) and isinstance(out, int)
    scope = KernelScope()
    pull = lowering.pull(scope)
    panels = scope.view(sums, shape)
    c, p, j = k.Var("c"), k.Var("panel"), k.Var("j")
    at = [k.Var(f"w{axis}") for axis in range(len(window))]
    split = len(window) - 2 if run else len(window)
    outer, inner = k.as_index(0), k.as_index(0)
    for axis, (var, size) in enumerate(zip(at, window, strict=True)):
        if axis < split:
            outer = outer * size + var
        else:
            inner = inner * size + var
    row = inner if run else c % shape[-2]
    block = c if run else c // shape[-2]
    index = (c, p * columns + j, *at)
    acc = k.Var("acc", f32)
    pull.give(node.results[0], index, acc)
    store = scope.output(tail.memory, tail.value.type.shape).store(index, pull.read(tail.value, index))
    total: list[k.Expr] = [panels.at(part, p, block, outer, row, j) for part in range(shape[0])]
    while len(total) > 1:
        pairs = zip_longest(total[::2], total[1::2])
        total = [a if b is None else a + b for a, b in pairs]
    body: list[k.Stmt] = [k.Let(acc, total[0]), store]
    count = k.Var("count")
    vector = k.For(j, count, tuple(body), "vector")
    body = [k.Let(count, rest_of(out, p * columns, columns)), vector]
    lowering.launch(
        scope,
        "unpack",
        nest(body, [(c, channels), *zip(at, window, strict=True), (p, shape[1])]),
        node.origins,
    )
