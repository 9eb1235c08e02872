"""What runs along an axis in order: running sums and products, sorting; and the logarithm of a sum of exponentials."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dims import Dim, bounds
from ...ir.errors import UnsupportedError
from ...ir.graph import Node
from ...ir.ops.cumulative import CumProd, CumSum
from ...ir.ops.nn import LogSumExp
from ...ir.ops.sort import Sort, TopK
from ...ir.types import DType, f16, f32, f64, i32, i64, u64
from .contract import comparable, reduce_with
from .elementwise import NARROW, Emitter
from .writer import Writer, dim_parameter, onnx_type, result

__all__ = ["EMITTERS"]

WIDE = {"i8": i32, "i16": i32, "u8": i32, "u32": i64, "u64": i64, **NARROW}
"""Wrapping is the same in a wider type, cut back."""

BEYOND_F32 = 1e300


def cumsum(w: Writer, node: Node) -> None:
    op, dtype = node.op, node.results[0].type.dtype
    assert isinstance(op, CumSum)
    inner = WIDE.get(dtype.name, dtype)
    x = w.cast(w.tensor(node.operands[0]), dtype, inner)
    axis = w.scalar(op.axis, i64)
    found = w.node("CumSum", [x, axis], exclusive=int(op.exclusive), reverse=int(op.reverse))
    result(w, node, w.cast(found, inner, dtype))


def cumprod(w: Writer, node: Node) -> None:
    """A Scan along the axis that carries the product."""
    from onnx import helper

    op, x = node.op, node.operands[0]
    assert isinstance(op, CumProd)
    dtype = x.type.dtype
    if any(d == 0 for d in x.type.shape):
        result(w, node, w.node("Identity", [w.tensor(x)]))
        return
    if any(bounds(d)[0] == 0 for d in x.type.shape):  # an empty step ends the process: a division by its size
        raise UnsupportedError(
            "onnx: cumprod along or beside an axis that may be empty: onnxruntime's Scan takes no empty sequence",
            where=[str(o) for o in node.origins],
        )
    inner = WIDE.get(dtype.name, dtype)
    rest = (*x.type.shape[: op.axis], *x.type.shape[op.axis + 1 :])
    sizes = [dim_parameter(d) for d in rest]
    body = Writer(w.opset, w)
    before, element = w.fresh("before"), w.fresh("element")
    total = body.node("Mul", [before, element])
    out = body.node("Identity", [before if op.exclusive else total])
    infos: list[Any] = [
        helper.make_tensor_value_info(n, onnx_type(inner), sizes) for n in (before, element, total, out)
    ]
    graph = helper.make_graph(body.nodes, w.fresh("body"), infos[:2], infos[2:])
    first = w.scalar(1, inner)
    if rest:
        first = w.node("Expand", [first, w.shape(rest)])
    scanned = w.cast(w.tensor(x), dtype, inner)
    direction = [int(op.reverse)]
    _, found = w.multi(
        "Scan", [first, scanned], ["", ""], body=graph, num_scan_inputs=1, scan_input_axes=[op.axis],
        scan_output_axes=[op.axis], scan_input_directions=direction, scan_output_directions=direction,
    )  # fmt: skip
    result(w, node, w.cast(found, inner, dtype))


def sort(w: Writer, node: Node) -> None:
    """TopK, whose equals keep their order; what it leaves open, where NaN goes, is settled before."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, (Sort, TopK))
    largest = op.descending if isinstance(op, Sort) else op.largest
    name, dtype, size = w.tensor(x), x.type.dtype, x.type.shape[op.axis]
    count = node.results[0].type.shape[op.axis]

    def places(keys: str, k: Dim) -> str:
        names = w.multi("TopK", [keys, w.dim(k)], ["", ""], axis=op.axis, largest=int(largest), sorted=1)
        return names[1]

    if dtype == f64:
        indices = _two_passes(w, name, op.axis, size, places)
        if count != size:
            axis = w.vector([op.axis])
            indices = w.node("Slice", [indices, w.vector([0]), w.dim(count), axis])
    else:
        indices = places(_keys(w, name, dtype), count)
    result(w, node, w.node("GatherElements", [name, indices], axis=op.axis), 0)
    result(w, node, indices, 1)


def _keys(w: Writer, x: str, dtype: DType) -> str:
    """Numbers that TopK orders; f64 has room for a NaN above an infinity of f32."""
    if dtype not in (f16, f32):
        inner = {"i8": i32, "i16": i32, "u8": i32, "u32": i64}.get(dtype.name, dtype)
        return comparable(w, x, dtype) if dtype == u64 else w.cast(x, dtype, inner)
    x = w.cast(x, dtype, f32)
    infinite = w.node("Equal", [x, w.scalar(math.inf, f32)])
    finite = w.where(infinite, w.scalar(BEYOND_F32, f64), w.cast(x, f32, f64), f64)
    return w.where(w.node("IsNaN", [x]), w.scalar(math.inf, f64), finite, f64)


def _two_passes(w: Writer, x: str, axis: int, size: Dim, places: Any) -> str:
    """By value with NaN as infinity; then, equals keeping that order, by being NaN."""
    nan = w.node("IsNaN", [x])
    first = places(w.where(nan, w.scalar(math.inf, f64), x, f64), size)
    flags = w.node("GatherElements", [w.node("Cast", [nan], to=onnx_type(i32)), first], axis=axis)
    return w.node("GatherElements", [first, places(flags, size)], axis=axis)


def logsumexp(w: Writer, node: Node) -> None:
    op, x = node.op, node.operands[0]
    assert isinstance(op, LogSumExp)
    dtype = x.type.dtype
    inner = NARROW.get(dtype.name, dtype)
    name = w.cast(w.tensor(x), dtype, inner)
    if op.axes:
        name = reduce_with(w, "ReduceLogSumExp", name, op.axes)
    else:
        name = w.node("Identity", [name])
    result(w, node, w.cast(name, inner, dtype))


EMITTERS: dict[str, Emitter] = {
    "cumsum": cumsum,
    "cumprod": cumprod,
    "sort": sort,
    "top_k": sort,
    "logsumexp": logsumexp,
}
