"""Derivatives of composites whose own form is shorter or more exact than that of their decomposition."""

from __future__ import annotations

from ...ir import build as b
from ...ir.dims import Dim, product
from ...ir.graph import Node, Value, make_one
from ...ir.ops.nn import BatchNormTrain, CrossEntropy, Dropout, LogSoftmax, Softmax, dim_value
from ...ir.ops.rng import RngUniform
from ...ir.types import i64
from .elementwise import Cotangents, Rule
from .move import Result, only

__all__ = ["RULES"]


def linear(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert g is not None
    x, w = node.operands[:2]
    rows = tuple(range(x.type.rank - 1))
    dx = b.dot_general(g, w, (x.type.rank - 1,), (0,))
    dw = b.dot_general(g, x, rows, rows)
    return (dx, dw) if len(node.operands) == 2 else (dx, dw, b.reduce_sum(g, rows))


def softmax(node: Node, cotangents: Cotangents) -> Result:
    g, y = only(cotangents), node.results[0]
    assert g is not None and isinstance(node.op, Softmax)
    axes = (node.op.axis,)
    total = b.expand(b.reduce_sum(b.mul(g, y), axes), y.type.shape, axes)
    return (b.mul(y, b.sub(g, total)),)


def log_softmax(node: Node, cotangents: Cotangents) -> Result:
    g, y = only(cotangents), node.results[0]
    assert g is not None and isinstance(node.op, LogSoftmax)
    axes = (node.op.axis,)
    total = b.expand(b.reduce_sum(g, axes), y.type.shape, axes)
    return (b.sub(g, b.mul(b.exp(y), total)),)


def cross_entropy(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert g is not None and isinstance(node.op, CrossEntropy)
    logits, labels = node.operands
    shape = logits.type.shape
    n: Dim = shape[0]
    share = make_one(Softmax(1), logits)
    classes = b.iota(i64, shape, 1)
    top = b.full_like(labels, int(shape[1]) - 1) if isinstance(shape[1], int) else None
    inside = b.max(labels if top is None else b.min(labels, top), b.full_like(labels, 0))
    chosen = b.cast(b.eq(classes, b.broadcast_in_dim(inside, shape, (0,))), logits.type.dtype)
    if node.op.reduction == "mean":
        g = b.div(g, dim_value(n, g))
    spread = b.broadcast_in_dim(g, shape, (0,) if node.op.reduction == "none" else ())
    return b.mul(b.sub(share, chosen), spread), None


def batch_norm_train(node: Node, cotangents: Cotangents) -> Result:
    """With s = weight / sqrt(var + eps), n = (x - mean) / sqrt(var + eps):
    dx = s (g - mean(g) - n mean(g n)), plus what comes through the statistics themselves."""
    g, g_mean, g_var = cotangents
    op = node.op
    assert isinstance(op, BatchNormTrain)
    x, weight, _ = node.operands
    _, mean, var = node.results
    shape = x.type.shape
    axes = tuple(k for k in range(x.type.rank) if k != 1)

    def spread(channel: Value) -> Value:
        return b.broadcast_in_dim(channel, shape, (1,))

    total = b.full(x.type.with_shape(()), 1)
    count = b.broadcast_in_dim(dim_value(product(tuple(shape[k] for k in axes)), total), mean.type.shape, ())
    inverse = b.div(b.full_like(var, 1), b.sqrt(b.add(var, b.full_like(var, op.eps))))
    centred = b.sub(x, spread(mean))
    normal = b.mul(centred, spread(inverse))
    dx: Value | None = None
    d_weight: Value | None = None
    d_bias: Value | None = None
    if g is not None:
        d_bias = b.reduce_sum(g, axes)
        d_weight = b.reduce_sum(b.mul(g, normal), axes)
        inner = b.sub(b.sub(g, spread(b.div(d_bias, count))), b.mul(normal, spread(b.div(d_weight, count))))
        dx = b.mul(spread(b.mul(weight, inverse)), inner)
    if g_mean is not None:
        through = spread(b.div(g_mean, count))
        dx = through if dx is None else b.add(dx, through)
    if g_var is not None:
        two = b.full_like(g_var, 2)
        through = b.mul(centred, spread(b.div(b.mul(two, g_var), count)))
        dx = through if dx is None else b.add(dx, through)
    return dx, d_weight, d_bias


def dropout(node: Node, cotangents: Cotangents) -> Result:
    g = only(cotangents)
    assert g is not None and isinstance(node.op, Dropout)
    key = node.operands[1]
    draw = make_one(RngUniform(g.type.shape), key)
    dropped = b.lt(draw, b.full_like(draw, node.op.p))
    kept = b.mul(g, b.full_like(g, 1 / (1 - node.op.p)))
    return b.select(dropped, b.full_like(g, 0), kept), None


RULES: dict[str, Rule] = {
    # y = x w^T + b: dx = g w, dw = g^T x, db = sum of g
    "linear": linear,
    # dx = y (g - sum of g y)
    "softmax": softmax,
    # dx = g - e^y sum of g
    "log_softmax": log_softmax,
    # dx = (softmax(x) - onehot) g / N
    "cross_entropy": cross_entropy,
    # see the function
    "batch_norm_train": batch_norm_train,
    # g under the same mask, drawn again from the key
    "dropout": dropout,
}
