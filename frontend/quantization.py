"""Floats as small integers and back, by ONNX's rules."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.types import dtype_of
from .calls import called
from .reductions import axis_of
from .tensor import Tensor, as_tensor

__all__ = ["dequantize", "dynamic_quantize", "quantize"]


def quantize(input: Any, scale: Any, zero_point: Any, dtype: Any = "i8", axis: int | None = None) -> Tensor:
    """round(input / scale) + zero_point, within the range of the element type.

    Shapes:   input [S]; scale and zero_point scalars, or [n] for an axis of n elements -> [S] of `dtype`
    Args:     scale: of input's element type; zero_point: of `dtype`; either may be a number; dtype: i8, u8 or i16
    Gradient: none: the result is an integer
    Numerics: half to even, NaN gives 0
    Source:   ONNX QuantizeLinear; PyTorch torch.quantize_per_tensor, torch.quantize_per_channel
    """
    x, target = as_tensor(input), dtype_of(dtype)
    s, z = as_tensor(scale, x.dtype), as_tensor(zero_point, target)
    with called("quantize", input=x, scale=s, zero_point=z, dtype=target, axis=axis):
        along = None if axis is None else axis_of("quantize", axis, x.value)
        return Tensor(b.quantize(x.value, s.value, z.value, target, along))


def dequantize(input: Any, scale: Any, zero_point: Any = 0, axis: int | None = None) -> Tensor:
    """(input - zero_point) * scale, in the scale's element type; a number is an f32.

    Shapes:   input [S] of i8, u8, i16 or i32; scale and zero_point as for `quantize` -> [S]
    Gradient: by the scale
    Source:   ONNX DequantizeLinear; PyTorch torch.dequantize
    """
    x = as_tensor(input)
    s, z = as_tensor(scale, dtype_of("f32")), as_tensor(zero_point, x.dtype)
    with called("dequantize", input=x, scale=s, zero_point=z, axis=axis):
        along = None if axis is None else axis_of("dequantize", axis, x.value)
        if along is not None and not isinstance(zero_point, Tensor) and z.ndim == 0:
            z = Tensor(b.broadcast_in_dim(z.value, s.value.type.shape, ()))
        return Tensor(b.dequantize(x.value, s.value, z.value, along))


def dynamic_quantize(input: Any) -> tuple[Tensor, Tensor, Tensor]:
    """input as u8 over the range that it spans, 0 included; the scale; and the zero point.

    Source:  ONNX DynamicQuantizeLinear
    """
    x = as_tensor(input)
    with called("dynamic_quantize", input=x):
        y, scale, zero_point = b.dynamic_quantize(x.value)
    return Tensor(y), Tensor(scale), Tensor(zero_point)
