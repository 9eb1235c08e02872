"""Convolutions over blocks of channels; see docs/design/layout.md."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import bool_, f32
from .. import kernel_ir as k
from ..extents import ceil_div, known, rest_of
from ..layout import Layout
from ..schedule import tile_heights, tile_shape
from .blocked import blocked_memory, in_layout, unblock, zero_rim
from .conv_plan import ConvPlan
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory

__all__ = ["direct"]

PIECE = 126
"""Places of a row that are summed before their epilogue runs."""


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
    target, result = _result(lowering, tail, plan, out)

    blocks = -(-out // plan.out_block)
    rows, panel, lanes = tile_shape(lowering.target, plan.out_block, blocks)
    columns = panel * plan.out_block
    panels = blocks // panel
    packed = _pack(lowering, node, plan, columns, panels, channels, window)

    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    image = scope.view(source, layout.shape(x.type.shape))
    weights = scope.view(packed, (panels, packed.size // panels))  # type: ignore[operator]
    n, p, piece = k.Var("n"), k.Var("panel"), k.Var("piece")
    outer = tuple(k.Var(f"o{axis}") for axis in range(len(window) - 1))
    width = shape[-1]
    mc = min(PIECE, known(width) or PIECE)
    start, count = k.Var("start"), k.Var("count")
    corner: list[k.Expr] = []
    for axis, at in enumerate((*outer, start)):
        shift = layout.halo[axis][0] - op.padding[axis][0]
        corner.append(pull.affine(at, op.strides[axis], shift))
    zero = k.as_index(0)
    sums = k.Buffer("sums", f32, (mc, columns), align=64)
    steps = _steps(op, layout, image, window, channels, columns)
    tile = k.Tile(
        rows,
        columns // lanes,
        lanes,
        k.Load(image, (n, zero, *corner, zero)),
        k.as_index(op.strides[-1] * layout.block),
        k.Load(weights, (p, zero)),
        k.as_index(lanes),
        k.Load(sums, (zero, zero)),
        k.as_index(columns),
        count,
        steps,
        k.const(False, bool_),
        tile_heights(rows, known(width), mc),
    )
    i, half, lane = k.Var("i"), k.Var("half"), k.Var("c")
    block = p * panel + half if panel > 1 else p
    channel = pull.split(block * plan.out_block + lane, plan.out_block, block, lane)
    place = start + i
    index = (n, channel, *outer, place)
    acc = k.Var("acc", f32)
    pull.give(node.results[0], index, acc)
    inside = channel < out if result.ragged else None
    element = pull.read(tail.value, index, inside)
    if inside is not None:
        element = k.select(inside, element, k.zero(f32))
    store = scope.output(target, result.shape(shape)).store(pull.blocked(result, index), element)
    sum_ = k.Let(acc, k.Load(sums, (i, half * plan.out_block + lane)))
    epilogue: k.Stmt = k.For(lane, plan.out_block, (sum_, store), "vector")
    epilogue = k.For(i, count, (k.For(half, panel, (epilogue,)),))
    body = (k.Let(start, piece * mc), k.Let(count, rest_of(width, start, mc)), tile, epilogue)
    around = [(n, shape[0]), (p, panels), *zip(outer, shape[2:-1], strict=True)]
    loops = nest(body, [*around, (piece, ceil_div(width, mc))])
    zero_rim(lowering, target, shape, node.origins)
    lowering.launch(scope, "conv", loops, node.origins, scratch=(sums,))
    if target is not tail.memory:
        lowering.memory[tail.value] = target
        unblock(lowering, tail.value, target, tail.memory)


def _result(lowering: Lowering, tail: Tail, plan: ConvPlan, channels: int) -> tuple[Memory, Layout]:
    """Where the blocks go: the result's memory, or memory that is copied to it."""
    layout = tail.memory.layout
    if layout is not None and layout.block == plan.out_block:
        return tail.memory, layout
    spatial = tail.value.type.rank - 2
    layout = Layout(channels, plan.out_block, ((0, 0),) * spatial)
    return blocked_memory(tail.value, layout), layout


def _steps(
    op: Conv, layout: Layout, image: k.Buffer, window: Sequence[int], channels: int, columns: int
) -> tuple[k.Step, ...]:
    """The nest of the sum: blocks of input channels, window, lanes; those that are one stretch in memory as one step."""
    strides = image.steps
    lanes = min(channels, layout.block)
    nest: list[tuple[int, k.Index]] = [(layout.blocks, strides[1])]
    nest += [(size, strides[axis] * op.rhs_dilation[axis - 2]) for axis, size in enumerate(window, start=2)]
    nest.append((lanes, 1))
    merged: list[tuple[int, k.Index]] = []
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
    window: Sequence[int],
) -> Memory:
    """The weights as [panel][block of input channels][window][lane][column], zero beyond the channels."""
    w = node.operands[1]
    memory = lowering.memory_of(w)
    fixed = memory is not None and lowering.is_fixed(memory)
    lanes = min(channels, plan.in_block)
    blocks = -(-channels // plan.in_block)
    depth = blocks * prod(window) * lanes
    place = Memory("prepared" if fixed else "arena", f32, panels * depth * columns)
    scope = KernelScope()
    pull = lowering.pull(scope)
    panel, block, lane, j = k.Var("panel"), k.Var("cb"), k.Var("c"), k.Var("j")
    at = tuple(k.Var(f"w{axis}") for axis in range(len(window)))
    out, channel = panel * columns + j, block * plan.in_block + lane
    tests = [out < k.as_index(w.type.shape[0])] if panels * columns != w.type.shape[0] else []
    tests += [channel < channels] if blocks * lanes != channels else []
    inside = pull.all_of(tests)
    element = pull.read(w, (out, channel, *at), inside)
    if inside is not None and not isinstance(element, k.Load):
        element = k.select(inside, element, k.zero(f32))
    target = scope.output(place, (panels, blocks, *window, lanes, columns))
    body: list[k.Stmt] = [target.store((panel, block, *at, lane, j), element)]
    dims = zip((panel, block, *at, lane, j), (panels, blocks, *window, lanes, columns), strict=True)
    body = nest(body, list(dims), vector=True)
    if fixed:
        lowering.prepare(scope, "pack", body, node.origins)
    else:
        lowering.launch(scope, "pack", body, node.origins)
    return place
