"""Convolution to few channels: the rows of a tile are output channels, its lanes neighbouring places of a row.

The weights are read where they lie, [O][K]; the image is its own panel, K runs through it by the window's steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import bool_, f32
from .. import kernel_ir as k
from ..extents import ceil_div, rest_of
from .blocked import in_layout
from .conv import window_steps
from .conv_plan import ConvPlan, across_columns
from .conv_result import ConvResult
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope

__all__ = ["across"]


def across(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """One tile for each image, row, and piece of the row."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape, out, depth = node.results[0].type.shape, w.type.shape[0], w.type.size
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    channels, width = x.type.shape[1], shape[-1]
    assert isinstance(out, int) and isinstance(channels, int) and isinstance(width, int)
    assert isinstance(depth, int)
    depth //= out
    source = in_layout(lowering, x, plan.in_block, plan.halo)
    factors = lowering.held(w)
    layout = source.layout
    assert layout is not None
    result = ConvResult(lowering, node, tail, plan.out_block)
    result.clear(lowering, node)

    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    image = scope.view(source, layout.shape(x.type.shape))
    weights = scope.view(factors, (out, depth))
    lanes, columns = lowering.target.lanes(4), across_columns(width, lowering.target)
    high = shape[-2] if len(window) > 1 else 1
    down, along = tail.window
    pairs = columns == lanes and isinstance(high, int) and high % 2 == 0  # two short rows fill a tile
    pairs = pairs and tail.pool is None
    together = 2 if pairs else 1
    n, piece = k.Var("n"), k.Var("piece")
    outer = tuple(k.Var(f"o{axis}") for axis in range(len(window) - 1))
    start, count, zero = k.Var("start"), k.Var("count"), k.as_index(0)

    def corner(within: int) -> list[k.Expr]:
        """Where a tile begins in the image: of the row `within` a window of the pool."""
        found: list[k.Expr] = []
        for axis, at in enumerate((*outer, start)):
            if axis == len(outer) - 1:
                at = at * 2 if pairs else pull.affine(at, down, within)
            found.append(pull.affine(at, op.strides[axis], layout.halo[axis][0] - op.padding[axis][0]))
        return found

    # the tile's A is the weights, its B the image
    steps = tuple(k.Step(s.extent, s.b, s.a) for s in window_steps(op, layout, image, window, channels, 1))
    sums = k.Buffer("sums", f32, (down * out, together * columns), align=64)
    tiles = [
        k.Tile(
            out,
            together * columns // lanes,
            lanes,
            k.Load(weights, (zero, zero)),
            k.as_index(depth),
            k.Load(image, (n, zero, *corner(within), zero)),
            k.as_index(image.steps[-3] * op.strides[-2] if pairs else lanes),
            k.Load(sums, (k.as_index(within * out), zero)),
            k.as_index(together * columns),
            k.as_index(out),
            steps,
            k.const(False, bool_),
            (out,),
        )
        for within in range(down)
    ]
    o, j, half, acc = k.Var("o"), k.Var("j"), k.Var("half"), k.Var("acc", f32)
    extents = (*shape[2:-2], high // 2) if pairs and isinstance(high, int) else shape[2:-1]
    each, wide = columns // along, result.shape[-1]  # places of a piece, and of a row
    if tail.pool is None:
        row = (*outer[:-1], outer[-1] * 2 + half) if pairs else outer
        store = result.store(scope, pull, node, o, zero, (n, *row, start + j), acc)
        each_place: tuple[k.Stmt, ...] = (k.Let(acc, k.Load(sums, (o, half * columns + j))), store)
    else:
        extents = result.shape[2:-1]
        where = n, outer[0], piece * each + j
        each_place = result.window_of(
            scope, pull, node, o, zero, where, lambda y, x: sums.at(o + y * out, j * along + x)
        )
    over_places = k.For(j, count, each_place, "vector")
    epilogue = k.For(half, together, (k.For(o, out, (over_places,)),))
    body = (
        k.Let(start, piece * columns),
        k.Let(count, rest_of(wide, piece * each, each)),
        *tiles,
        epilogue,
    )
    around = [(n, shape[0]), *zip(outer, extents, strict=True), (piece, ceil_div(wide, each))]
    lowering.launch(scope, "conv", nest(body, around), node.origins, scratch=(sums,))
    result.finish(lowering)
