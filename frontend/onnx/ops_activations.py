"""Activations, with the attributes that ONNX gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Value, make_one
from ...ir.ops import nn as composites
from ...ir.ops.gates import Gelu, HardSwish, Silu
from .. import activations as a
from ..pointwise import log1p_exp, where
from ..tensor import Tensor
from .node import OnnxNode
from .table import op

FUNCTIONS: dict[str, Callable[[Any], Tensor]] = {
    "Mish": a.mish,
    "Relu": a.relu,
    "Softplus": log1p_exp,
    "Softsign": a.softsign,
}
"""Those without attributes."""


@op(*FUNCTIONS)
def function(n: OnnxNode) -> Tensor:
    return FUNCTIONS[n.op](n.tensor(0))


@op("Celu")
def celu(n: OnnxNode) -> Tensor:
    return a.celu(n.tensor(0), n.attr("alpha", 1.0))


@op("Elu")
def elu(n: OnnxNode) -> Tensor:
    return a.elu(n.tensor(0), n.attr("alpha", 1.0))


@op("Selu")
def selu(n: OnnxNode) -> Tensor:
    return n.attr("gamma", 1.0507010221481323) * a.elu(n.tensor(0), n.attr("alpha", 1.6732631921768188))


@op("Gelu")
def gelu(n: OnnxNode) -> Value:
    return make_one(Gelu(n.attr("approximate", "none")), n.value(0))


@op("HardSwish")
def hard_swish(n: OnnxNode) -> Value:
    return make_one(HardSwish(), n.value(0))


@op("HardSigmoid")
def hard_sigmoid(n: OnnxNode) -> Tensor:
    y = n.tensor(0) * n.attr("alpha", 0.2) + n.attr("beta", 0.5)
    return where(y <= 0, 0, where(y >= 1, 1, y))


@op("LeakyRelu")
def leaky_relu(n: OnnxNode) -> Tensor:
    return a.leaky_relu(n.tensor(0), n.attr("alpha", 0.01))


@op("PRelu")
def prelu(n: OnnxNode) -> Value:
    x, slope = n.value(0), n.value(1)
    shape = x.type.shape
    if len(shape) > 2 and slope.type.shape == (shape[1],) != (shape[-1],):
        # exporters before version 7 gave one slope a channel, and version converters leave it so
        slope = b.reshape(slope, (shape[1], *(1 for _ in shape[2:])))
    x, slope = n.broadcast(x, slope)
    return b.select(b.lt(x, b.full_like(x, 0)), b.mul(x, slope), x)


@op("Shrink")
def shrink(n: OnnxNode) -> Value:
    x = n.value(0)
    dtype = x.type.dtype
    wide = Tensor(x)
    bias, bound = n.attr("bias", 0.0), n.attr("lambd", 0.5)
    if dtype.is_integer:
        wide = wide.astype("f32")
    found = where(wide < -bound, wide + bias, where(wide > bound, wide - bias, 0))
    return b.cast(found.value, dtype)


@op("Swish")
def swish(n: OnnxNode) -> Tensor:
    x, alpha = n.tensor(0), n.attr("alpha", 1.0)
    return Tensor(make_one(Silu(), x.value)) if alpha == 1 else x * a.sigmoid(x * alpha)


@op("ThresholdedRelu")
def thresholded_relu(n: OnnxNode) -> Tensor:
    return a.thresholded_relu(n.tensor(0), n.attr("alpha", 1.0))


ALONG: dict[str, Callable[[Value, int], Value]] = {
    "Hardmax": lambda x, axis: a.hardmax(Tensor(x), axis).value,
    "LogSoftmax": lambda x, axis: make_one(composites.LogSoftmax(axis), x),
    "Softmax": lambda x, axis: make_one(composites.Softmax(axis), x),
}


@op(*ALONG, since=13)
def along(n: OnnxNode) -> Value:
    x = n.value(0)
    return ALONG[n.op](x, n.axis(n.attr("axis", -1), x.type.rank))


@op(*ALONG)
def along_rows(n: OnnxNode) -> Value:
    """Before opset 13 the axes from `axis` on count as one."""
    x = n.value(0)
    shape, axis = x.type.shape, n.axis(n.attr("axis", 1), x.type.rank)
    if axis == len(shape) - 1:
        return ALONG[n.op](x, axis)
    rows = b.reshape(x, (product(shape[:axis]), product(shape[axis:])))
    return b.reshape(ALONG[n.op](rows, 1), shape)
