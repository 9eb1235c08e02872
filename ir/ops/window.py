"""Ops that slide a window over the spatial axes of [N, C, spatial...]: convolution, pooling, window sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, bounds, dim_text, floordiv, mod, product
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType, dtype_of, i64
from .common import accumulator, narrow, need, need_kind

__all__ = ["NEUTRAL", "Conv", "MaxPool", "Pads", "WindowSum", "window_extent"]

Pads = tuple[tuple[int, int], ...]

NEUTRAL: Mapping[str, Any] = {
    "strides": 1,
    "padding": (0, 0),
    "dilation": 1,
    "base_dilation": 1,
    "lhs_dilation": 1,
    "rhs_dilation": 1,
}
"""What each attribute of a window holds an axis when it does nothing."""


def window_extent(
    op: Op, size: Dim, window: Dim, stride: int, pad: tuple[int, int], dilation: int, base: int, axis: int
) -> Dim:
    """O = floor((W + low + high - ((K - 1) * dilation + 1)) / stride) + 1, W = (size - 1) * base + 1.

    Raises:
        TypeInferenceError: the window does not fit into the padded input, with the numbers in it
    """
    spread = size if base == 1 else (size - 1) * base + 1
    reach = (window - 1) * dilation + 1
    room = spread + pad[0] + pad[1] - reach
    if bounds(room)[0] < 0:
        if bounds(room)[1] >= 0:
            raise op.error(
                f"spatial axis {axis}: {dim_text(spread)} + {pad[0]} + {pad[1]} may be less than the window's"
                f" {dim_text(reach)}",
                hint="narrow the symbol's range, such as f32[B,1,H:28..64,W:28..64]",
            )
        raise op.error(
            f"spatial axis {axis}: the window does not fit:"
            f" {dim_text(spread)} + {pad[0]} + {pad[1]} < ({dim_text(window)} - 1) * {dilation} + 1 = {dim_text(reach)}"
        )
    return floordiv(room, stride) + 1


def check_window(op: Op, x: TensorType, *groups: Sequence[Any]) -> int:
    spatial = x.rank - 2
    need(op, spatial >= 1, f"x has rank {x.rank}, expected [N, C, spatial...]", x)
    for group in groups:
        need(op, len(group) == spatial, f"{len(group)} entries for {spatial} spatial axes", x)
    return spatial


def spread_and_pad(x: Array, pads: Pads, base: tuple[int, ...], value: Any) -> Array:
    """x with base - 1 copies of the value between elements of the spatial axes and the pads around."""
    sizes = [d if b == 1 else (d - 1) * b + 1 for d, b in zip(x.shape[2:], base, strict=True)]
    spread = np.full((*x.shape[:2], *sizes), value, dtype=x.dtype)
    spread[(slice(None), slice(None), *(slice(None, None, b) for b in base))] = x
    for axis, (lo, hi) in enumerate(pads, start=2):
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(max(-lo, 0), spread.shape[axis] - max(-hi, 0))
        spread = spread[tuple(cut)]
    amounts = [(0, 0), (0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in pads)]
    return np.pad(spread, amounts, constant_values=value)


def window_views(
    x: Array, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int], out: Sequence[int]
) -> list[Array]:
    """For each position within the window, in row-major order, the elements it meets at every output."""
    views: list[Array] = []
    for offset in np.ndindex(*window):
        picks = [
            slice(k * d, k * d + (o - 1) * s + 1, s) if o else slice(0, 0)
            for k, d, o, s in zip(offset, dilations, out, strides, strict=True)
        ]
        views.append(x[(slice(None), slice(None), *picks)])
    return views


@register
@dataclass(frozen=True)
class Conv(Op):
    """Convolution (cross-correlation, as everywhere in the field) over 1 to 3 spatial axes.

    Equation: y[n, o, p] = sum over c, k of x[n, c, p * stride + k * rhs_dilation - low] * w[o, c, k]
    Shapes:   x T[N, C, spatial...], w T[O, C / groups, window...] -> T[N, O, spatial'...]
    Args:     strides, rhs_dilation >= 1; padding: (low, high) an axis, negative cuts; lhs_dilation spreads x
              (a transposed convolution); groups divides C and O
    Gradient: dx is a conv of dy with strides and lhs_dilation exchanged, dw a conv of x with dy
    Source:   ONNX Conv-22, StableHLO convolution
    """

    mnemonic = "conv"
    neutral = NEUTRAL
    accuracy = Accuracy.REASSOCIATED
    strides: tuple[int, ...]
    padding: Pads
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int = 1

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        need(self, x.dtype == w.dtype, f"element types differ: {x.dtype} and {w.dtype}", x, w)
        spatial = check_window(self, x, self.strides, self.padding, self.lhs_dilation, self.rhs_dilation)
        need(self, 1 <= spatial <= 3, f"{spatial} spatial axes, expected 1 to 3", x, w)
        need(self, w.rank == x.rank, f"weight has rank {w.rank}, input has rank {x.rank}", x, w)
        need(
            self,
            min(*self.strides, *self.lhs_dilation, *self.rhs_dilation, self.groups) >= 1,
            "strides, dilations and groups start at 1",
            x,
            w,
        )
        channels, out = x.shape[1], w.shape[0]
        if channels != w.shape[1] * self.groups:
            wanted = dim_text(w.shape[1] * self.groups)
            plural = "" if wanted == "1" else "s"
            depthwise = w.shape[1] == 1 and isinstance(channels, int) and self.groups == 1
            raise self.error(
                f"weight expects {wanted} input channel{plural}, input has {dim_text(channels)}",
                x,
                w,
                hint=f"pass groups={channels} for a depthwise convolution" if depthwise else None,
            )
        need(
            self,
            mod(out, self.groups) == 0,
            f"{self.groups} groups do not divide {dim_text(out)} output channels",
            x,
            w,
        )
        sizes = [
            window_extent(
                self,
                x.shape[k + 2],
                w.shape[k + 2],
                self.strides[k],
                self.padding[k],
                self.rhs_dilation[k],
                self.lhs_dilation[k],
                k,
            )
            for k in range(spatial)
        ]
        return x.with_shape((x.shape[0], out, *sizes))

    def evaluate(self, x: Array, w: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        dtype = dtype_of(x)
        wide = np.float64  # as in `matmul`
        shape = types[0].static_shape()
        padded = spread_and_pad(x.astype(wide), self.padding, self.lhs_dilation, 0)
        views = window_views(padded, w.shape[2:], self.strides, self.rhs_dilation, shape[2:])
        n, g = x.shape[0], self.groups
        pixels = int(np.prod(shape[2:], dtype=np.int64))
        kernel = w.astype(wide).reshape(g, shape[1] // g, w.shape[1], len(views))
        out = np.zeros((n, g, shape[1] // g, pixels), dtype=wide)
        with np.errstate(all="ignore"):
            for k, view in enumerate(views):
                patch = np.ascontiguousarray(view).reshape(n, g, w.shape[1], pixels)
                out += np.matmul(kernel[:, :, :, k], patch)
        return narrow(out.reshape(shape), dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(2 * results[0].size * product(operands[1].shape[1:]), traffic(operands, results))


@register
@dataclass(frozen=True)
class MaxPool(Op):
    """The largest element of each window, and where it stood.

    Shapes:   x T[N, C, spatial...] -> T[N, C, spatial'...], i64[N, C, spatial'...]
    Args:     window, strides, dilation >= 1; padding: (low, high) an axis, less than a window reaches; negative cuts,
              and padded elements never win
    Gradient: dy added at the index
    Numerics: the first of equals wins; a NaN wins over all. The index is flat over the whole of x
    Source:   ONNX MaxPool-22 with storage_order 0
    """

    mnemonic = "max_pool"
    neutral = NEUTRAL
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        need_kind(self, x, ("float", "int", "uint"))
        spatial = check_window(self, x, self.window, self.strides, self.padding, self.dilation)
        for k in range(spatial):
            reach = (self.window[k] - 1) * self.dilation[k] + 1
            need(
                self,
                max(self.padding[k]) < reach,
                f"padding {self.padding[k]} is not below the window's reach of {reach}",
                x,
            )
        sizes = [
            window_extent(
                self, x.shape[k + 2], self.window[k], self.strides[k], self.padding[k], self.dilation[k], 1, k
            )
            for k in range(spatial)
        ]
        y = x.with_shape((*x.shape[:2], *sizes))
        return y, y.with_dtype(i64)

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> tuple[Array, Array]:
        shape = types[0].static_shape()
        ones = (1,) * len(self.window)
        places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        values = window_views(
            spread_and_pad(x, self.padding, ones, 0), self.window, self.strides, self.dilation, shape[2:]
        )
        indices = window_views(
            spread_and_pad(places, self.padding, ones, -1),
            self.window,
            self.strides,
            self.dilation,
            shape[2:],
        )
        best, where = np.zeros(shape, dtype=x.dtype), np.full(shape, -1, dtype=np.int64)
        for value, index in zip(values, indices, strict=True):
            larger = (value > best) | ((value != value) & (best == best))  # NaN differs from itself
            wins = (index >= 0) & ((where < 0) | larger)
            best, where = np.where(wins, value, best), np.where(wins, index, where)
        return best, where

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(results[0].size * product(self.window), traffic(operands, results))


@register
@dataclass(frozen=True)
class WindowSum(Op):
    """The sum over each window; padded elements count as 0.

    Shapes:   x T[N, C, spatial...] -> T[N, C, spatial'...]
    Args:     window, strides, dilation, base_dilation >= 1; padding: (low, high) an axis, negative cuts
    Gradient: a window sum of dy with strides and base_dilation exchanged
    Source:   StableHLO reduce_window with add
    """

    mnemonic = "window_sum"
    neutral = NEUTRAL
    accuracy = Accuracy.REASSOCIATED
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    base_dilation: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float", "int", "uint"))
        spatial = check_window(
            self, x, self.window, self.strides, self.padding, self.dilation, self.base_dilation
        )
        sizes = [
            window_extent(
                self,
                x.shape[k + 2],
                self.window[k],
                self.strides[k],
                self.padding[k],
                self.dilation[k],
                self.base_dilation[k],
                k,
            )
            for k in range(spatial)
        ]
        return x.with_shape((*x.shape[:2], *sizes))

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        dtype = dtype_of(x)
        padded = spread_and_pad(x.astype(accumulator(dtype, None).numpy), self.padding, self.base_dilation, 0)
        views = window_views(padded, self.window, self.strides, self.dilation, types[0].static_shape()[2:])
        out = np.zeros(types[0].static_shape(), dtype=padded.dtype)
        with np.errstate(all="ignore"):
            for view in views:
                out = out + view
        return narrow(out, dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(results[0].size * product(self.window), traffic(operands, results))
