"""Reductions over axes, positions of extremes, running sums."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Value, make_one
from ...ir.ops.nn import LogSumExp
from ...ir.types import bool_, f64
from ..elementwise import binary, dim_scalar
from ..reductions import kept
from .node import OnnxNode
from .table import op

Axes = tuple[int, ...]


def _sum(x: Value, axes: Axes) -> Value:
    return b.reduce_sum(x, axes)


def _mean(x: Value, axes: Axes) -> Value:
    dtype = x.type.dtype
    total = b.reduce_sum(x if dtype.is_float else b.cast(x, f64), axes)
    count = dim_scalar(product(tuple(x.type.shape[k] for k in axes)), total.type.dtype)
    return b.cast(binary(b.div, total, count), dtype)


def _extreme(x: Value, axes: Axes, least: bool) -> Value:
    """Of no elements the extreme is the type's own, of bool it is any or all."""
    dtype = x.type.dtype
    if dtype == bool_:
        return b.reduce_all(x, axes) if least else b.reduce_any(x, axes)
    if any(x.type.shape[k] == 0 for k in axes):
        shape = tuple(d for k, d in enumerate(x.type.shape) if k not in axes)
        return b.full(x.type.with_shape(shape), math.inf if least else -math.inf)
    return b.reduce_min(x, axes) if least else b.reduce_max(x, axes)


def _norm2(x: Value, axes: Axes) -> Value:
    dtype = x.type.dtype
    wide = x if dtype.is_float else b.cast(x, f64)
    return b.cast(b.sqrt(b.reduce_sum(b.mul(wide, wide), axes)), dtype)


def _log(x: Value) -> Value:
    dtype = x.type.dtype
    return b.log(x) if dtype.is_float else b.cast(b.log(b.cast(x, f64)), dtype)


def _log_sum_exp(x: Value, axes: Axes) -> Value:
    if any(x.type.shape[k] == 0 for k in axes):
        return b.log(b.reduce_sum(x, axes))
    return make_one(LogSumExp(axes), x) if axes else x


REDUCTIONS: dict[str, Callable[[Value, Axes], Value]] = {
    "ReduceL1": lambda x, axes: _sum(x if x.type.dtype.kind == "uint" else b.abs(x), axes),
    "ReduceL2": _norm2,
    "ReduceLogSum": lambda x, axes: _log(_sum(x, axes)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": lambda x, axes: _extreme(x, axes, False),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes: _extreme(x, axes, True),
    "ReduceProd": b.reduce_prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes: _sum(b.mul(x, x), axes),
}
"""One function for each, of the operand and increasing axes."""


@op(*REDUCTIONS)
def reduction(n: OnnxNode) -> Value:
    x = n.value(0)
    given = n.axes(1)
    if not given:
        if n.attr("noop_with_empty_axes", 0):
            return REDUCTIONS[n.op](x, ()) if n.op != "ReduceMean" else x
        given = list(range(x.type.rank))
    axes = tuple(sorted({n.axis(a, x.type.rank) for a in given})) if x.type.rank else ()
    found = REDUCTIONS[n.op](x, axes)
    return b.reshape(found, kept(x, axes)) if n.attr("keepdims", 1) else found


@op("ArgMax", "ArgMin")
def arg_extreme(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = n.axis(n.attr("axis", 0), x.type.rank)
    last = n.attr("select_last_index", 0)
    seen = b.reverse(x, (axis,)) if last else x
    found = (b.argmax if n.op == "ArgMax" else b.argmin)(seen, axis)
    if last:
        end = dim_scalar(x.type.shape[axis] - 1, found.type.dtype)
        found = b.sub(b.broadcast_in_dim(end, found.type.shape, ()), found)
    return b.reshape(found, kept(x, (axis,))) if n.attr("keepdims", 1) else found


@op("CumSum", "CumProd")
def cumulative(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = n.axis(n.scalar(1), x.type.rank)
    run = b.cumsum if n.op == "CumSum" else b.cumprod
    return run(x, axis, bool(n.attr("exclusive", 0)), bool(n.attr("reverse", 0)))
