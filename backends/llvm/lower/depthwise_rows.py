"""Depthwise convolution of plain memory into plain memory: lanes run along the rows of one channel.

Each channel's image is copied into scratch memory with its rim of zeros; a few rows of results at a time share what they load.
It saves the turns into blocks and back, which cost more than the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as places
from math import prod

from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from .. import kernel_ir as k
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope

__all__ = ["depthwise_rows", "serves_rows"]

MOST = 128 << 10
"""Bytes of scratch memory that a channel's image may take."""


def serves_rows(node: Node) -> bool:
    """Whether the convolution is of this form: two axes of known size, stride 1, a window that can be written out."""
    op, (x, w) = node.op, node.operands
    assert isinstance(op, Conv)
    sizes = [d for d in (*x.type.shape[2:], *w.type.shape[2:]) if isinstance(d, int)]
    if len(sizes) != 4 or {*op.strides} != {1}:
        return False
    rims = [low + high for low, high in op.padding]
    return 4 * (sizes[0] + rims[0]) * (sizes[1] + rims[1]) <= MOST and sizes[1] >= 16


def depthwise_rows(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """For each image and channel: copy it, then rows of results, a vector of places at a time."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    high, wide = (d for d in x.type.shape[2:] if isinstance(d, int))
    out_high, out_wide = (d for d in shape[2:] if isinstance(d, int))
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    (top, bottom), (left, right) = op.padding
    lowering.held(x)
    scope = KernelScope()
    pull = lowering.pull(scope)
    n, c, i, j, zero = k.Var("n"), k.Var("c"), k.Var("i"), k.Var("j"), k.as_index(0)
    rows, columns = high + top + bottom, wide + left + right
    image = k.Buffer("image", f32, (rows, columns), align=64)

    body: list[k.Stmt] = []
    rim = [(0, top, 0, columns), (rows - bottom, bottom, 0, columns), (top, high, 0, left)]
    for y, count, at, width in [*rim, (top, high, columns - right, right)]:
        if count and width:
            fill = image.store((i + y, j + at), k.zero(f32))
            body.append(k.For(i, count, (k.For(j, width, (fill,), "vector"),)))
    copy = image.store((i + top, j + left), pull.read(x, (n, c, i, j)))
    body.append(k.For(i, high, (k.For(j, wide, (copy,), "vector"),)))
    factors: dict[tuple[int, ...], k.Var] = {}
    for place in places(*map(range, window)):
        factors[place] = k.Var("w" + "_".join(map(str, place)), f32)
        body.append(k.Let(factors[place], pull.read(w, (c, zero, *map(k.as_index, place)))))

    together = next(t for t in (4, 2, 1) if out_high % t == 0 and t * prod(window) <= 4 * 25)
    row, y = k.Var("row"), k.Var("y")
    taps: dict[tuple[int, int], k.Expr] = {}
    results: list[k.Stmt] = []
    for t in range(together):
        acc: k.Expr | None = None
        for (a, b), factor in factors.items():
            at = (t + a * op.rhs_dilation[0], b * op.rhs_dilation[1])
            if at not in taps:
                taps[at] = image.at(y + at[0] if at[0] else y, j + at[1] if at[1] else j)
            acc = taps[at] * factor if acc is None else k.Fma(taps[at], factor, acc)
        assert acc is not None
        total = k.Var(f"acc{t}", f32)
        reader = lowering.pull(scope)
        index = (n, c, y + t if t else y, j)
        reader.give(node.results[0], index, total)
        store = scope.output(tail.memory, shape).store(index, reader.read(tail.value, index))
        results += [k.Let(total, acc), store]
    over_places = k.For(j, out_wide, tuple(results), "vector")
    body.append(k.For(row, out_high // together, (k.Let(y, row * together), over_places)))
    loops = nest(body, [(n, shape[0]), (c, shape[1])])
    lowering.launch(scope, "depthwise", loops, node.origins, scratch=(image,))
