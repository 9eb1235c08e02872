"""Which kernel a convolution gets, and what it wants of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from ....ir.dims import Dim, bounds, ceildiv, maximum
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from ..layout import block_of
from ..target import Target

__all__ = ["ConvPlan", "across_columns", "near", "plan_conv", "row_axis"]

FEW = 8
"""Input channels up to which a convolution reads its image as it lies, channel by channel."""

UNROLLED = 49
"""Places of a window that a depthwise convolution may write out."""

USUAL = 16
"""Places along an axis of open size that the choice of a kernel counts with, or the least there may be; and images of a derivative."""

LARGE = 1 << 14
"""Places of a window above which a convolution is better a product of matrices."""


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """How a convolution is computed.

    Args:
        kind:     direct: tiles over blocks of channels; across: lanes run along the row, for few channels; winograd: 3 x 3 by products of transforms; depthwise: one channel each
        in_block: channels of a block of the input; 1 where it is read channel by channel
        out_block: of the result
        halo:     the rim that the input needs
        pays:     of winograd: positive where it is quicker than direct, which serves else; a number unless sizes are open
    """

    kind: Literal["direct", "across", "winograd", "depthwise"]
    in_block: int
    out_block: int
    halo: tuple[tuple[int, int], ...]
    pays: Dim = 1


def plan_conv(node: Node, target: Target) -> ConvPlan | None:
    """The plan, or None for the general contraction."""
    op = node.op
    assert isinstance(op, Conv)
    x, w = node.operands
    window, channels, out = w.type.shape[2:], x.type.shape[1], w.type.shape[0]
    static = [d for d in (*window, channels, out) if isinstance(d, int)]
    if x.type.dtype != f32 or len(static) != len(window) + 2 or not isinstance(channels, int):
        return None
    assert isinstance(out, int)
    sizes = static[: len(window)]
    if any(d != 1 for d in op.lhs_dilation) or any(p < 0 for pair in op.padding for p in pair):
        return None
    shape = node.results[0].type.shape
    if not channels or not out or not 0 < prod(sizes) <= LARGE or bounds(shape[2 + row_axis(shape)])[1] < 2:
        return None
    block = block_of(channels)
    if shape[-1] == 1:  # the others want places along the last axis
        return (
            ConvPlan("direct", 1 if channels <= FEW else block, block_of(out), op.padding)
            if op.groups == 1
            else None
        )
    if channels == out == 1 and prod(sizes) <= UNROLLED:
        return ConvPlan("depthwise", block, block, op.padding)
    if op.groups == 1:
        if channels <= 4 * FEW and (halo := _across_halo(node, target)) is not None:
            return ConvPlan("across", 1, 1, halo)
        if (pays := _winograd_pays(node, target)) is not None:
            return ConvPlan("winograd", block, block_of(out), _winograd_halo(node), pays)
        return ConvPlan("direct", 1 if channels <= FEW else block, block_of(out), op.padding)
    each = channels // op.groups
    if each == 1 and out == channels and prod(sizes) <= UNROLLED:
        return ConvPlan("depthwise", block, block, op.padding)
    if each % 16 == 0 and out // op.groups % 16 == 0:
        return ConvPlan("direct", 16, 16, op.padding)
    return None


def near(bytes_: int, target: Target) -> bool:
    """Whether weights stay in the second cache; newer machines have twice what a target says."""
    return bytes_ <= 2 * target.l2


def row_axis(shape: Sequence[Dim]) -> int:
    """The spatial axis of a result along which a tile's rows run: the last of more than one place."""
    axes = [axis for axis, size in enumerate(shape[2:]) if size != 1]
    return axes[-1] if axes else len(shape) - 3


def across_columns(width: int, target: Target) -> int:
    """Places of a row in one tile of a convolution whose lanes run along it."""
    lanes = target.lanes(4)
    return 2 * lanes if width > lanes else lanes


def _across_halo(node: Node, target: Target) -> tuple[tuple[int, int], ...] | None:
    """The rim that whole tiles along the rows read, or None where lanes are better channels.

    Up to 8 output channels would fill half the lanes; a row fills them but for its last tile.
    """
    op = node.op
    assert isinstance(op, Conv)
    out, width = node.results[0].type.shape[1], node.results[0].type.shape[-1]
    size, window = node.operands[0].type.shape[-1], node.operands[1].type.shape[-1]
    if not (
        isinstance(out, int) and isinstance(width, int) and isinstance(size, int) and isinstance(window, int)
    ):
        return None
    columns = across_columns(width, target)
    whole = -(-width // columns) * columns
    if op.strides[-1] != 1 or not out <= 8 or 3 * width < 2 * whole:
        return None
    low = op.padding[-1][0]
    reach = (window - 1) * op.rhs_dilation[-1]
    return (*op.padding[:-1], (low, max(op.padding[-1][1], whole + reach - low - size)))


def _winograd_halo(node: Node) -> tuple[tuple[int, int], ...]:
    """The rim that whole tiles of 4 x 4 results read."""
    found: list[tuple[int, int]] = []
    x, y = node.operands[0].type.shape[2:], node.results[0].type.shape[2:]
    assert isinstance(node.op, Conv)
    for size, out, (low, high), d in zip(x, y, node.op.padding, node.op.rhs_dilation, strict=True):
        if isinstance(size, int) and isinstance(out, int):
            high = -(-out // (4 * d)) * 4 * d + 2 * d - low - size
        else:
            high += 4 * d - 1  # the last tile begins before the last result
        found.append((low, high))
    return tuple(found)


def _winograd_pays(node: Node, target: Target) -> Dim | None:
    """A dim that is positive where Winograd pays: 1 where that is known. None where it does not, or would not for usual sizes: an open batch
    is then as small as it may be.
    """
    op = node.op
    x, w = node.operands
    assert isinstance(op, Conv)
    if not target.winograd or w.type.shape[2:] != (3, 3) or {*op.strides} != {1}:
        return None
    images, places = x.type.shape[0], node.results[0].type.shape[2:]
    usual = [d if isinstance(d, int) else max(USUAL, bounds(d)[0]) for d in places]
    if bounds(_gain(node, target, max(1, bounds(images)[0]), usual))[0] <= 0:
        return None
    gain = _gain(node, target, maximum(1, images), places)
    return 1 if isinstance(gain, int) or bounds(gain)[0] > 0 else gain


def _gain(node: Node, target: Target, images: Dim, places: Sequence[Dim]) -> Dim:
    """By how much the products that Winograd saves outweigh the larger weights, which come from far.

    In units of one product: a byte of weights that comes from memory costs 3, one from a cache 0.6, a byte of transformed tiles 3; a
    single tile costs the products of two (measured with AVX-512, one core: at 4 x 4, 4 x 8 and 8 x 8 places 64 channels take 1.22, 0.76 and
    0.40 of the direct time, and 256 channels, from memory, 2, 1.41 and 0.83).
    """
    assert isinstance(node.op, Conv)
    out, channels = node.operands[1].type.shape[:2]
    assert isinstance(out, int) and isinstance(channels, int)
    if min(out, channels) < 16:
        return 0
    tiles = images
    for size, d in zip(places, node.op.rhs_dilation, strict=True):
        tiles = tiles * (ceildiv(size, 4 * d) * d)
    high, wide = places
    weights = channels * out
    saved = weights * (9 * images * high * wide - 36 * maximum(2, tiles))
    more = 27 * 4 * weights * (6 if near(36 * 4 * weights, target) else 30) // 10
    work = 36 * tiles * (channels + out) * 4
    return saved - more - work * 3
