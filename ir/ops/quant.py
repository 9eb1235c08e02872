"""Floats as small integers and back: q = round(x / scale) + zero point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import Shape, bounds
from ..op import Accuracy, Cost, Level, Op, register, traffic
from ..types import Array, DType, TensorType, dtype_of, i8, i16, i32, u8
from .common import accumulator, axes_of, narrow, need, need_kind

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["Dequantize", "DynamicQuantize", "Quantize"]

NARROW = (i8, u8, i16)
"""What floats are quantized to."""


class Quantization(Op):
    """A family of composites around one scale and one zero point, or one of each for each element of an axis."""

    level = Level.NN
    accuracy = Accuracy.ROUNDED

    def check(self, axis: int | None, x: TensorType, scale: TensorType, zero_point: TensorType) -> None:
        if axis is not None:
            axes_of(self, (axis,), x)
        shape: Shape = () if axis is None else (x.shape[axis],)
        what = "scalars" if axis is None else f"one for each element of axis {axis}"
        need(
            self,
            scale.shape == shape and zero_point.shape == shape,
            f"scale is {scale} and the zero point {zero_point}, expected {what}",
            x,
            scale,
            zero_point,
        )

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(3 * operands[0].size, traffic(operands, results))


def _beside(v: Array, axis: int | None, rank: int) -> Array:
    """Numbers along an axis, or one number, with axes that broadcast."""
    return v if axis is None else v.reshape([-1 if k == axis else 1 for k in range(rank)])


def _spread(v: Value, axis: int | None, like: Value) -> Value:
    from .. import build

    return build.broadcast_in_dim(v, like.type.shape, () if axis is None else (axis,))


@register
@dataclass(frozen=True)
class Quantize(Quantization):
    """Floats as integers.

    Equation: y = clamp(round(x / scale) + zero_point) to the range of the element type
    Shapes:   x F[S], scale F[], zero_point D[] -> D[S]; with an axis of n elements scale F[n], zero_point D[n]
    Args:     dtype: i8, u8 or i16; axis: along which scales differ, or None
    Numerics: half to even; beyond the range the nearest end, NaN gives 0; f16 and bf16 in f32
    Source:   ONNX QuantizeLinear-21
    """

    mnemonic = "quantize"
    dtype: DType
    axis: int | None = None

    def infer(self, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        types = (x, scale, zero_point)
        need(self, self.dtype in NARROW, f"the element type is {self.dtype}, expected i8, u8 or i16", *types)
        need(self, scale.dtype == x.dtype, f"element types differ: {x.dtype} and {scale.dtype}", *types)
        fits = zero_point.dtype == self.dtype
        need(self, fits, f"the zero point is {zero_point.dtype}, expected {self.dtype}", *types)
        self.check(self.axis, *types)
        return x.with_dtype(self.dtype)

    def evaluate(self, x: Array, scale: Array, zero_point: Array, **_: Any) -> Array:
        acc, info = accumulator(dtype_of(x), None).numpy, np.iinfo(self.dtype.numpy)
        s, z = (_beside(v.astype(acc), self.axis, x.ndim) for v in (scale, zero_point))
        with np.errstate(all="ignore"):
            y = np.clip(np.rint(x.astype(acc) / s) + z, info.min, info.max)
        return np.asarray(np.where(np.isnan(y), 0, y)).astype(self.dtype.numpy)

    def decompose(self, x: Value, scale: Value, zero_point: Value) -> Value:
        from .. import build

        acc = accumulator(x.type.dtype, None)
        x, s, z = (build.cast(v, acc) for v in (x, scale, zero_point))
        units = build.round_even(build.div(x, _spread(s, self.axis, x)))
        return build.cast(build.add(units, _spread(z, self.axis, x)), self.dtype)


@register
@dataclass(frozen=True)
class Dequantize(Quantization):
    """Integers as the floats that they stand for.

    Equation: y = (x - zero_point) * scale
    Shapes:   x D[S], scale F[], zero_point D[] -> F[S]; with an axis of n elements scale F[n], zero_point D[n]
    Args:     axis: along which scales differ, or None; D is i8, u8, i16 or i32, whose difference wraps
    Gradient: by the scale
    Numerics: f16 and bf16 in f32
    Source:   ONNX DequantizeLinear-21
    """

    mnemonic = "dequantize"
    axis: int | None = None

    def infer(self, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
        types = (x, scale, zero_point)
        fits = x.dtype in (*NARROW, i32)
        need(self, fits, f"the operand is {x.dtype}, expected i8, u8, i16 or i32", *types)
        need_kind(self, scale, ("float",), what="the scale")
        same = zero_point.dtype == x.dtype
        need(self, same, f"element types differ: {x.dtype} and {zero_point.dtype}", *types)
        self.check(self.axis, *types)
        return x.with_dtype(scale.dtype)

    def evaluate(self, x: Array, scale: Array, zero_point: Array, **_: Any) -> Array:
        dtype = dtype_of(scale)
        acc = accumulator(dtype, None).numpy
        with np.errstate(all="ignore"):
            distance = x.astype(np.int32) - _beside(zero_point.astype(np.int32), self.axis, x.ndim)
            y = distance.astype(acc) * _beside(scale.astype(acc), self.axis, x.ndim)
            return narrow(y, dtype)

    def decompose(self, x: Value, scale: Value, zero_point: Value) -> Value:
        from .. import build

        acc = accumulator(scale.type.dtype, None)
        z = _spread(build.cast(zero_point, i32), self.axis, x)
        distance = build.cast(build.sub(build.cast(x, i32), z), acc)
        y = build.mul(distance, _spread(build.cast(scale, acc), self.axis, x))
        return build.cast(y, scale.type.dtype)


@register
@dataclass(frozen=True)
class DynamicQuantize(Quantization):
    """Floats as u8 over the range that they span, 0 included; and the scale and the zero point of it.

    Equation: scale = (max(x, 0) - min(x, 0)) / 255, 1 where that is 0; zero_point = round(-min(x, 0) / scale);
              y = clamp(round(x / scale) + zero_point) to 0..255
    Shapes:   x F[S], not empty -> u8[S], A[], u8[]; A is F, f32 for f16 and bf16
    Gradient: of the scale, to the extremes
    Numerics: half to even
    Source:   ONNX DynamicQuantizeLinear-11
    """

    mnemonic = "dynamic_quantize"

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType, TensorType]:
        need_kind(self, x, ("float",))
        need(self, bounds(x.size)[0] > 0, "the operand may be empty and has no range then", x)
        return x.with_dtype(u8), TensorType(accumulator(x.dtype, None)), TensorType(u8)

    def evaluate(self, x: Array, **_: Any) -> tuple[Array, Array, Array]:
        acc = accumulator(dtype_of(x), None).numpy
        wide, zero, one = x.astype(acc), np.zeros((), acc), np.ones((), acc)
        with np.errstate(all="ignore"):
            low, high = np.minimum(np.min(wide), zero), np.maximum(np.max(wide), zero)
            span: Array = (high - low) / (255 * one)
            scale: Array = np.where(span == 0, one, span)
            place = np.clip(np.rint(-low / scale), 0, 255)
        zero_point = np.asarray(np.where(np.isnan(place), 0, place)).astype(np.uint8)
        return Quantize(u8).evaluate(wide, scale, zero_point), scale, zero_point

    def decompose(self, x: Value) -> tuple[Value, Value, Value]:
        from .. import build

        wide = build.cast(x, accumulator(x.type.dtype, None))
        axes = range(wide.type.rank)
        low, high = build.reduce_min(wide, axes), build.reduce_max(wide, axes)
        zero = build.full_like(low, 0)
        low, high = build.min(low, zero), build.max(high, zero)
        span = build.div(build.sub(high, low), build.full_like(low, 255))
        scale = build.select(build.eq(span, zero), build.full_like(span, 1), span)
        zero_point = build.cast(build.round_even(build.div(build.neg(low), scale)), u8)
        return Quantize(u8).decompose(wide, scale, zero_point), scale, zero_point
