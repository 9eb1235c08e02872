"""Matrix products, convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import build as b
from ...ir.dims import Dim, floordiv
from ...ir.graph import Value, make_one
from ...ir.ops.nn import Linear
from ..convolutions import turned
from ..elementwise import broadcast_to
from ..shapes import matmul as stacked
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import Windows, aligned, same_pads


@op("MatMul")
def matmul(n: OnnxNode) -> Value:
    x, y = n.value(0), n.value(1)
    if x.type.rank and y.type.rank:
        n.equal(x.type.shape[-1], y.type.shape[max(y.type.rank - 2, 0)], "inner dims")
    batch = max(x.type.rank, y.type.rank) - 2
    for axis in range(-batch - 2, -2):
        if -axis <= min(x.type.rank, y.type.rank):
            d, other = x.type.shape[axis], y.type.shape[axis]
            if 1 not in (d, other):
                n.equal(d, other, f"axis {axis}")
    return stacked(x, y)


@op("Gemm")
def gemm(n: OnnxNode) -> Value:
    x, w, c = n.value(0), n.value(1), n.optional(2)
    if n.attr("transA", 0):
        x = b.permute(x, (1, 0))
    alpha, beta, turned_w = n.attr("alpha", 1.0), n.attr("beta", 1.0), n.attr("transB", 0)
    n.equal(x.type.shape[1], w.type.shape[1 if turned_w else 0], "inner dims")
    plain = alpha == 1 and beta == 1 and turned_w and x.type.dtype.is_float
    if plain and (c is None or c.type.shape == w.type.shape[:1]):
        return make_one(Linear(), *(v for v in (x, w, c) if v is not None))
    y = b.dot_general(x, w, (1,), (1 if turned_w else 0,))
    if alpha != 1:
        y = b.mul(y, b.full_like(y, alpha))
    if c is None or beta == 0:
        return y
    if beta != 1:
        c = b.mul(c, b.full_like(c, beta))
    return b.add(y, broadcast_to(c, y.type.shape))


def biased(n: OnnxNode, y: Value) -> Value:
    """y plus one number a channel, input 2."""
    bias = n.optional(2)
    return y if bias is None else b.add(y, b.broadcast_in_dim(bias, y.type.shape, (1,)))


@op("Conv")
def conv(n: OnnxNode) -> Value:
    x, w = n.value(0), n.value(1)
    sizes = n.attr("kernel_shape") or list(w.type.shape[2:])
    x, padded = aligned(n, x, sizes, 0)
    windows = Windows.of(n, x, sizes, padded)
    return biased(
        n,
        b.conv(
            x, w, windows.strides, windows.pads, rhs_dilation=windows.dilations, groups=n.attr("group", 1)
        ),
    )


@op("ConvTranspose")
def conv_transpose(n: OnnxNode) -> Value:
    """A convolution over x spread by the strides, with filters reversed.

    total = stride * (size - 1) + output_padding + reach - out, of which pads cut the ends: ONNX ConvTranspose-22
    """
    x, w, groups = n.value(0), n.value(1), n.attr("group", 1)
    spatial = x.type.rank - 2
    window = [k for k in w.type.shape[2:] if isinstance(k, int)]
    if len(window) != spatial:
        raise Refused("the window is not of known size")
    strides, dilations = n.attr("strides") or [1] * spatial, n.attr("dilations") or [1] * spatial
    more = n.attr("output_padding") or [0] * spatial
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
    pads = _cut(n, x.type.shape[2:], reach, strides, more)
    around = [(r - 1 - low, r - 1 - high + m) for r, (low, high), m in zip(reach, pads, more, strict=True)]
    if x.type.shape[1] != w.type.shape[0] or floordiv(x.type.shape[1], groups) * groups != x.type.shape[1]:
        raise Refused(f"weight {w.type} does not fit input {x.type} in {groups} groups")
    for k, size in enumerate(x.type.shape[2:]):
        out = (size - 1) * strides[k] + 1 + sum(around[k]) - reach[k] + 1
        n.at_least(out, 1, f"spatial axis {k} of the result")
    return biased(n, b.conv(x, turned(w, groups), (1,) * spatial, around, strides, dilations, groups))


def _cut(
    n: OnnxNode, sizes: Sequence[Dim], reach: Sequence[int], strides: Sequence[int], more: Sequence[int]
) -> list[tuple[int, int]]:
    """What is cut off at both ends of each axis."""
    spatial, shape, auto = len(sizes), n.attr("output_shape"), n.attr("auto_pad", "NOTSET")
    if shape is None and auto in ("NOTSET", "VALID"):
        pads = n.attr("pads") or [0] * 2 * spatial
        return (
            [(0, 0)] * spatial if auto == "VALID" else [(pads[k], pads[k + spatial]) for k in range(spatial)]
        )
    found: list[tuple[int, int]] = []
    for k, size in enumerate(sizes):
        out = shape[-spatial:][k] if shape is not None else size * strides[k]
        total = (size - 1) * strides[k] + more[k] + reach[k] - out
        if not isinstance(total, int):
            raise Refused(f"the padding of spatial axis {k} depends on the symbolic size {size}")
        found.append(same_pads(total, auto == "SAME_UPPER"))
    return found
