"""Convolution and pooling over images [N, C, H, W], with PyTorch's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import ceildiv
from ..ir.graph import Value, make_one
from ..ir.ops.nn import AvgPool
from .calls import called, wrong
from .tensor import Tensor, as_tensor

__all__ = ["Padding", "Pair", "avg_pool2d", "conv2d", "max_pool2d", "pair"]

Pair = int | Sequence[int]
"""One number for both spatial axes, or one each."""

Padding = int | str | Sequence[int]
"""One number, one an axis, four as (top, bottom, left, right), "same" or "valid"."""

Pads = tuple[tuple[int, int], tuple[int, int]]


def pair(value: Pair) -> tuple[int, int]:
    """One number as two; two as they are."""
    if isinstance(value, int):
        return value, value
    first, second = value
    return int(first), int(second)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution.

    Shapes:  input [N, C, H, W], weight [O, C / groups, kH, kW], bias [O] -> [N, O, H', W']
    Args:    padding: see `Padding`; "same" keeps H and W, with the odd pixel at the end
    Raises:  TypeInferenceError where channels or shapes do not fit, with the numbers and the user's line
    Source:  PyTorch torch.nn.functional.conv2d
    """
    x, w = as_tensor(input), as_tensor(weight)
    with called("conv2d", x=x, w=w, groups=groups):
        if x.ndim != 4 or w.ndim != 4:
            raise wrong("conv2d", "expected x [N, C, H, W] and w [O, C / groups, kH, kW]")
        step, spread = pair(stride), pair(dilation)
        around = _conv_pads(padding, w, step, spread)
        y = b.conv(x.value, w.value, step, around, rhs_dilation=spread, groups=groups)
    return Tensor(y if bias is None else _add_bias(y, as_tensor(bias)))


def _add_bias(y: Value, bias: Tensor) -> Value:
    if bias.type != y.type.with_shape(y.type.shape[1:2]):
        raise wrong("conv2d", "bias is not one number an output channel", y=Tensor(y), bias=bias)
    return b.add(y, b.broadcast_in_dim(bias.value, y.type.shape, (1,)))


def _conv_pads(padding: Padding, w: Tensor, stride: tuple[int, int], dilation: tuple[int, int]) -> Pads:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise wrong("conv2d", f'padding "same" needs stride 1, got {stride}')
        first, second = ((int(k) - 1) * d for k, d in zip(w.type.static_shape()[2:], dilation, strict=True))
        return (first // 2, first - first // 2), (second // 2, second - second // 2)
    if isinstance(padding, str):
        raise wrong("conv2d", f'padding is "{padding}", expected "same", "valid" or numbers')
    if not isinstance(padding, int) and len(padding) == 4:
        top, bottom, left, right = padding
        return (top, bottom), (left, right)
    rows, columns = pair(padding)
    return (rows, rows), (columns, columns)


def _pool_extra(
    x: Tensor, window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """What ceil_mode adds at the end of each axis: so much that a last window that begins inside counts."""
    extra: list[int] = []
    for axis, (size, k, s, p) in enumerate(zip(x.shape[2:], window, stride, padding, strict=True)):
        if not isinstance(size, int):
            raise wrong("pool", f"ceil_mode needs a known size, spatial axis {axis} is {size}")
        count = ceildiv(size + 2 * p - k, s) + 1
        assert isinstance(count, int), count
        if (count - 1) * s >= size + p:
            count -= 1
        extra.append(max(0, (count - 1) * s + k - size - 2 * p))
    return extra[0], extra[1]


def max_pool2d(
    input: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window; the stride is the window's size if not given.

    Source:  PyTorch torch.nn.functional.max_pool2d
    """
    x, window, spread = as_tensor(input), pair(kernel_size), pair(dilation)
    step, around = window if stride is None else pair(stride), pair(padding)
    with called("max_pool2d", x=x, kernel_size=window, stride=step, padding=around):
        if x.ndim != 4:
            raise wrong("max_pool2d", "expected x [N, C, H, W]")
        reach = ((window[0] - 1) * spread[0] + 1, (window[1] - 1) * spread[1] + 1)
        extra = _pool_extra(x, reach, step, around) if ceil_mode else (0, 0)
        pads = [(p, p + more) for p, more in zip(around, extra, strict=True)]
        values, _ = b.max_pool(x.value, window, step, pads, spread)
    return Tensor(values)


def avg_pool2d(
    input: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; the stride is the window's size if not given.

    Args:    count_include_pad: whether padding counts as zeros; what ceil_mode adds beyond it never counts
    Source:  PyTorch torch.nn.functional.avg_pool2d
    """
    x, window = as_tensor(input), pair(kernel_size)
    step, around = window if stride is None else pair(stride), pair(padding)
    with called("avg_pool2d", x=x, kernel_size=window, stride=step, padding=around):
        if x.ndim != 4:
            raise wrong("avg_pool2d", "expected x [N, C, H, W]")
        extra = _pool_extra(x, window, step, around) if ceil_mode else (0, 0)
        value, counts = x.value, count_include_pad and any(around)
        if counts and any(extra):
            zero = b.full(value.type.with_shape(()), 0)
            value = b.pad(value, zero, (0, 0, *around), (0, 0, *around))
            around, counts = (0, 0), False
        pads = tuple((p, p + more) for p, more in zip(around, extra, strict=True))
        return Tensor(make_one(AvgPool(window, step, pads, counts), value))
