"""Windows of convolutions and pools as ONNX says them: pads, auto_pad, strides, dilations, ceil_mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir import build as b
from ...ir.dims import Dim, Expr, dim_text, floordiv, maximum
from ...ir.graph import Value
from .node import OnnxNode
from .report import Refused

__all__ = ["Windows", "aligned", "part_of", "same_pads"]

MAX_STRIDE = 1024
"""Remainders of a symbolic size that auto_pad looks at."""


@dataclass(frozen=True)
class Windows:
    """How a window slides over the spatial axes of x; one entry an axis.

    Args:
        sizes, strides, dilations: of the window
        pads:  (low, high) around x
        extra: what ceil_mode adds behind the high padding
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    extra: tuple[int, ...]

    @classmethod
    def of(cls, n: OnnxNode, x: Value, sizes: Sequence[Dim], padded: bool = False) -> Windows:
        """The windows of a node over x [N, C, spatial...]; `padded` where x has its padding already."""
        spatial = x.type.rank - 2
        known = [k for k in sizes if isinstance(k, int)]
        if len(sizes) != spatial or len(known) != spatial:
            raise Refused(f"a window of {len(sizes)} known sizes does not slide over {x.type}")
        strides = n.attr("strides") or [1] * spatial
        dilations = n.attr("dilations") or [1] * spatial
        reach = [(k - 1) * d + 1 for k, d in zip(known, dilations, strict=True)]
        pads = [(0, 0)] * spatial if padded else _pads(n, x.type.shape[2:], reach, strides)
        extra = [0] * spatial
        for k, size in enumerate(x.type.shape[2:]):
            room = size + sum(pads[k]) - reach[k]
            n.at_least(room, 0, f"spatial axis {k}: what is left beside the window")
            if n.attr("ceil_mode", 0):
                extra[k] = _extra(k, size, room, strides[k], pads[k][0])
        return cls(tuple(known), tuple(strides), tuple(dilations), tuple(pads), tuple(extra))

    @property
    def with_extra(self) -> tuple[tuple[int, int], ...]:
        """The pads with what ceil_mode adds."""
        return tuple((low, high + more) for (low, high), more in zip(self.pads, self.extra, strict=True))


def _pads(
    n: OnnxNode, sizes: Sequence[Dim], reach: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    auto, spatial = n.attr("auto_pad", "NOTSET"), len(sizes)
    if auto == "VALID":
        return [(0, 0)] * spatial
    if auto in ("NOTSET", ""):
        pads = n.attr("pads") or [0] * 2 * spatial
        return [(pads[k], pads[k + spatial]) for k in range(spatial)]
    return [_same(k, size, reach[k], strides[k], auto == "SAME_UPPER") for k, size in enumerate(sizes)]


def _same(axis: int, size: Dim, reach: int, stride: int, upper: bool) -> tuple[int, int]:
    """So much padding that each stride has its window; of a symbolic size, where the low end is always the same.

    A size with the remainder r lacks reach - r (reach - stride for 0); more than is lacking at the end changes nothing.
    """
    if isinstance(size, int):
        return same_pads(max(-(-size // stride) * stride - stride + reach - size, 0), upper)
    lows = _lows(reach, stride, upper)
    if len(lows) > 1:
        raise Refused(
            f"auto_pad with stride {stride} over the symbolic size {dim_text(size)} of spatial axis {axis}",
            "give the size: inputs={...} or dims={...}",
        )
    (low,) = lows
    return low, reach - 1 - low


def _lows(reach: int, stride: int, upper: bool) -> set[int]:
    """What may be lacking at the low end, over all sizes."""
    if stride > MAX_STRIDE:
        raise Refused(f"auto_pad with stride {stride}, at most {MAX_STRIDE} is read over a symbolic size")
    lacking = [max(reach - (r or stride), 0) for r in range(stride)]
    return {same_pads(total, upper)[0] for total in lacking}


def aligned(n: OnnxNode, x: Value, sizes: Sequence[Dim], fill: float) -> tuple[Value, bool]:
    """x padded as auto_pad says on axes of symbolic size whose low end depends on it, and whether it was.

    Args:
        fill: what it is padded with
    """
    auto, spatial = n.attr("auto_pad", "NOTSET"), x.type.rank - 2
    strides, dilations = n.attr("strides") or [1] * spatial, n.attr("dilations") or [1] * spatial
    if (
        not auto.startswith("SAME")
        or all(isinstance(d, int) for d in x.type.shape[2:])
        or set(strides) == {1}
    ):
        return x, False
    zero = b.full(x.type.with_shape(()), fill)
    reaches = [(k - 1) * d + 1 for k, d in zip(sizes, dilations, strict=True) if isinstance(k, int)]
    if len(reaches) != spatial:
        raise Refused("a window of no known size")
    if all(len(_lows(r, s, auto == "SAME_UPPER")) == 1 for r, s in zip(reaches, strides, strict=True)):
        return x, False
    for k, (reach, s) in enumerate(zip(reaches, strides, strict=True)):
        size = x.type.shape[k + 2]
        length = floordiv(size - 1, s) * s + reach
        total = maximum(length - size, 0)
        low = floordiv(total, 2) if auto == "SAME_UPPER" else total - floordiv(total, 2)
        most = reach // 2
        before, after = [0] * x.type.rank, [0] * x.type.rank
        before[k + 2], after[k + 2] = most, reach - 1
        x = part_of(b.pad(x, zero, before, after), k + 2, most - low, most - low + length)
    return x, True


def same_pads(total: int, upper: bool) -> tuple[int, int]:
    """An amount as two halves, the odd one at the end where `upper`."""
    half = total // 2
    return (half, total - half) if upper else (total - half, half)


def _extra(axis: int, size: Dim, room: Dim, stride: int, low: int) -> int:
    """So much that a last window that begins inside or in the low padding counts."""
    if isinstance(size, Expr) or isinstance(room, Expr):
        if stride == 1:
            return 0
        raise Refused(
            f"ceil_mode with stride {stride} over the symbolic size {dim_text(size)} of spatial axis {axis}",
            "give the size: inputs={...} or dims={...}",
        )
    count = -(-room // stride) + 1
    if (count - 1) * stride >= size + low:
        count -= 1
    return max(0, (count - 1) * stride - room)


def part_of(x: Value, axis: int, start: Dim, limit: Dim, step: int = 1) -> Value:
    """x between two places of an axis."""
    starts: list[Dim] = [0] * x.type.rank
    limits, strides = list(x.type.shape), [1] * x.type.rank
    starts[axis], limits[axis], strides[axis] = start, limit, step
    return b.slice_(x, starts, limits, strides)
