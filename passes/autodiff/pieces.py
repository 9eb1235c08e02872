"""The sum of cotangents; of slices that share a value out among them, a concat of theirs instead of a sum of padded ones."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import build as b
from ...ir.graph import Value
from ...ir.ops.move import Pad
from ..rules.base import is_full, producer

__all__ = ["added"]


def added(cotangents: Sequence[Value]) -> Value:
    """Their sum, in the order in which they arrived."""
    axes = dict.fromkeys(axis for axis in map(_padded_axis, cotangents) if axis is not None)
    for axis in axes:
        mine = [g for g in cotangents if _padded_axis(g) == axis]
        joined = _joined(mine, axis)
        if joined is not None:
            cotangents = [joined, *(g for g in cotangents if g not in mine)]
    total = cotangents[0]
    for g in cotangents[1:]:
        total = b.add(total, g)
    return total


def _padded_axis(g: Value) -> int | None:
    """The one axis along which g is a value between zeros, as the cotangent of a slice is."""
    node = producer(g, Pad)
    if node is None or not isinstance(node.op, Pad) or not is_full(node.operands[1], 0):
        return None
    op = node.op
    axes = [axis for axis, ends in enumerate(zip(op.low, op.high, strict=True)) if ends != (0, 0)]
    if len(axes) != 1 or any(op.interior) or min(*op.low, *op.high) < 0:
        return None
    return axes[0]


def _joined(padded: Sequence[Value], axis: int) -> Value | None:
    """The concat of what is between the zeros, where the pieces follow each other without a gap."""
    pieces: list[tuple[int, Value]] = []
    for g in padded:
        node = producer(g, Pad)
        assert node is not None and isinstance(node.op, Pad)
        pieces.append((node.op.low[axis], node.operands[0]))
    pieces.sort(key=lambda piece: piece[0])
    end = 0
    for low, x in pieces:
        size = x.type.shape[axis]
        if low != end or not isinstance(size, int):
            return None
        end += size
    if len(pieces) < 2 or end != padded[0].type.shape[axis]:
        return None
    return b.concat([x for _, x in pieces], axis)
