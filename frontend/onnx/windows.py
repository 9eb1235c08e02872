"""Windows of convolutions and pools as ONNX says them: pads, auto_pad, strides, dilations, ceil_mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.dims import Dim, Expr, ceildiv, dim_text
from ...ir.graph import Value
from .node import OnnxNode
from .report import Refused

__all__ = ["Windows", "same_pads"]


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
    def of(cls, n: OnnxNode, x: Value, sizes: Sequence[Dim]) -> Windows:
        """The windows of a node over x [N, C, spatial...]."""
        spatial = x.type.rank - 2
        known = [k for k in sizes if isinstance(k, int)]
        if len(sizes) != spatial or len(known) != spatial:
            raise Refused(f"a window of {len(sizes)} known sizes does not slide over {x.type}")
        strides = n.attr("strides") or [1] * spatial
        dilations = n.attr("dilations") or [1] * spatial
        reach = [(k - 1) * d + 1 for k, d in zip(known, dilations, strict=True)]
        pads = _pads(n, x.type.shape[2:], reach, strides)
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
    found: list[tuple[int, int]] = []
    for k, size in enumerate(sizes):
        total = (ceildiv(size, strides[k]) - 1) * strides[k] + reach[k] - size
        if strides[k] == 1:
            total = reach[k] - 1
        if isinstance(total, Expr):
            raise Refused(
                f"auto_pad {auto} with stride {strides[k]} over the symbolic size {dim_text(size)}",
                "give the size: inputs={...} or dims={...}",
            )
        found.append(same_pads(max(total, 0), auto == "SAME_UPPER"))
    return found


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
