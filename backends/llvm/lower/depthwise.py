"""Depthwise convolution over blocks of channels: a window of vectors, each with a weight of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as places
from math import prod

from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import known
from .blocked import in_layout
from .conv_plan import ConvPlan
from .conv_result import ConvResult
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory

__all__ = ["depthwise"]

TOGETHER = 8
"""Neighbouring results of a row that share what they load."""


def depthwise(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """For each image, block, row and run of a few neighbours: the sums over the window, a channel a lane."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    source = in_layout(lowering, x, plan.in_block, plan.halo)
    assert source.layout is not None
    result = ConvResult(lowering, node, tail, plan.out_block)
    packed = _pack(lowering, node, plan, window)

    width = known(shape[-1])
    together = min(TOGETHER, width) if width is not None else 1
    if width is not None:  # as few rests as can be
        together = min(range(max(1, together // 2), together + 1), key=lambda t: (width % t, -t))
    bodies: list[k.Stmt] = []
    loops: list[k.Stmt] = []
    scope = KernelScope()
    image = scope.view(source, source.layout.shape(x.type.shape))
    weights = scope.view(packed, (result.layout.blocks, *window, plan.out_block))
    n, block, lane, run = k.Var("n"), k.Var("cb"), k.Var("c"), k.Var("run")
    outer = tuple(k.Var(f"o{axis}") for axis in range(len(window) - 1))

    def run_of(count: int, start: k.Expr) -> k.Stmt:
        """The results at start, start + 1, ..."""
        taps: dict[tuple[int, ...], k.Expr] = {}
        factors = {o: weights.at(block, *o, lane) for o in places(*map(range, window))}
        base = lowering.pull(scope, blocked=True)
        assert source.layout is not None
        body: list[k.Stmt] = []
        for t in range(count):
            acc: k.Expr | None = None
            for o, factor in factors.items():
                at = (*o[:-1], o[-1] * op.rhs_dilation[-1] + t * op.strides[-1])
                if at not in taps:
                    index: list[k.Expr] = []
                    for axis, var in enumerate((*outer, start)):
                        shift = source.layout.halo[axis][0] - op.padding[axis][0]
                        step = at[-1] if axis == len(outer) else o[axis] * op.rhs_dilation[axis]
                        index.append(base.affine(var, op.strides[axis], shift + step))
                    taps[at] = image.at(n, block, *index, lane)
                acc = taps[at] * factor if acc is None else k.Fma(taps[at], factor, acc)
            assert acc is not None
            total = k.Var(f"acc{t}", f32)
            pull = lowering.pull(scope, blocked=True)
            body.append(k.Let(total, acc))
            body.append(
                result.store(scope, pull, node, block, lane, (n, *outer, start + t if t else start), total)
            )
        return k.For(lane, plan.out_block, tuple(body), "vector")

    around = [(n, shape[0]), (block, result.layout.blocks), *zip(outer, shape[2:-1], strict=True)]
    if width is None:
        loops = nest([run_of(1, run)], [*around, (run, shape[-1])])
    else:
        start = k.Var("start")
        whole = k.For(run, width // together, (k.Let(start, run * together), run_of(together, start)))
        bodies = [whole]
        if width % together:
            rest = k.Var("rest")
            begin = k.Var("begin")
            tail_run = (k.Let(begin, rest + width // together * together), run_of(1, begin))
            bodies.append(k.For(rest, width % together, tail_run))
        loops = nest(bodies, around)
    lowering.launch(scope, "depthwise", loops, node.origins)
    result.finish(lowering)


def _pack(lowering: Lowering, node: Node, plan: ConvPlan, window: Sequence[int]) -> Memory:
    """The weights as [block][window][lane], zero beyond the channels."""
    w = node.operands[1]
    channels = w.type.shape[0]
    assert isinstance(channels, int)
    memory = lowering.memory_of(w)
    fixed = memory is not None and lowering.is_fixed(memory)
    blocks = -(-channels // plan.out_block)
    place = Memory("prepared" if fixed else "arena", f32, blocks * prod(window) * plan.out_block)
    scope = KernelScope()
    pull = lowering.pull(scope)
    block, lane = k.Var("cb"), k.Var("c")
    at = tuple(k.Var(f"w{axis}") for axis in range(len(window)))
    channel = block * plan.out_block + lane
    inside = channel < channels if channels % plan.out_block else None
    element = pull.read(w, (channel, k.as_index(0), *at), inside)
    if inside is not None and not isinstance(element, k.Load):
        element = k.select(inside, element, k.zero(f32))
    store = scope.output(place, (blocks, *window, plan.out_block)).store((block, *at, lane), element)
    dims = zip((block, *at, lane), (blocks, *window, plan.out_block), strict=True)
    lowering.packing(scope, fixed, nest([store], list(dims), vector=True), node.origins)
    return place
