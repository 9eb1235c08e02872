"""Which kernel a convolution gets, and what it wants of its input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from ....ir.dims import bounds
from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from ..layout import block_of
from ..target import Target

__all__ = ["ConvPlan", "plan_conv"]

FEW = 8
"""Input channels below which a convolution reads its image as it lies, channel by channel."""

LARGE = 256
"""Places of a window above which a convolution is better a product of matrices."""


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """How a convolution is computed.

    Args:
        kind:     direct: tiles over blocks of channels; depthwise: one channel each
        in_block: channels of a block of the input; 1 where it is read channel by channel
        out_block: of the result
        halo:     the rim that the input needs
    """

    kind: Literal["direct", "depthwise"]
    in_block: int
    out_block: int
    halo: tuple[tuple[int, int], ...]


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
    if (
        not channels
        or not out
        or not 0 < prod(sizes) <= LARGE
        or bounds(node.results[0].type.shape[-1])[1] < 2
    ):
        return None
    if op.groups == 1:
        few = channels < FEW
        return ConvPlan("direct", 1 if few else block_of(channels), block_of(out), op.padding)
    return None
