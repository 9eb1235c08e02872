"""Derivatives of composites that have a better one than that of their decomposition."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...ir import build as b
from ...ir.dims import product
from ...ir.graph import Node, Value, make_one
from ...ir.ops.nn import BatchNormTrain, CrossEntropy, LogSoftmax, LogSumExp, Softmax, dim_value
from .rule import Cotangents, Rule, attributes_of, only, scale, zeros_like

__all__ = ["RULES"]


def _relu(node: Node, g: Value) -> Cotangents:
    y, zero = node.results[0], zeros_like(g)
    return (b.select(b.gt(y, zero), g, zero),)


def _softmax(node: Node, g: Value) -> Cotangents:
    axes, y = (attributes_of(node, Softmax).axis,), node.results[0]
    mean = b.expand(b.reduce_sum(b.mul(g, y), axes), y.type.shape, axes)
    return (b.mul(y, b.sub(g, mean)),)


def _log_softmax(node: Node, g: Value) -> Cotangents:
    axes, y = (attributes_of(node, LogSoftmax).axis,), node.results[0]
    total = b.expand(b.reduce_sum(g, axes), y.type.shape, axes)
    return (b.sub(g, b.mul(b.exp(y), total)),)


def _logsumexp(node: Node, g: Value) -> Cotangents:
    axes, x, y = attributes_of(node, LogSumExp).axes, node.operands[0], node.results[0]
    nothing = b.eq(y, b.full_like(y, -math.inf))  # a sum of nothing but e^-inf
    from_ = b.select(nothing, zeros_like(y), y)
    share = b.exp(b.sub(x, b.expand(from_, x.type.shape, axes)))
    return (b.mul(b.expand(g, x.type.shape, axes), share),)


def _cross_entropy(node: Node, g: Value) -> Cotangents:
    op, (logits, labels) = attributes_of(node, CrossEntropy), node.operands
    n, classes = shape = logits.type.shape
    last = b.broadcast_in_dim(dim_value(classes - 1, labels), (n,), ())
    label = b.expand(b.clamp(zeros_like(labels), labels, last), shape, (1,))
    hit = b.eq(b.iota(labels.type.dtype, shape, 1), label)
    onehot = b.select(hit, b.full_like(logits, 1), zeros_like(logits))
    difference = b.sub(make_one(Softmax(1), logits), onehot)
    if op.reduction == "mean":
        g = b.div(g, dim_value(n, g))
    each = b.expand(g, shape, (1,)) if op.reduction == "none" else b.broadcast_in_dim(g, shape, ())
    return b.mul(difference, each), None


def _batch_norm_train(node: Node, cotangents: tuple[Value | None, ...]) -> Cotangents:
    op, (x, weight, _) = attributes_of(node, BatchNormTrain), node.operands
    (_, mean, var), shape = node.results, x.type.shape
    axes = tuple(k for k in range(x.type.rank) if k != 1)
    size = product(tuple(shape[k] for k in axes))
    count = b.broadcast_in_dim(dim_value(size, mean), mean.type.shape, ())

    def wide(channel: Value) -> Value:
        return b.broadcast_in_dim(channel, shape, (1,))

    g, gmean, gvar = cotangents
    centred = b.sub(x, wide(mean))
    dx = dweight = dbias = None
    if g is not None:
        inverse = b.rsqrt(b.add(var, b.full_like(var, op.eps)))
        normal = b.mul(centred, wide(inverse))
        dbias = b.reduce_sum(g, axes)
        dweight = b.reduce_sum(b.mul(g, normal), axes)
        share = b.mul(normal, wide(b.div(dweight, count)))
        rest = b.sub(b.sub(g, wide(b.div(dbias, count))), share)
        dx = b.mul(wide(b.mul(weight, inverse)), rest)
    if gmean is not None:
        part = wide(b.div(gmean, count))
        dx = part if dx is None else b.add(dx, part)
    if gvar is not None:
        part = b.mul(scale(centred, 2), wide(b.div(gvar, count)))
        dx = part if dx is None else b.add(dx, part)
    return dx, dweight, dbias


RULES: Mapping[str, Rule] = {
    # dx = g where y > 0, else 0                           0 at 0
    "relu": only(_relu),
    # dx = y (g - sum of g y)
    "softmax": only(_softmax),
    # dx = g - e^y sum of g
    "log_softmax": only(_log_softmax),
    # dx = e^(x - y) g                                     0 where y is -inf
    "logsumexp": only(_logsumexp),
    # dx = (softmax(x) - onehot(label)) g                  divided by N for the mean
    "cross_entropy": only(_cross_entropy),
    # n = (x - mean) / sqrt(var + eps), m elements a channel:
    # db = sum g,  dw = sum g n,  dx = w / sqrt(var + eps) (g - db / m - n dw / m)
    # and dx += gmean / m + gvar 2 (x - mean) / m
    "batch_norm_train": _batch_norm_train,
}
