"""Adaptive pooling: windows that follow from the sizes before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim, product
from ..ir.graph import Value
from ..ir.types import Array, i64
from .calls import called, wrong
from .elementwise import broadcast_to
from .pools import avg_pool1d, avg_pool2d, avg_pool3d
from .tensor import Tensor, as_tensor
from .windows import check_rank

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]  # fmt: skip

Sizes = int | None | Sequence[int | None]


def adaptive_avg_pool1d(input: Any, output_size: Sizes) -> Tensor:
    """The mean of output_size windows of [N, C, L]; see `adaptive_avg_pool2d`."""
    return _average("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Sizes) -> Tensor:
    """The mean of so many windows that the result has a given size.

    Equation: window i of O over W goes from floor(i W / O) to ceil((i + 1) W / O)
    Shapes:  input [N, C, H, W] -> [N, C, *output_size]
    Args:    output_size: one number, or one an axis; None keeps an axis. Symbolic axes go to 1 or stay
    Source:  PyTorch torch.nn.functional.adaptive_avg_pool2d
    """
    return _average("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Sizes) -> Tensor:
    """The mean of so many windows of [N, C, D, H, W]; see `adaptive_avg_pool2d`."""
    return _average("adaptive_avg_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest of output_size windows of [N, C, L]; see `adaptive_max_pool2d`."""
    return _maximum("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest of so many windows that the result has a given size; the windows of `adaptive_avg_pool2d`.

    Args:    return_indices: also where the largest stood, counted within each plane
    Gradient: to the first of the largest
    Source:  PyTorch torch.nn.functional.adaptive_max_pool2d
    """
    return _maximum("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest of so many windows of [N, C, D, H, W]; see `adaptive_max_pool2d`."""
    return _maximum("adaptive_max_pool3d", 3, input, output_size, return_indices)


AVERAGES = (avg_pool1d, avg_pool2d, avg_pool3d)


def _average(name: str, spatial: int, input: Any, output_size: Sizes) -> Tensor:
    x = as_tensor(input)
    with called(name, input=x, output_size=output_size):
        check_rank(name, x, spatial)
        wanted = _wanted(name, x, output_size)
        if windows := _even(x, wanted):
            return AVERAGES[spatial - 1](x, windows)
        y = x
        for axis, (size, out) in enumerate(zip(x.shape[2:], wanted, strict=True), start=2):
            if out == 1:
                y = y.mean(axis, keepdims=True)
            elif out is not None:
                y = _axis_mean(y, axis, *_windows(name, size, out, axis))
        return y


def _axis_mean(x: Tensor, axis: int, places: Array, inside: Array) -> Tensor:
    """The mean of each row of places along an axis."""
    out, reach = places.shape
    shape = x.shape
    rows = (*shape[:axis], out, reach, *shape[axis + 1 :])
    taken = b.reshape(_take(x.value, axis, places), rows)
    mask = b.broadcast_in_dim(b.constant(inside), rows, (axis, axis + 1))
    total = b.reduce_sum(b.select(mask, taken, b.full_like(taken, 0)), (axis + 1,))
    counts = b.constant(inside.sum(1).astype(x.dtype.numpy))
    return Tensor(b.div(total, b.broadcast_in_dim(counts, total.type.shape, (axis,))))


def _maximum(name: str, spatial: int, input: Any, output_size: Sizes, return_indices: bool) -> Any:
    x = as_tensor(input)
    with called(name, input=x, output_size=output_size):
        check_rank(name, x, spatial)
        wanted = _wanted(name, x, output_size)
        value, window = x.value, [1] * spatial
        plane = b.reshape(b.iota(i64, (product(x.shape[2:]),), 0), (1, 1, *x.shape[2:]))
        for axis, (size, out) in enumerate(zip(x.shape[2:], wanted, strict=True), start=2):
            if out is None:
                continue
            places, _ = _windows(name, size, out, axis)
            window[axis - 2] = places.shape[1]
            if places.size != size:
                value, plane = _take(value, axis, places), _take(plane, axis, places)
        pads = [(0, 0)] * spatial
        largest, indices = b.max_pool(value, window, window, pads)
        if not return_indices:
            return Tensor(largest)
        wide = b.reshape(broadcast_to(plane, value.type.shape), (value.type.size,))
        return Tensor(largest), Tensor(b.gather(wide, indices))


def _take(x: Value, axis: int, places: Array) -> Value:
    return b.gather(x, b.constant(places.reshape(-1)), axis)


def _windows(name: str, size: Dim, out: int, axis: int) -> tuple[Array, Array]:
    """The places in each window, as many as the widest has, its last repeated; and which are no repetition."""
    if not isinstance(size, int):
        raise wrong(name, f"{out} windows need a known size, spatial axis {axis - 2} is {size}")
    starts = np.array([i * size // out for i in range(out)])
    ends = np.array([-((i + 1) * size // -out) for i in range(out)])
    steps = np.arange(int((ends - starts).max(initial=1)))
    places = starts[:, None] + steps
    return np.minimum(places, ends[:, None] - 1).astype(np.int64), places < ends[:, None]


def _wanted(name: str, x: Tensor, output_size: Sizes) -> list[int | None]:
    """The size of each spatial axis of the result, None for one that stays as it is."""
    spatial = x.ndim - 2
    if output_size is None or isinstance(output_size, int):
        given = [output_size] * spatial
    else:
        given = list(output_size)
    if len(given) != spatial:
        raise wrong(name, f"output_size has {len(given)} entries for {spatial} spatial axes")
    if any(o is not None and o < 1 for o in given):
        raise wrong(name, f"output_size is {given}, expected numbers from 1 on")
    return [None if o == d else o for o, d in zip(given, x.shape[2:], strict=True)]


def _even(x: Tensor, wanted: Sequence[int | None]) -> list[int]:
    """The size of the windows where all are alike and do not overlap; else nothing."""
    windows: list[int] = []
    for size, out in zip(x.shape[2:], wanted, strict=True):
        if out is None:
            windows.append(1)
        elif isinstance(size, int) and size % out == 0:
            windows.append(size // out)
        else:
            return []
    return windows
