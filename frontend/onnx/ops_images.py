"""Images: other sizes, patches, crops, boxes."""

from __future__ import annotations

import numpy as np

from ...ir import build as b
from ...ir.dims import Expr, dim_text
from ...ir.graph import Value
from ...ir.ops.patches import FoldPatches
from ...ir.types import Array
from .known import Known
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import part_of


@op("Col2Im")
def col2im(n: OnnxNode) -> Value:
    x, sizes, window = n.value(0), n.dims(1), n.integers(2)
    spatial = len(window)
    strides, apart = n.attr("strides") or [1] * spatial, n.attr("dilations") or [1] * spatial
    given = n.attr("pads") or [0] * 2 * spatial
    pads = tuple((given[k], given[k + spatial]) for k in range(spatial))
    fold = FoldPatches(tuple(window), tuple(strides), pads, tuple(apart), tuple(sizes))
    columns = b.reshape(x, (*x.type.shape[:2], *fold.extents(tuple(sizes))))
    return b.fold_patches(columns, sizes, window, strides, pads, apart)


@op("CenterCropPad")
def center_crop_pad(n: OnnxNode) -> Value:
    """Each axis to the size asked for, around its middle."""
    x = n.value(0)
    sizes = n.integers(1)
    axes = n.attr("axes") or list(range(x.type.rank))
    for given, size in zip(axes, sizes, strict=True):
        axis = n.axis(given, x.type.rank)
        now = x.type.shape[axis]
        if isinstance(now, Expr):
            raise Refused(f"axis {axis} is of the symbolic size {dim_text(now)}")
        if now > size:
            low = (now - size) // 2
            x = part_of(x, axis, low, low + size)
        elif now < size:
            lows, highs = [0] * x.type.rank, [0] * x.type.rank
            lows[axis] = (size - now) // 2
            highs[axis] = size - now - lows[axis]
            x = b.pad(x, b.full(x.type.with_shape(()), 0), lows, highs)
    return x


@op("NonMaxSuppression")
def non_max_suppression(n: OnnxNode) -> Known:
    """Boxes that overlap none better, while they are known: how many there are depends on their numbers."""
    boxes, scores = n.array(0), n.array(1)
    most, overlap = n.scalar(2, 0), n.scalar(3, 0.0)
    least = n.scalar(4) if n.has(4) else -np.inf
    found: list[tuple[int, int, int]] = []
    corners = _corners(boxes, n.attr("center_point_box", 0))
    for image, kind in np.ndindex(*scores.shape[:2]):
        line: Array = scores[image, kind]
        kept: list[int] = []
        for k in np.argsort(-line, kind="stable").tolist():
            if len(kept) >= most or line[k] <= least:
                break
            if all(_overlap(corners[image, k], corners[image, j]) <= overlap for j in kept):
                kept.append(k)
        found += [(image, kind, k) for k in kept]
    return Known.of(np.array(found, np.int64).reshape(-1, 3))


def _corners(boxes: Array, centred: int) -> Array:
    """Boxes as their least and largest coordinates."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centred:
        first, second = first - second / 2, first + second / 2
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _overlap(a: Array, c: Array) -> float:
    """The part that two boxes share of what both cover."""
    sides = np.minimum(a[2:], c[2:]) - np.maximum(a[:2], c[:2])
    if sides.min() <= 0:
        return 0.0
    shared = float(np.prod(sides))
    return shared / (float(np.prod(a[2:] - a[:2])) + float(np.prod(c[2:] - c[:2])) - shared)
