"""Reading and writing at computed places: ONNX counts negative indices from the end, nervure does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim, bounds, dim_text, product
from ...ir.graph import Value
from ...ir.types import TensorType, i64
from ..elementwise import broadcast_to, dim_scalar
from .known import Known
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import part_of


def number(dim: Dim, like: Value) -> Value:
    """A dim everywhere in another value's shape and type."""
    return b.broadcast_in_dim(dim_scalar(dim, like.type.dtype), like.type.shape, ())


def places(n: OnnxNode, k: int, size: Dim) -> Value:
    """Input k as indices from 0 on, of an axis of that size."""
    known = n.known(k)
    if known is not None and known.is_static:
        if isinstance(size, int):
            if known.data.size and not -size <= known.data.min() <= known.data.max() < size:
                raise Refused(f"input {k} ({n.inputs[k]}) has indices outside {-size}..{size - 1}")
            return b.constant(
                np.where(known.data < 0, known.data + size, known.data).astype(known.data.dtype)
            )
        if not known.data.size or known.data.min() >= 0:
            return b.constant(known.data)
    return from_end(n.value(k), size)


def from_end(indices: Value, size: Dim) -> Value:
    """Indices of which negative ones count from the end, as indices from 0 on."""
    if indices.type.dtype.kind == "uint":
        return indices
    return b.select(b.lt(indices, b.full_like(indices, 0)), b.add(indices, number(size, indices)), indices)


@op("Gather")
def gather(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = n.axis(n.attr("axis", 0), x.type.rank)
    known = n.known(1)
    if known is not None and known.is_static and known.data.size == 1:
        found = _one(x, axis, int(known.data.ravel()[0]))
        if found is not None:
            return b.reshape(found, (*x.type.shape[:axis], *known.shape, *x.type.shape[axis + 1 :]))
    if bounds(x.type.shape[axis])[0] < 1:
        n.at_least(x.type.shape[axis], 1, f"axis {axis}, which is indexed,")
    return b.gather(x, places(n, 1, x.type.shape[axis]), axis)


def _one(x: Value, axis: int, place: int) -> Value | None:
    """One place of an axis as a slice, where it is there for every size."""
    size = x.type.shape[axis]
    if bounds(size)[0] < (place + 1 if place >= 0 else -place):
        return None
    start = place if place >= 0 else size + place
    return part_of(x, axis, start, start + 1)


@op("GatherElements")
def gather_elements(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = n.axis(n.attr("axis", 0), x.type.rank)
    at = places(n, 1, x.type.shape[axis])
    for k, d in enumerate(at.type.shape):
        if k != axis and d != x.type.shape[k]:
            x = part_of(x, k, 0, d)
    return b.gather_elements(x, at, axis)


@op("GatherND")
def gather_nd(n: OnnxNode) -> Value:
    """Indices of the first axes, behind those of the batch, as flat ones."""
    x, at = n.value(0), n.value(1)
    batch, depth = n.attr("batch_dims", 0), at.type.shape[-1]
    if not isinstance(depth, int):
        raise Refused(f"the indices have {dim_text(depth)} entries each, expected a known number")
    front, rest = x.type.shape[: batch + depth], x.type.shape[batch + depth :]
    flat = _flat(at, x.type.shape[batch : batch + depth])
    rows: Dim = product(x.type.shape[batch : batch + depth])
    for axis in range(batch):
        stride = rows * product(x.type.shape[axis + 1 : batch])
        lead = b.iota(flat.type.dtype, flat.type.shape, axis)
        flat = b.add(flat, b.mul(lead, number(stride, lead)))
    return b.gather(b.reshape(x, (product(front), *rest)), flat, 0)


def _flat(at: Value, sizes: Sequence[Dim]) -> Value:
    """Places [..., k] of k axes as places of all of them as one."""
    shape = at.type.shape[:-1]
    total: Value | None = None
    for k, size in enumerate(sizes):
        one = b.reshape(part_of(at, at.type.rank - 1, k, k + 1), shape)
        one = from_end(b.cast(one, i64), size)
        stride = product(tuple(sizes[k + 1 :]))
        one = one if stride == 1 else b.mul(one, number(stride, one))
        total = one if total is None else b.add(total, one)
    return b.full(TensorType(i64, shape), 0) if total is None else total


MODES = {"none": "set", "add": "add", "mul": "mul", "min": "min", "max": "max"}


def _mode(n: OnnxNode) -> str:
    mode = n.attr("reduction", "none")
    if mode not in MODES:
        raise Refused(f"reduction is {mode!r}, expected one of {', '.join(MODES)}")
    return MODES[mode]


@op("ScatterElements", "Scatter")
def scatter_elements(n: OnnxNode) -> Value:
    x, updates = n.value(0), n.value(2)
    axis = n.axis(n.attr("axis", 0), x.type.rank)
    at = places(n, 1, x.type.shape[axis])
    if all(k == axis or d == x.type.shape[k] for k, d in enumerate(at.type.shape)):
        return b.scatter_elements(x, at, updates, axis, _mode(n))
    flat = b.full(at.type.with_dtype(i64), 0)
    for k in range(x.type.rank):
        place = b.cast(at, i64) if k == axis else b.iota(i64, at.type.shape, k)
        flat = b.add(flat, b.mul(place, number(product(x.type.shape[k + 1 :]), place)))
    size = (flat.type.size,)
    found = b.scatter_elements(
        b.reshape(x, (x.type.size,)), b.reshape(flat, size), b.reshape(updates, size), 0, _mode(n)
    )
    return b.reshape(found, x.type.shape)


@op("ScatterND")
def scatter_nd(n: OnnxNode) -> Value:
    x, at, updates = n.value(0), n.value(1), n.value(2)
    depth = at.type.shape[-1]
    if not isinstance(depth, int):
        raise Refused(f"the indices have {dim_text(depth)} entries each, expected a known number")
    front, rest = x.type.shape[:depth], x.type.shape[depth:]
    flat = _flat(at, front)
    rows, width = flat.type.size, product(rest)
    spread = broadcast_to(b.reshape(flat, (rows, 1)), (rows, width))
    found = b.scatter_elements(
        b.reshape(x, (product(front), width)), spread, b.reshape(updates, (rows, width)), 0, _mode(n)
    )
    return b.reshape(found, x.type.shape)


@op("OneHot")
def one_hot(n: OnnxNode) -> Value:
    at, values = n.value(0), n.value(2)
    known = n.known(1)
    if known is None:
        raise n.not_known(1)
    depth = known.elements()[0]
    axis = n.axis(n.attr("axis", -1), at.type.rank + 1)
    at = from_end(b.cast(at, i64), depth)
    shape = (*at.type.shape[:axis], depth, *at.type.shape[axis:])
    kept = [k for k in range(len(shape)) if k != axis]
    hot = b.eq(b.iota(i64, shape, axis), b.broadcast_in_dim(at, shape, kept))
    off, on = (b.broadcast_in_dim(b.reshape(part_of(values, 0, k, k + 1), ()), shape, ()) for k in (0, 1))
    return b.select(hot, on, off)


@op("TopK")
def top_k(n: OnnxNode) -> Any:
    x = n.value(0)
    axis = n.axis(n.attr("axis", -1), x.type.rank)
    k = n.integers(1)[0] if n.has(1) else n.attr("k")
    n.at_least(x.type.shape[axis], k, f"axis {axis}, of which {k} are taken,")
    return b.top_k(x, k, axis, bool(n.attr("largest", 1)))


@op("ReverseSequence")
def reverse_sequence(n: OnnxNode) -> Value:
    """The first `lens` steps of each sequence backwards, the others as they are."""
    x, lens = n.value(0), b.cast(n.value(1), i64)
    time, batch = n.attr("time_axis", 0), n.attr("batch_axis", 1)
    shape = x.type.shape
    step = b.iota(i64, shape, time)
    wide = b.broadcast_in_dim(lens, shape, (batch,))
    back = b.sub(b.sub(wide, b.full_like(wide, 1)), step)
    return b.gather_elements(x, b.select(b.lt(step, wide), back, step), time)


# results whose size depends on elements: there while those are known
@op("NonZero")
def non_zero(n: OnnxNode) -> Known:
    return Known.of(np.array(np.nonzero(n.array(0)), np.int64))


@op("Compress")
def compress(n: OnnxNode) -> Value:
    x, axis = n.value(0), n.attr("axis")
    at = np.flatnonzero(n.array(1))
    if axis is None:
        x, axis = b.reshape(x, (x.type.size,)), 0
    return b.gather(x, b.constant(at.astype(np.int64)), n.axis(axis, x.type.rank))


@op("Unique")
def unique(n: OnnxNode) -> list[Known]:
    untyped: Any = np
    axis = n.attr("axis")
    found, first, inverse, counts = untyped.unique(
        n.array(0), return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = np.asarray(inverse).reshape(-1)
    if not n.attr("sorted", 1):
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        found = np.take(found, order, axis=0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return [Known.of(found), *(Known.of(np.asarray(a, np.int64)) for a in (first, inverse, counts))]
