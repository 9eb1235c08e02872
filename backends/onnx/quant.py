"""Quantization in ONNX."""

from __future__ import annotations

from typing import Any

from ...ir.graph import Node
from ...ir.ops.quant import Dequantize, Quantize
from ...ir.types import DType, i16
from .elementwise import NARROW, Emitter
from .writer import Writer, result

__all__ = ["EMITTERS"]


def _along(w: Writer, axis: int | None, dtype: DType) -> dict[str, Any]:
    if dtype == i16:
        w.need(21)
    return {} if axis is None else {"axis": axis}


def quantize(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Quantize)
    x, scale, zero_point = node.operands
    dtype = x.type.dtype
    inner = NARROW.get(dtype.name, dtype)
    names = w.widened([w.tensor(x), w.tensor(scale)], dtype, inner)
    axis = _along(w, op.axis, op.dtype)
    result(w, node, w.node("QuantizeLinear", [*names, w.tensor(zero_point)], **axis))


def dequantize(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Dequantize)
    x, scale, zero_point = node.operands
    dtype = scale.type.dtype
    inner = NARROW.get(dtype.name, dtype)
    factor = w.cast(w.tensor(scale), dtype, inner)
    axis = _along(w, op.axis, x.type.dtype)
    found = w.node("DequantizeLinear", [w.tensor(x), factor, w.tensor(zero_point)], **axis)
    result(w, node, w.cast(found, inner, dtype))


def dynamic_quantize(w: Writer, node: Node) -> None:
    x = node.operands[0]
    dtype = x.type.dtype
    name = w.cast(w.tensor(x), dtype, NARROW.get(dtype.name, dtype))
    for index, found in enumerate(w.multi("DynamicQuantizeLinear", [name], ["", "", ""])):
        result(w, node, found, index)


EMITTERS: dict[str, Emitter] = {
    "quantize": quantize,
    "dequantize": dequantize,
    "dynamic_quantize": dynamic_quantize,
}
