"""Normalisations."""

from __future__ import annotations

from typing import Any

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.graph import Value, make, make_one
from ...ir.ops import nn as composites
from ...ir.ops.layer_norm import LayerNorm
from ...ir.types import DType
from ..norms import p_norm
from ..tensor import Tensor
from .elements import dtype_named
from .node import OnnxNode
from .report import Refused
from .table import op


@op("BatchNormalization", since=14)
def batch_normalization(n: OnnxNode) -> Any:
    if n.attr("training_mode", 0):
        return _training(n)
    return _inference(n)


@op("BatchNormalization", since=9)
def batch_normalization_9(n: OnnxNode) -> Any:
    """Training or not is said by how many outputs are read."""
    return _training(n) if n.wants(1) else _inference(n)


@op("BatchNormalization")
def batch_normalization_7(n: OnnxNode) -> Any:
    if n.attr("spatial", 1) == 0:
        raise Refused("spatial=0 normalises each pixel on its own", "export the model at opset 9 or later")
    return _inference(n)


def _inference(n: OnnxNode) -> Value:
    x = n.value(0)
    given = [b.cast(n.value(k), x.type.dtype) for k in range(1, 5)]
    return make_one(composites.BatchNorm(n.attr("epsilon", 1e-5)), x, *given)


def _training(n: OnnxNode) -> Any:
    """The batch's own statistics; the running ones move by 1 - momentum towards them."""
    x, dtype = n.value(0), n.type(0).dtype
    scale, shift, mean, var = (b.cast(n.value(k), dtype) for k in range(1, 5))
    y, now, spread = make(composites.BatchNormTrain(n.attr("epsilon", 1e-5)), x, scale, shift)
    keep = n.attr("momentum", 0.9)

    def moved(old: Value, new: Value, like: DType) -> Value:
        kept = b.mul(old, b.full_like(old, keep))
        return b.cast(b.add(kept, b.mul(new, b.full_like(new, 1 - keep))), like)

    return y, moved(mean, now, n.type(3).dtype), moved(var, spread, n.type(4).dtype), now, spread


@op("InstanceNormalization")
def instance_normalization(n: OnnxNode) -> Value:
    x = n.value(0)
    y, _, _ = _standardized(x, range(2, x.type.rank), n.attr("epsilon", 1e-5))
    return _by_channel(y, n.value(1), n.value(2))


@op("LayerNormalization")
def layer_normalization(n: OnnxNode) -> Any:
    x = n.value(0)
    axes = range(n.axis(n.attr("axis", -1), x.type.rank), x.type.rank)
    dtype = x.type.dtype
    whole = n.type(1).shape == x.type.shape[axes.start :] and axes.start < x.type.rank
    if whole and not n.wants(1) and not n.wants(2) and (not n.has(2) or n.type(2) == n.type(1)):
        shift = n.value(2) if n.has(2) else b.full(n.type(1), 0)
        return make_one(LayerNorm(axes.start, n.attr("epsilon", 1e-5)), x, n.value(1), shift)
    wide = b.cast(x, _stash(n, dtype))
    y, mean, inverse = _standardized(wide, axes, n.attr("epsilon", 1e-5))
    y = b.mul(b.cast(y, dtype), n.spread(n.value(1), x))
    if n.has(2):
        y = b.add(y, n.spread(n.value(2), x))
    return y, mean, inverse


@op("RMSNormalization")
def rms_normalization(n: OnnxNode) -> Value:
    x = n.value(0)
    axes = tuple(range(n.axis(n.attr("axis", -1), x.type.rank), x.type.rank))
    wide = Tensor(b.cast(x, _stash(n, x.type.dtype)))
    square = (wide * wide).mean(axes, keepdims=True) + n.attr("epsilon", 1e-5)
    y = (wide / Tensor(b.sqrt(square.value))).astype(x.type.dtype)
    return b.mul(y.value, n.spread(n.value(1), x))


def _stash(n: OnnxNode, dtype: DType) -> DType:
    """The element type that statistics are computed in: f32 unless the operand is wider."""
    stash = dtype_named(n.attr("stash_type", 1))
    return stash if stash.bits >= dtype.bits else dtype


@op("GroupNormalization", since=21)
def group_normalization(n: OnnxNode) -> Value:
    x = n.value(0)
    return _by_channel(_grouped(n, x), n.value(1), n.value(2))


@op("GroupNormalization", since=18)
def group_normalization_18(n: OnnxNode) -> Value:
    """Scale and bias of each group, not of each channel."""
    x, groups = n.value(0), n.attr("num_groups")
    channels = x.type.shape[1]
    if not isinstance(channels, int):
        raise Refused("the channels are not of known size")
    given: list[Value] = []
    for k in (1, 2):
        wide = b.broadcast_in_dim(n.value(k), (groups, channels // groups), (0,))
        given.append(b.reshape(wide, (channels,)))
    return _by_channel(_grouped(n, x), *given)


def _grouped(n: OnnxNode, x: Value) -> Value:
    groups, channels, dtype = n.attr("num_groups"), x.type.shape[1], x.type.dtype
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise Refused(f"{groups} groups do not divide {channels} channels")
    wide = b.cast(x, _stash(n, dtype))
    split = b.reshape(wide, (x.type.shape[0], groups, channels // groups, *x.type.shape[2:]))
    y, _, _ = _standardized(split, range(2, split.type.rank), n.attr("epsilon", 1e-5))
    return b.cast(b.reshape(y, x.type.shape), dtype)


@op("MeanVarianceNormalization")
def mean_variance_normalization(n: OnnxNode) -> Tensor:
    """(x - mean) / (deviation + 1e-9), as ONNX decomposes it."""
    x = n.tensor(0)
    axes = tuple(sorted(n.axis(a, x.ndim) for a in n.attr("axes", [0, 2, 3])))
    mean = x.mean(axes, keepdims=True)
    spread = (x * x).mean(axes, keepdims=True) - mean * mean
    return (x - mean) / (Tensor(b.sqrt(spread.value)) + 1e-9)


@op("LpNormalization")
def lp_normalization(n: OnnxNode) -> Tensor:
    """x divided by its norm along the axis; 0 where the norm is."""
    x, p = n.tensor(0), n.attr("p", 2)
    norm = p_norm(x, p, n.axis(n.attr("axis", -1), x.ndim), keepdims=True)
    none = norm == 0
    safe = Tensor(b.select(none.value, b.full_like(norm.value, 1), norm.value))
    return x / safe


def _standardized(x: Value, axes: range, eps: float) -> tuple[Value, Value, Value]:
    """Mean 0 and variance 1 over axes; mean and 1 / deviation, with axes of one, follow."""
    t, over = Tensor(x), tuple(axes)
    mean = t.mean(over, keepdims=True)
    centred = t - mean
    var = (centred * centred).mean(over, keepdims=True)
    inverse = 1 / Tensor(b.sqrt((var + eps).value))
    return (centred * inverse).value, mean.value, inverse.value


def _by_channel(y: Value, scale: Value, shift: Value) -> Value:
    shape: tuple[Dim, ...] = y.type.shape
    scaled = b.mul(y, b.broadcast_in_dim(b.cast(scale, y.type.dtype), shape, (1,)))
    return b.add(scaled, b.broadcast_in_dim(b.cast(shift, y.type.dtype), shape, (1,)))
