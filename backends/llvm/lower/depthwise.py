"""Depthwise convolution over blocks of channels: a window of vectors, each with a weight of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as places
from math import prod

from ....ir.dims import Dim, floordiv
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import known
from .blocked import in_layout
from .conv_plan import ConvPlan
from .conv_result import ConvResult
from .loops import nest, nest_in_parts
from .lowering import Lowering, Tail
from .memory import KernelScope, Memory

__all__ = ["depthwise"]

TOGETHER = 8
"""Neighbouring results of a row that share what they load."""


def _runs(width: int | None) -> tuple[int, ...]:
    """Lengths of runs that fill a row, one after the other: where its width is known, as few rests as can be."""
    if width is None:
        return (TOGETHER, TOGETHER // 2, 1)
    most = min(TOGETHER, width)
    return (min(range(max(1, most // 2), most + 1), key=lambda t: (width % t, -t)), 1)


def depthwise(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """For each image, block, row and run of a few neighbours: the sums over the window, a channel a lane."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    source = in_layout(lowering, x, plan.in_block, plan.halo)
    assert source.layout is not None
    result = ConvResult(lowering, node, tail, plan.out_block)
    result.clear(lowering, node)
    packed = _pack(lowering, node, plan, window)

    scope = KernelScope()
    image = scope.view(source, source.layout.shape(x.type.shape))
    weights = scope.view(packed, (result.layout.blocks, *window, plan.out_block))
    n, block, lane = k.Var("n"), k.Var("cb"), k.Var("c")
    outer = tuple(k.Var(f"o{axis}") for axis in range(len(window) - 1))

    def run_of(count: int, start: k.Expr) -> k.Stmt:
        """The results at start, start + 1, ...: a row of the window after the other, so that few of its places are held at once."""
        base = lowering.pull(scope, blocked=True)
        assert source.layout is not None
        shifts = [low - pad for (low, _), (pad, _) in zip(source.layout.halo, op.padding, strict=True)]
        sums: list[k.Expr | None] = [None] * count
        body: list[k.Stmt] = []
        for row in places(*map(range, window[:-1])):
            at = [
                base.affine(var, op.strides[axis], shifts[axis] + row[axis] * op.rhs_dilation[axis])
                for axis, var in enumerate(outer)
            ]
            for t in range(count):
                acc = sums[t]
                for column in range(window[-1]):
                    shift = shifts[-1] + column * op.rhs_dilation[-1] + t * op.strides[-1]
                    tap = base.memo(
                        ("tap", row, shift),
                        lambda at=at, shift=shift: image.at(
                            n, block, *at, base.affine(start, op.strides[-1], shift), lane
                        ),
                    )
                    factor = base.memo(
                        ("weight", row, column),
                        lambda row=row, column=column: weights.at(block, *row, column, lane),
                    )
                    acc = tap * factor if acc is None else k.Fma(tap, factor, acc)
                assert acc is not None
                total = k.Var("_".join(map(str, ("acc", t, *row))), f32)
                body.append(k.Let(total, acc))
                sums[t] = total
        for t, total in enumerate(sums):
            assert total is not None
            pull = lowering.pull(scope, blocked=True)
            place = (n, *outer, start + t if t else start)
            body.append(result.store(scope, pull, node, block, lane, place, total))
        return k.For(lane, plan.out_block, tuple(body), "vector")

    bodies: list[k.Stmt] = []
    done: Dim = 0
    for count in _runs(known(shape[-1])):
        run, start = k.Var(f"run{count}"), k.Var(f"start{count}")
        turns = floordiv(shape[-1] - done, count)
        if turns == 0:
            continue
        bodies.append(k.For(run, turns, (k.Let(start, run * count + done), run_of(count, start))))
        done = done + turns * count
    around = [(n, shape[0]), (block, result.layout.blocks), *zip(outer, shape[2:-1], strict=True)]
    loops = nest_in_parts(bodies, around) if outer else nest(bodies, around)
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
