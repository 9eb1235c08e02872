"""Padding with a constant, by reflection, with the edge, or around: slices, reversals and a concat where it is no constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text
from ..ir.graph import Value
from .calls import called, wrong
from .elementwise import scalar
from .tensor import Tensor, as_tensor

__all__ = ["MODES", "pad", "pad_axis"]

MODES = ("constant", "reflect", "symmetric", "replicate", "circular")
"""zeros or another number; mirrored at the edge without or with it; the edge again; the other end."""


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0) -> Tensor:
    """More around a tensor, axis by axis from the last on.

    Args:    pad: (low, high) of the last axis, then of the one before, and so on; negative cuts, of a constant only;
             mode: "constant", "reflect" (the mirrored inside without the edge), "symmetric" (with it, which PyTorch has
             not), "replicate" (the edge again) or "circular" (the other end)
    Raises:  TypeInferenceError where the axis is too short to be mirrored or wrapped
    Source:  PyTorch torch.nn.functional.pad
    """
    x, amounts = as_tensor(input), [int(p) for p in pad]
    with called("pad", input=x, pad=tuple(amounts), mode=mode):
        if mode not in MODES:
            raise wrong("pad", f'mode is "{mode}", expected one of {", ".join(MODES)}')
        if len(amounts) % 2 or len(amounts) > 2 * x.ndim:
            raise wrong("pad", f"{len(amounts)} amounts, expected two for each of at most {x.ndim} axes")
        pairs = [(amounts[k], amounts[k + 1]) for k in range(0, len(amounts), 2)]
        if mode == "constant":
            around = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
            low, high = [p for p, _ in around], [p for _, p in around]
            return Tensor(b.pad(x.value, scalar(value, x.dtype), low, high)) if any(amounts) else x
        found = x.value
        for k, (low, high) in enumerate(pairs):
            found = pad_axis(found, x.ndim - 1 - k, low, high, mode)
        return Tensor(found)


def pad_axis(x: Value, axis: int, low: int, high: int, mode: str) -> Value:
    """So many elements before and after along an axis, by any mode but "constant"."""
    size = x.type.shape[axis]
    _check(size, axis, low, high, mode)
    parts: list[Value] = []
    if low:
        parts.append(_low(x, axis, low, mode))
    parts.append(x)
    if high:
        parts.append(_high(x, axis, high, size, mode))
    return b.concat(parts, axis) if len(parts) > 1 else x


def _check(size: Dim, axis: int, low: int, high: int, mode: str) -> None:
    if min(low, high) < 0:
        raise wrong("pad", f'{min(low, high)} cuts, which mode "{mode}" does not')
    reach = max(low, high) if mode != "replicate" else min(max(low, high), 1)
    least = reach + 1 if mode == "reflect" and reach else reach
    if bounds(size)[0] < least:
        may = "is" if isinstance(size, int) else "may be less than"
        found = dim_text(size) if isinstance(size, int) else f"{least}: {dim_text(size)}"
        raise wrong("pad", f'axis {axis} {may} {found}, mode "{mode}" with {max(low, high)} needs {least}')


def _low(x: Value, axis: int, count: int, mode: str) -> Value:
    if mode == "replicate":
        return _repeated(_part(x, axis, 0, 1), axis, count)
    if mode == "circular":
        size = x.type.shape[axis]
        return _part(x, axis, size - count, size)
    first = 1 if mode == "reflect" else 0
    return b.reverse(_part(x, axis, first, first + count), (axis,))


def _high(x: Value, axis: int, count: int, size: Dim, mode: str) -> Value:
    if mode == "replicate":
        return _repeated(_part(x, axis, size - 1, size), axis, count)
    if mode == "circular":
        return _part(x, axis, 0, count)
    end = size - 1 if mode == "reflect" else size
    return b.reverse(_part(x, axis, end - count, end), (axis,))


def _part(x: Value, axis: int, start: Dim, limit: Dim) -> Value:
    starts: list[Dim] = [0] * x.type.rank
    limits = list(x.type.shape)
    starts[axis], limits[axis] = start, limit
    return b.slice_(x, starts, limits)


def _repeated(x: Value, axis: int, count: int) -> Value:
    shape = (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :])
    return b.broadcast_in_dim(x, shape, tuple(range(x.type.rank)))
