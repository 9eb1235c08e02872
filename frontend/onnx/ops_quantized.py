"""Quantised models through dequantised arithmetic: right to the last bit of the integers, not fast."""

from __future__ import annotations

from typing import Any

from ...ir import build as b
from ...ir.graph import Value
from ...ir.types import DType, f32, f64, i32, u8
from ..shapes import matmul as stacked
from .elements import dtype_named
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import Windows


def _numbers(n: OnnxNode, k: int, axis: int | None) -> Value:
    """Scales or zero points: one number, or one for each element of the axis."""
    v = n.value(k)
    if axis is None or v.type.size == 1:
        return b.reshape(v, ())
    if v.type.rank != 1:
        raise Refused(f"input {k} ({n.inputs[k]}) is {v.type}: quantised in blocks")
    return v


def _axis(n: OnnxNode, x: Value, k: int) -> int | None:
    """The axis along which scales differ; none where there is one."""
    scale = n.type(k)
    if n.attr("block_size", 0):
        raise Refused("quantised in blocks", "quantise by tensor or by channel")
    return None if scale.size == 1 else n.axis(n.attr("axis", 1), x.type.rank)


@op("QuantizeLinear")
def quantize_linear(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = _axis(n, x, 1)
    given = n.attr("output_dtype", 0)
    dtype: DType = n.type(2).dtype if n.has(2) else dtype_named(given) if given else u8
    scale = _numbers(n, 1, axis)
    zero = _numbers(n, 2, axis) if n.has(2) else b.full(scale.type.with_dtype(dtype), 0)
    x = b.cast(x, f32) if x.type.dtype.is_integer else x
    return b.quantize(x, b.cast(scale, x.type.dtype), zero, dtype, axis)


@op("DequantizeLinear")
def dequantize_linear(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = _axis(n, x, 1)
    scale = _numbers(n, 1, axis)
    zero = _numbers(n, 2, axis) if n.has(2) else b.full(scale.type.with_dtype(x.type.dtype), 0)
    found = b.dequantize(x, scale, zero, axis)
    given = n.attr("output_dtype", 0)
    return b.cast(found, dtype_named(given)) if given else found


@op("DynamicQuantizeLinear")
def dynamic_quantize_linear(n: OnnxNode) -> Any:
    return b.dynamic_quantize(n.value(0))


def _centred(n: OnnxNode, k: int, zero: int, dtype: DType, axis: int | None) -> Value:
    """Input k minus its zero point, in a wider type."""
    x = b.cast(n.value(k), dtype)
    if not n.has(zero):
        return x
    z = b.cast(n.value(zero), dtype)
    if z.type.rank == 1 and z.type.size != 1 and axis is not None:
        return b.sub(x, b.broadcast_in_dim(z, x.type.shape, (axis % x.type.rank,)))
    if z.type.size == 1:
        z = b.reshape(z, ())
    return b.sub(x, n.spread(z, x))


def _convolved(n: OnnxNode, x: Value, w: Value) -> Value:
    windows = Windows.of(n, x, n.attr("kernel_shape") or list(w.type.shape[2:]))
    return b.conv(
        x, w, windows.strides, windows.pads, rhs_dilation=windows.dilations, groups=n.attr("group", 1)
    )


@op("ConvInteger")
def conv_integer(n: OnnxNode) -> Value:
    """Sums of products of bytes are exact in f64."""
    return b.cast(_convolved(n, _centred(n, 0, 2, f64, None), _centred(n, 1, 3, f64, 0)), i32)


@op("MatMulInteger")
def matmul_integer(n: OnnxNode) -> Value:
    rank = n.type(0).rank
    return stacked(_centred(n, 0, 2, i32, rank - 2), _centred(n, 1, 3, i32, -1))


def _requantized(n: OnnxNode, total: Value, scale: Value, out: int) -> Value:
    """Sums in units of `scale` as integers in units of the output's scale, input `out`."""
    dtype = n.type(out + 1).dtype
    y = b.mul(total, b.cast(n.spread(scale, total), total.type.dtype))
    zero, unit = b.reshape(n.value(out + 1), ()), b.reshape(n.value(out), ())
    return b.quantize(b.cast(y, f32), b.cast(unit, f32), zero, dtype)


@op("QLinearConv")
def qlinear_conv(n: OnnxNode) -> Value:
    x, w = _centred(n, 0, 2, f64, None), _centred(n, 3, 5, f64, 0)
    total = _convolved(n, x, w)
    if n.has(8):
        total = b.add(total, b.broadcast_in_dim(b.cast(n.value(8), f64), total.type.shape, (1,)))
    unit, scales = b.cast(b.reshape(n.value(1), ()), f64), b.cast(n.value(4), f64)
    if scales.type.size == 1:
        scale = b.mul(b.reshape(scales, ()), unit)
        return _requantized(n, total, b.broadcast_in_dim(scale, total.type.shape, ()), 6)
    scale = b.mul(scales, n.spread(unit, scales))
    return _requantized(n, total, b.broadcast_in_dim(scale, total.type.shape, (1,)), 6)


@op("QLinearMatMul")
def qlinear_matmul(n: OnnxNode) -> Value:
    x, y = _centred(n, 0, 2, f64, n.type(0).rank - 2), _centred(n, 3, 5, f64, -1)
    total = stacked(x, y)
    scale = b.mul(*n.broadcast(b.cast(n.value(1), f64), b.cast(n.value(4), f64)))
    if scale.type.size == 1:
        scale = b.reshape(scale, ())
    return _requantized(n, total, scale, 6)
