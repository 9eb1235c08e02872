"""Write a transposed convolution as a plain one of small pixels, so that no multiplication by an inserted zero is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import Shape
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.ops.elementwise import Add
from ..ir.ops.window import Conv
from .base import Pass, Remarks
from .regions import map_regions
from .rules.broadcast import broadcast_source

__all__ = ["SubPixel"]


@dataclass(frozen=True)
class SubPixel(Pass):
    """conv{lhs_dilation=d}(x, w) = shuffle(conv(x, w')), with d channels an axis for the d places between two of x.

    Place d*q + r of the result meets only each d-th entry of the window, so that it is a window of its own over x; the
    windows of all r, padded to one length, are the channels of one convolution, and its result is interleaved.
    Reassociates (zeros fall away). Source: Shi et al., "Real-time single image and video super-resolution", 2016.
    """

    name: ClassVar[str] = "subpixel"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def sweep(g: Graph) -> Graph:
            uses = {value: len(users) for value, users in g.uses().items()}
            made: dict[Value, tuple[Conv, Value]] = {}

            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                op = node.op
                if isinstance(op, Conv) and _fits(op, *operands) and remarks.allow(self.name):
                    small = _small(op, *operands)
                    found = _shuffled(op, small, node.results[0].type.shape)
                    if uses.get(node.results[0]) == 1:
                        made[found] = (op, small)
                    return [found]
                if isinstance(
                    op, Add
                ):  # a bias is added before the shuffle, where the convolution takes it in
                    for x, other in (operands, operands[::-1]):
                        bias = broadcast_source(other, (1,))
                        if x in made and bias is not None:
                            conv, small = made[x]
                            return [_shuffled(conv, _with_bias(small, bias, conv), x.type.shape)]
                return None

            return rebuild(g, rewrite)

        return map_regions(graph, sweep)


def _fits(op: Conv, x: Value, w: Value) -> bool:
    """No axis has a stride or a dilated window too; the window is known, one group has all channels."""
    plain = {*op.strides} == {1} and {*op.rhs_dilation} == {1} and op.groups == 1
    return plain and {*op.lhs_dilation} != {1} and w.type.is_static and x.type.dtype.is_float


def _small(op: Conv, x: Value, w: Value) -> Value:
    """The convolution of small pixels: [N, O * d..., small places...]."""
    windows: list[tuple[int, int]] = []
    padding: list[tuple[int, int]] = []
    for (low, high), d, size in zip(op.padding, op.lhs_dilation, w.type.static_shape()[2:], strict=True):
        front, before = d - 1 - low % d, low // d
        window = -(-(size + front) // d)
        # the result has (places of x - 1) * d + 1 + low + high - size + 1 places, d of them a small one
        beyond = -(-(low + high - size - d + 2) // d)
        windows.append((front, window))
        padding.append((before, beyond - before + window - 1))
    return b.conv(x, _small_windows(w, op.lhs_dilation, windows), op.strides, padding)


def _shuffled(op: Conv, small: Value, shape: Shape) -> Value:
    """The small pixels of a convolution interleaved, up to the places that its result has."""
    steps, n = op.lhs_dilation, len(op.strides)
    batch, _, *places = small.type.shape
    apart = b.reshape(small, [batch, shape[1], *steps, *places])
    together = b.permute(apart, [0, 1, *(axis for k in range(n) for axis in (2 + n + k, 2 + k))])
    whole = b.reshape(together, [batch, shape[1], *(p * d for p, d in zip(places, steps, strict=True))])
    return b.slice_(whole, [0] * len(shape), shape)


def _with_bias(small: Value, bias: Value, op: Conv) -> Value:
    """The small pixels, each with the bias of the channel that it is a pixel of."""
    steps = op.lhs_dilation
    repeated = b.broadcast_in_dim(bias, [*bias.type.shape, *steps], [0])
    each = b.reshape(repeated, [small.type.shape[1]])
    return b.add(small, b.broadcast_in_dim(each, small.type.shape, [1]))


def _small_windows(w: Value, steps: Sequence[int], windows: Sequence[tuple[int, int]]) -> Value:
    """[O, C, window...] as [O * d..., C, small window...], the places between in rising order."""
    outs, channels, *sizes = w.type.static_shape()
    n = len(steps)
    low = [front for front, _ in windows]
    high = [small * d - s - front for (front, small), d, s in zip(windows, steps, sizes, strict=True)]
    zero = b.full(w.type.with_shape(()), 0)
    padded = b.pad(w, zero, [0, 0, *low], [0, 0, *high]) if any(low) or any(high) else w
    split = b.reshape(
        padded, [outs, channels, *(e for (_, s), d in zip(windows, steps, strict=True) for e in (s, d))]
    )
    turned = b.reverse(split, [3 + 2 * k for k in range(n) if steps[k] > 1])
    order = [0, *(3 + 2 * k for k in range(n)), 1, *(2 + 2 * k for k in range(n))]
    return b.reshape(b.permute(turned, order), [outs * prod(steps), channels, *(s for _, s in windows)])
