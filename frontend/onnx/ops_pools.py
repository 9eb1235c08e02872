"""Pools over windows and over whole planes, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...ir import build as b
from ...ir.dims import Dim, product
from ...ir.graph import Value, make_one
from ...ir.ops.nn import AvgPool
from ..elementwise import dim_scalar
from ..norms import p_norm
from ..pointwise import where
from ..tensor import Tensor
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import Windows, aligned

MANY = 36
"""Larger windows are pooled an axis at a time: 13 x 13 is then 26 comparisons, not 169."""


def _windows(n: OnnxNode, x: Value) -> Windows:
    sizes = n.attr("kernel_shape")
    if not sizes:
        raise Refused("attribute kernel_shape is missing")
    return Windows.of(n, x, sizes)


@op("MaxPool")
def max_pool(n: OnnxNode) -> Any:
    x = n.value(0)
    if x.type.dtype.is_float and not n.wants(1):
        x, padded = aligned(n, x, n.attr("kernel_shape", []), -math.inf)
        w = Windows.of(n, x, n.attr("kernel_shape", []), padded)
    else:
        w = _windows(n, x)
    if not n.wants(1) and math.prod(w.sizes) > MANY:
        return _axis_by_axis(x, w)
    values, places = b.max_pool(x, w.sizes, w.strides, w.with_extra, w.dilations)
    if not n.wants(1):
        return values
    return values, _column_major(x, places) if n.attr("storage_order", 0) else places


def _axis_by_axis(x: Value, w: Windows) -> Value:
    """The maximum over a box is that over one axis of those over the others."""
    for k in range(len(w.sizes)):

        def only(given: Sequence[Any], other: Any, k: int = k) -> list[Any]:
            return [g if j == k else other for j, g in enumerate(given)]

        pads, ones = only(w.with_extra, (0, 0)), w.dilations
        x, _ = b.max_pool(x, only(w.sizes, 1), only(w.strides, 1), pads, only(ones, 1))
    return x


def _column_major(x: Value, places: Value) -> Value:
    """Flat places with the last two axes counted the other way round: storage_order 1."""
    *_, height, width = x.type.shape
    if x.type.rank != 4:
        raise Refused("storage_order 1 is there for two spatial axes")

    def number(d: Dim) -> Value:
        return b.broadcast_in_dim(dim_scalar(d, places.type.dtype), places.type.shape, ())

    plane = number(product((height, width)))
    within = b.rem(places, plane)
    row, column = b.div(within, number(width)), b.rem(within, number(width))
    return b.add(b.sub(places, within), b.add(b.mul(column, number(height)), row))


@op("AveragePool")
def average_pool(n: OnnxNode) -> Value:
    x = n.value(0)
    w = _windows(n, x)
    counts = bool(n.attr("count_include_pad", 0))
    if (
        set(w.dilations) == {1}
        and not any(w.extra)
        and all(max(p) < k for p, k in zip(w.pads, w.sizes, strict=True))
    ):
        return make_one(AvgPool(w.sizes, w.strides, w.pads, counts and any(map(any, w.pads))), x)
    total = b.window_sum(x, w.sizes, w.strides, w.with_extra, w.dilations)
    return b.div(total, _count(x, w, counts, total))


def _count(x: Value, w: Windows, counts: bool, total: Value) -> Value:
    """How many elements each window has: padding counts where `counts`, what ceil_mode adds never does."""
    ones = b.full(x.type.with_shape((1, 1, *x.type.shape[2:])), 1)
    pads = w.with_extra
    if counts:
        low, high = [0, 0, *(p[0] for p in w.pads)], [0, 0, *(p[1] for p in w.pads)]
        ones = b.pad(ones, b.full(x.type.with_shape(()), 1), low, high)
        pads = tuple((0, more) for more in w.extra)
    count = b.window_sum(ones, w.sizes, w.strides, pads, w.dilations)
    axes = tuple(range(2, x.type.rank))
    return b.broadcast_in_dim(b.reshape(count, count.type.shape[2:]), total.type.shape, axes)


@op("LpPool")
def lp_pool(n: OnnxNode) -> Tensor:
    x, p = n.value(0), n.attr("p", 2)
    w = _windows(n, x)
    raised = (abs(Tensor(x)) ** float(p)).value if p != 2 else b.mul(x, x)
    total = Tensor(b.window_sum(raised, w.sizes, w.strides, w.with_extra, w.dilations))
    return _root(total, p)


def _root(total: Tensor, p: float) -> Tensor:
    """total^(1 / p), with the derivative 0 at 0."""
    none = total == 0
    safe = where(none, 1, total)
    return where(none, 0, Tensor(b.sqrt(safe.value)) if p == 2 else safe ** (1 / p))


@op("GlobalAveragePool")
def global_average_pool(n: OnnxNode) -> Tensor:
    return n.tensor(0).mean(_planes(n), keepdims=True)


@op("GlobalMaxPool")
def global_max_pool(n: OnnxNode) -> Tensor:
    return n.tensor(0).max(_planes(n), keepdims=True)


@op("GlobalLpPool")
def global_lp_pool(n: OnnxNode) -> Tensor:
    return p_norm(n.tensor(0), n.attr("p", 2), _planes(n), keepdims=True)


def _planes(n: OnnxNode) -> tuple[int, ...]:
    x = n.value(0)
    if x.type.rank < 3:
        raise Refused(f"expected x [N, C, spatial...], x is {x.type}")
    for k, d in enumerate(x.type.shape[2:]):
        n.at_least(d, 1, f"spatial axis {k}")
    return tuple(range(2, x.type.rank))


@op("MaxUnpool")
def max_unpool(n: OnnxNode) -> Value:
    """Values written where the flat indices of MaxPool say; those count in the output that pool was taken of."""
    x, places = n.value(0), n.value(1)
    spatial = x.type.rank - 2
    window = n.attr("kernel_shape")
    strides, pads = n.attr("strides") or [1] * spatial, n.attr("pads") or [0] * 2 * spatial
    sizes: list[Dim] = [
        (d - 1) * strides[k] + window[k] - pads[k] - pads[k + spatial] for k, d in enumerate(x.type.shape[2:])
    ]
    inferred = (*x.type.shape[:2], *sizes)
    shape = tuple(n.dims(2)) if n.has(2) else inferred
    if shape != inferred:
        places = _moved(places, inferred, shape)
    flat = (product(x.type.shape),)
    empty = b.full(x.type.with_shape((product(shape),)), 0)
    found = b.scatter_elements(empty, b.reshape(places, flat), b.reshape(x, flat), 0, "set")
    return b.reshape(found, shape)


def _moved(places: Value, before: tuple[Dim, ...], after: tuple[Dim, ...]) -> Value:
    """Flat places in one shape as those of the same coordinates in another."""

    def number(d: Dim) -> Value:
        return b.broadcast_in_dim(dim_scalar(d, places.type.dtype), places.type.shape, ())

    total = b.full_like(places, 0)
    for k in range(len(before)):
        inner = b.div(places, number(product(before[k + 1 :])))
        at = b.rem(inner, number(before[k]))
        total = b.add(total, b.mul(at, number(product(after[k + 1 :]))))
    return total


@op("LRN")
def lrn(n: OnnxNode) -> Value:
    """x / (bias + alpha / size * sum of x^2 over size channels around)^beta."""
    x = n.value(0)
    size, alpha = n.attr("size"), n.attr("alpha", 1e-4)
    beta, bias = n.attr("beta", 0.75), n.attr("bias", 1.0)
    shape = x.type.shape
    line = b.reshape(b.mul(x, x), (shape[0], 1, shape[1], product(shape[2:])))
    pads = (((size - 1) // 2, size // 2), (0, 0))
    total = Tensor(b.reshape(b.window_sum(line, (size, 1), (1, 1), pads), shape))
    return (Tensor(x) / (total * (alpha / size) + bias) ** float(beta)).value
