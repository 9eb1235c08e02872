"""Constants, and tensors made from shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim, ceildiv, maximum
from ...ir.graph import Value
from ...ir.types import Array, TensorType, i64
from ..elementwise import dim_scalar
from .elements import array_of, dtype_named
from .known import MAX_ELEMENTS, Known
from .node import OnnxNode
from .report import Refused
from .scope import Weight
from .table import op

INLINE = 64
"""A float constant with more elements is a weight that the exporter wrote as a node."""


@op("Constant")
def constant(n: OnnxNode) -> Any:
    for name, dtype in (("value_float", "f"), ("value_floats", "f"), ("value_int", "q"), ("value_ints", "q")):
        found = n.attr(name)
        if found is not None:
            return Known.of(np.array(found, np.float32 if dtype == "f" else np.int64))
    tensor = n.attr("value")
    if tensor is None:
        raise Refused("the constant is neither a tensor nor numbers")
    array = array_of(tensor)
    if array.dtype.kind not in "iub" and array.size > INLINE:
        return Weight(n.scope.entry_name(n.outputs[0]), array)
    return Known.of(array)


@op("ConstantOfShape")
def constant_of_shape(n: OnnxNode) -> Any:
    tensor = n.attr("value")
    number = np.zeros(1, np.float32) if tensor is None else array_of(tensor)
    shape = n.dims(0)
    for d in shape:
        n.at_least(d, 0, "a size")
    return b.broadcast_in_dim(b.constant(number.reshape(())), shape, ())


@op("Shape")
def shape(n: OnnxNode) -> Known:
    dims = list(n.type(0).shape)
    return Known.dims(dims[slice(n.attr("start", 0), n.attr("end"))])


@op("Size")
def size(n: OnnxNode) -> Known:
    found = Known.dims([n.type(0).size])
    return Known(found.dtype, found.data.reshape(()))


@op("Range")
def range_(n: OnnxNode) -> Any:
    start, limit, delta = (n.known(k) for k in range(3))
    if start is None or limit is None or delta is None:
        raise next(n.not_known(k) for k in range(3) if n.known(k) is None)
    if start.is_static and limit.is_static and delta.is_static:
        return _static_range(start, *(k.data.item() for k in (start, limit, delta)))
    if not all(k.is_whole for k in (start, limit, delta)):
        raise Refused("a symbolic range has numbers that are not whole")
    first, last, step = (k.elements()[0] for k in (start, limit, delta))
    if not isinstance(step, int) or step < 1:
        raise Refused("a symbolic range has steps that are not known to be positive")
    length = maximum(ceildiv(last - first, step), 0)
    places = b.iota(start.dtype, (length,), 0)
    if step != 1:
        places = b.mul(places, b.full_like(places, step))
    return b.add(places, b.broadcast_in_dim(dim_scalar(first, start.dtype), (length,), ()))


def _static_range(like: Known, start: Any, limit: Any, delta: Any) -> Any:
    """A short range is known; a long one is made when the program runs."""
    if delta == 0 or not all(math.isfinite(x) for x in (start, limit, delta)):
        raise Refused(f"a range from {start} to {limit} in steps of {delta}")
    count = max(math.ceil((limit - start) / delta), 0)
    if count <= MAX_ELEMENTS:
        untyped: Any = np
        found: Array = untyped.arange(start, limit, delta)
        return Known(like.dtype, found.astype(like.dtype.numpy))
    places = b.iota(like.dtype, (count,), 0)
    return b.add(b.mul(places, b.full_like(places, delta)), b.full_like(places, start))


@op("EyeLike")
def eye_like(n: OnnxNode) -> Value:
    t = n.type(0)
    dtype = dtype_named(n.attr("dtype")) if n.attr("dtype") is not None else t.dtype
    return b.cast(diagonal(t.shape, n.attr("k", 0)), dtype)


def diagonal(shape: tuple[Dim, ...], k: int) -> Value:
    """Whether the column is the row plus k."""
    rows, columns = b.iota(i64, shape, 0), b.iota(i64, shape, 1)
    return b.eq(columns, b.add(rows, b.full(TensorType(i64, shape), k)))


@op("Trilu")
def trilu(n: OnnxNode) -> Value:
    x, k = n.value(0), n.scalar(1, 0)
    shape, rank = x.type.shape, x.type.rank
    apart = b.sub(b.iota(i64, shape, rank - 1), b.iota(i64, shape, rank - 2))
    bound = b.full_like(apart, k)
    kept = b.ge(apart, bound) if n.attr("upper", 1) else b.le(apart, bound)
    return b.select(kept, x, b.full_like(x, 0))
