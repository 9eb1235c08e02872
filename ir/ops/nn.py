# long file: one table of composites, each with its meaning and its decomposition
"""Composites: what the user wrote, kept whole as long as a backend or a derivative has a better form.

Each has a decomposition into core ops; the reference evaluates the composite directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..dims import Dim, bounds, product
from ..op import Accuracy, Cost, Level, Op, register, traffic
from ..types import Array, TensorType, dtype_of, i64
from .common import axes_of, matmul, narrow, need, need_kind, widen
from .reduce import ReduceMax
from .rng import KEY
from .window import NEUTRAL, Pads, WindowSum, spread_and_pad, window_views

if TYPE_CHECKING:
    from ..graph import Value

__all__ = [
    "AvgPool",
    "BatchNorm",
    "BatchNormTrain",
    "CrossEntropy",
    "Dropout",
    "Linear",
    "LogSoftmax",
    "LogSumExp",
    "Relu",
    "Softmax",
]


class Composite(Op):
    """A family that decomposes."""

    level = Level.NN
    accuracy = Accuracy.APPROXIMATE


@register
@dataclass(frozen=True)
class Linear(Composite):
    """The fully connected layer.

    Equation: y = x w^T + b
    Shapes:   x T[..., in], w T[out, in], b T[out] (may be left out) -> T[..., out]
    Source:   PyTorch torch.nn.functional.linear
    """

    mnemonic = "linear"
    accuracy = Accuracy.REASSOCIATED

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
        need_kind(self, x, ("float",))
        given = (x, w) if b is None else (x, w, b)
        need(self, all(t.dtype == x.dtype for t in given), "element types differ", *given)
        need(self, w.rank == 2 and x.rank >= 1, "expected x [..., in] and weight [out, in]", *given)
        need(
            self,
            x.shape[-1] == w.shape[1],
            f"weight expects {w.shape[1]} input features, input has {x.shape[-1]}",
            *given,
            hint=f"a layer for this input is Linear({x.shape[-1]}, {w.shape[0]})",
        )
        if b is not None:
            need(self, b.shape == w.shape[:1], f"bias is {b}, expected {x.dtype}[{w.shape[0]}]", *given)
        return x.with_shape((*x.shape[:-1], w.shape[0]))

    def evaluate(self, x: Array, w: Array, b: Array | None = None, **_: Any) -> Array:
        with np.errstate(all="ignore"):
            y = matmul(widen(x), widen(w).T)
            return narrow(y if b is None else y + widen(b), dtype_of(x))

    def decompose(self, x: Value, w: Value, b: Value | None = None) -> Value:
        from .. import build

        y = build.dot_general(x, w, (x.type.rank - 1,), (1,))
        if b is None:
            return y
        return build.add(y, build.broadcast_in_dim(b, y.type.shape, (y.type.rank - 1,)))

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(2 * results[0].size * operands[1].shape[1], traffic(operands, results))


@register
@dataclass(frozen=True)
class Relu(Composite):
    """y = 0 where x < 0, else x; NaN passes.

    Shapes:   T[S] -> T[S]
    Gradient: dy where x > 0, else 0
    Source:   ONNX Relu-14
    """

    mnemonic = "relu"
    accuracy = Accuracy.EXACT

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float", "int"))
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.where(x < 0, np.zeros((), x.dtype), x)

    def decompose(self, x: Value) -> Value:
        from .. import build

        zero = build.full_like(x, 0)
        return build.select(build.lt(x, zero), zero, x)


@dataclass(frozen=True)
class AlongAxis(Composite):
    """A composite that normalises along one axis."""

    axis: int

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        axes_of(self, (self.axis,), x)
        need(
            self,
            bounds(x.shape[self.axis])[0] > 0,
            f"axis {self.axis} may be empty and has no largest element then",
            x,
        )
        return x

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(4 * operands[0].size, traffic(operands, results))


@register
@dataclass(frozen=True)
class Softmax(AlongAxis):
    """Shares that are positive and sum to 1 along an axis.

    Equation: y = e^(x - m) / sum of e^(x - m), m the largest along the axis
    Shapes:   T[S] -> T[S]
    Gradient: dx = y * (dy - sum of dy * y)
    Numerics: f16 and bf16 are rounded after each step, as in ONNX's function body
    Source:   ONNX Softmax-13
    """

    mnemonic = "softmax"

    def evaluate(self, x: Array, **_: Any) -> Array:
        dtype, wide = dtype_of(x), widen(x)
        with np.errstate(all="ignore"):
            below = narrow(wide - np.max(wide, axis=self.axis, keepdims=True, initial=-np.inf), dtype)
            e = widen(narrow(np.exp(widen(below)), dtype))
            total = widen(narrow(np.sum(e, axis=self.axis, keepdims=True), dtype))
            return narrow(e / total, dtype)

    def decompose(self, x: Value) -> Value:
        from .. import build

        shape, axes = x.type.shape, (self.axis,)
        e = build.exp(build.sub(x, build.expand(build.reduce_max(x, axes), shape, axes)))
        return build.div(e, build.expand(build.reduce_sum(e, axes), shape, axes))


@register
@dataclass(frozen=True)
class LogSoftmax(AlongAxis):
    """The logarithm of softmax, without its underflow.

    Equation: y = x - m - log(sum of e^(x - m)), m the largest along the axis
    Shapes:   T[S] -> T[S]
    Gradient: dx = dy - softmax(x) * sum of dy
    Source:   ONNX LogSoftmax-13
    """

    mnemonic = "log_softmax"

    def evaluate(self, x: Array, **_: Any) -> Array:
        wide = widen(x)
        with np.errstate(all="ignore"):
            shifted = wide - np.max(wide, axis=self.axis, keepdims=True, initial=-np.inf)
            return narrow(
                shifted - np.log(np.sum(np.exp(shifted), axis=self.axis, keepdims=True)), dtype_of(x)
            )

    def decompose(self, x: Value) -> Value:
        from .. import build

        shape, axes = x.type.shape, (self.axis,)
        shifted = build.sub(x, build.expand(build.reduce_max(x, axes), shape, axes))
        total = build.log(build.reduce_sum(build.exp(shifted), axes))
        return build.sub(shifted, build.expand(total, shape, axes))


@register
@dataclass(frozen=True)
class LogSumExp(Composite):
    """The logarithm of a sum of exponentials over axes, without their overflow.

    Equation: y = m + log(sum of e^(x - m)), m the largest over the axes
    Shapes:   x T[S] -> T[S without axes], the axes not empty
    Args:     axes: increasing, within the rank
    Gradient: dx = dy e^(x - y), which is softmax; 0 where y is -inf
    Numerics: -inf where all are, inf where one is, NaN where one is
    Source:   ONNX ReduceLogSumExp-18, PyTorch torch.logsumexp
    """

    mnemonic = "logsumexp"
    kinds: ClassVar[tuple[str, ...]] = ("float",)
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, self.kinds)
        return ReduceMax(self.axes).infer(x)

    def evaluate(self, x: Array, **_: Any) -> Array:
        wide = widen(x)
        with np.errstate(all="ignore"):
            top = np.max(wide, axis=self.axes, keepdims=True)
            top = np.where(np.isfinite(top), top, np.zeros((), wide.dtype))
            total = np.log(np.sum(np.exp(wide - top), axis=self.axes))
            return narrow(total + top.reshape(total.shape), dtype_of(x))

    def fold(self, x: Any) -> Any:
        return x if not self.axes else None

    def decompose(self, x: Value) -> Value:
        from .. import build

        top = build.reduce_max(x, self.axes)
        top = build.select(build.is_finite(top), top, build.full_like(top, 0))
        shifted = build.sub(x, build.expand(top, x.type.shape, self.axes))
        return build.add(build.log(build.reduce_sum(build.exp(shifted), self.axes)), top)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(3 * operands[0].size, traffic(operands, results))


@register
@dataclass(frozen=True)
class CrossEntropy(Composite):
    """How many nats the labels cost under softmax of the logits, averaged over the batch.

    Equation: loss = mean or sum over n of -log_softmax(x)[n, label[n]]
    Shapes:   logits T[N, C], labels i64[N] -> T[], or T[N] for reduction "none"
    Args:     reduction: "mean", "sum" or "none"
    Gradient: dx = (softmax(x) - onehot(label)) / N; none for the labels
    Numerics: labels outside 0..C-1 are clamped; `nn.cross_entropy` expects them within, see expect_range
    Source:   PyTorch torch.nn.functional.cross_entropy
    """

    mnemonic = "cross_entropy"
    reduction: str = "mean"

    def infer(self, logits: TensorType, labels: TensorType) -> TensorType:
        need_kind(self, logits, ("float",), what="the logits operand")
        need(self, logits.rank == 2, f"logits have rank {logits.rank}, expected [N, C]", logits, labels)
        need(self, labels.dtype == i64, f"labels are {labels.dtype}, expected i64", logits, labels)
        need(self, bounds(logits.shape[1])[0] > 0, "there may be no classes", logits, labels)
        need(self, labels.shape == logits.shape[:1], "labels and logits differ in batch", logits, labels)
        need(
            self,
            self.reduction in ("mean", "sum", "none"),
            f'reduction is "{self.reduction}", expected "mean", "sum" or "none"',
        )
        return logits.with_shape(labels.shape if self.reduction == "none" else ())

    def evaluate(self, logits: Array, labels: Array, **_: Any) -> Array:
        scores = LogSoftmax(1).evaluate(widen(logits))
        places = np.clip(labels, 0, logits.shape[1] - 1)[:, None]
        losses = -np.take_along_axis(scores, places, axis=1)[:, 0]
        with np.errstate(all="ignore"):
            if self.reduction == "mean":
                losses = np.sum(losses) / losses.dtype.type(losses.size)
            elif self.reduction == "sum":
                losses = np.sum(losses)
        return narrow(losses, dtype_of(logits))

    def decompose(self, logits: Value, labels: Value) -> Value:
        from .. import build

        n: Dim = logits.type.shape[0]
        scores = LogSoftmax(1).decompose(logits)
        picked = build.gather_elements(scores, build.reshape(labels, (n, 1)), axis=1)
        losses = build.neg(build.reshape(picked, (n,)))
        if self.reduction == "none":
            return losses
        total = build.reduce_sum(losses, (0,))
        return total if self.reduction == "sum" else build.div(total, dim_value(n, total))


def dim_value(dim: Dim, like: Value) -> Value:
    """A dim as a scalar of the value's element type: a constant, or counted at run time where it is symbolic."""
    from .. import build

    scalar = TensorType(like.type.dtype)
    if isinstance(dim, int):
        return build.full(scalar, dim)
    ones = build.full(TensorType(i64, (dim,)), 1)
    return build.cast(build.reduce_sum(ones, (0,)), like.type.dtype)


@register
@dataclass(frozen=True)
class AvgPool(Composite):
    """The mean of each window.

    Shapes:   x T[N, C, spatial...] -> T[N, C, spatial'...]
    Args:     window, strides; padding: (low, high) an axis, less than the window, negative cuts;
              count_include_pad: whether padded zeros count
    Source:   ONNX AveragePool-22
    """

    mnemonic = "avg_pool"
    neutral = NEUTRAL
    accuracy = Accuracy.REASSOCIATED
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pads
    count_include_pad: bool = False

    def _sum(self) -> WindowSum:
        ones = (1,) * len(self.window)
        return WindowSum(self.window, self.strides, self.padding, ones, ones)

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        for pads, size in zip(self.padding, self.window, strict=False):
            need(self, max(pads) < size, f"padding {pads} is not below the window's size of {size}", x)
        return self._sum().infer(x)

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        total = self._sum().evaluate(widen(x), types=(TensorType(dtype_of(widen(x)), types[0].shape),))
        ones, shape = (1,) * len(self.window), types[0].static_shape()
        inside = spread_and_pad(np.ones((1, 1, *x.shape[2:]), dtype=total.dtype), self.padding, ones, 0)
        count = sum(window_views(inside, self.window, self.strides, ones, shape[2:]))
        full = int(np.prod(self.window))
        return narrow(total / (full if self.count_include_pad else count), dtype_of(x))

    def decompose(self, x: Value) -> Value:
        from .. import build
        from ..graph import make_one

        total = make_one(self._sum(), x)
        if self.count_include_pad or not any(any(p) for p in self.padding):
            return build.div(total, build.full_like(total, int(np.prod(self.window))))
        counted = build.full(x.type.with_shape((1, 1, *x.type.shape[2:])), 1)
        count = make_one(self._sum(), counted)
        spatial = build.reshape(count, count.type.shape[2:])
        axes = tuple(range(2, x.type.rank))
        return build.div(total, build.broadcast_in_dim(spatial, total.type.shape, axes))

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(results[0].size * product(self.window), traffic(operands, results))


@register
@dataclass(frozen=True)
class BatchNorm(Composite):
    """Batch normalisation at inference, with given statistics.

    Equation: y = (x - mean) / sqrt(var + eps) * weight + bias, per channel
    Shapes:   x T[N, C, ...], weight T[C], bias T[C], mean T[C], var T[C] -> T[N, C, ...]
    Source:   ONNX BatchNormalization-15
    """

    mnemonic = "batch_norm"
    eps: float = 1e-5

    def infer(
        self, x: TensorType, weight: TensorType, bias: TensorType, mean: TensorType, var: TensorType
    ) -> TensorType:
        given = (x, weight, bias, mean, var)
        need_kind(self, x, ("float",))
        need(self, x.rank >= 2, f"x has rank {x.rank}, expected [N, C, ...]", *given)
        need(
            self,
            all(t == x.with_shape(x.shape[1:2]) for t in given[1:]),
            "statistics and parameters are one number a channel",
            *given,
        )
        return x

    def evaluate(self, x: Array, weight: Array, bias: Array, mean: Array, var: Array, **_: Any) -> Array:
        side = (1, -1) + (1,) * (x.ndim - 2)
        w, b, m, v = (widen(t).reshape(side) for t in (weight, bias, mean, var))
        with np.errstate(all="ignore"):
            eps = w.dtype.type(self.eps)
            return narrow((widen(x) - m) * (w / np.sqrt(v + eps)) + b, dtype_of(x))

    def decompose(self, x: Value, weight: Value, bias: Value, mean: Value, var: Value) -> Value:
        from .. import build

        scale = build.div(weight, build.sqrt(build.add(var, build.full_like(var, self.eps))))
        shape = x.type.shape
        centred = build.sub(x, build.broadcast_in_dim(mean, shape, (1,)))
        scaled = build.mul(centred, build.broadcast_in_dim(scale, shape, (1,)))
        return build.add(scaled, build.broadcast_in_dim(bias, shape, (1,)))


@register
@dataclass(frozen=True)
class BatchNormTrain(Composite):
    """Batch normalisation in training: statistics of the batch itself, returned with the result.

    Equation: mean, var = of x per channel (var divides by the count); y as `BatchNorm`
    Shapes:   x T[N, C, ...], weight T[C], bias T[C] -> T[N, C, ...], mean T[C], var T[C]
    Source:   S. Ioffe, C. Szegedy, Batch normalization, 2015; PyTorch torch.nn.functional.batch_norm
    """

    mnemonic = "batch_norm_train"
    eps: float = 1e-5

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType) -> tuple[TensorType, ...]:
        channel = x.with_shape(x.shape[1:2])
        BatchNorm(self.eps).infer(x, weight, bias, channel, channel)
        return x, channel, channel

    def evaluate(self, x: Array, weight: Array, bias: Array, **_: Any) -> tuple[Array, ...]:
        axes = tuple(k for k in range(x.ndim) if k != 1)
        wide = widen(x)
        with np.errstate(all="ignore"):
            count = wide.dtype.type(x.size // max(x.shape[1], 1))
            mean = np.sum(wide, axis=axes) / count
            side = (1, -1) + (1,) * (x.ndim - 2)
            var = np.sum((wide - mean.reshape(side)) ** 2, axis=axes) / count
        y = BatchNorm(self.eps).evaluate(wide, widen(weight), widen(bias), mean, var)
        return tuple(narrow(t, dtype_of(x)) for t in (y, mean, var))

    def decompose(self, x: Value, weight: Value, bias: Value) -> tuple[Value, ...]:
        from .. import build

        shape = x.type.shape
        axes = tuple(k for k in range(x.type.rank) if k != 1)
        total = build.reduce_sum(x, axes)
        count = build.broadcast_in_dim(
            dim_value(product(tuple(shape[k] for k in axes)), total), total.type.shape, ()
        )
        mean = build.div(total, count)
        centred = build.sub(x, build.broadcast_in_dim(mean, shape, (1,)))
        var = build.div(build.reduce_sum(build.mul(centred, centred), axes), count)
        return BatchNorm(self.eps).decompose(x, weight, bias, mean, var), mean, var


@register
@dataclass(frozen=True)
class Dropout(Composite):
    """Zero each element with probability p and scale the others by 1 / (1 - p).

    Shapes:   x T[S], key u32[2] -> T[S]
    Args:     p: 0 <= p < 1
    Gradient: dy under the same mask
    Source:   N. Srivastava et al., Dropout, JMLR 2014
    """

    mnemonic = "dropout"
    p: float

    def infer(self, x: TensorType, key: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        need(self, key == KEY, f"the key is {key}, expected {KEY}", x, key)
        need(self, 0 <= self.p < 1, f"p is {self.p}, expected 0 <= p < 1", x, key)
        return x

    def evaluate(self, x: Array, key: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        from ..types import f32
        from .rng import RngUniform

        draw = RngUniform(types[0].shape).evaluate(key, types=(types[0].with_dtype(f32),))
        kept = widen(x) * widen(x).dtype.type(1 / (1 - self.p))
        return narrow(np.where(draw < np.float32(self.p), np.zeros((), kept.dtype), kept), dtype_of(x))

    def decompose(self, x: Value, key: Value) -> Value:
        from .. import build
        from ..graph import make_one
        from .rng import RngUniform

        draw = make_one(RngUniform(x.type.shape), key)
        dropped = build.lt(draw, build.full_like(draw, self.p))
        kept = build.mul(x, build.full_like(x, 1 / (1 - self.p)))
        return build.select(dropped, build.full_like(x, 0), kept)
