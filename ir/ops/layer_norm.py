"""Layer normalisation as a composite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import bounds, product
from ..op import Accuracy, Cost, Level, Op, register, traffic
from ..types import Array, TensorType, dtype_of
from .common import accumulator, narrow, need, need_kind, widen
from .nn import dim_value

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["LayerNorm"]


@register
@dataclass(frozen=True)
class LayerNorm(Op):
    """Mean 0 and variance 1 over the last axes, then a scale and a shift of each place.

    Equation: y = (x - mean) / sqrt(var + eps) * weight + bias, over the axes from `axis` on; var divides by the count
    Shapes:   x F[S, L], weight F[L], bias F[L] -> F[S, L], L the axes from `axis` on, not empty
    Args:     axis: 0 <= axis < rank; eps: at least 0
    Gradient: through its decomposition
    Numerics: f16 and bf16 in f32
    Source:   J. Ba et al., Layer normalization, 2016; ONNX LayerNormalization-17
    """

    mnemonic = "layer_norm"
    level = Level.NN
    accuracy = Accuracy.APPROXIMATE
    axis: int
    eps: float = 1e-5

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType) -> TensorType:
        given = (x, weight, bias)
        need_kind(self, x, ("float",))
        need(self, 0 <= self.axis < x.rank, f"axis {self.axis} is not within the rank of x", *given)
        wanted = x.with_shape(x.shape[self.axis :])
        for name, t in (("weight", weight), ("bias", bias)):
            need(self, t == wanted, f"{name} is {t}, expected {wanted}", *given)
        need(self, bounds(wanted.size)[0] > 0, "there may be nothing to normalise over", *given)
        return x

    def evaluate(self, x: Array, weight: Array, bias: Array, **_: Any) -> Array:
        wide, axes = widen(x), tuple(range(self.axis, x.ndim))
        with np.errstate(all="ignore"):
            centred = wide - wide.mean(axis=axes, keepdims=True)
            var = (centred * centred).mean(axis=axes, keepdims=True)
            y = centred / np.sqrt(var + wide.dtype.type(self.eps))
            return narrow(y * widen(weight) + widen(bias), dtype_of(x))

    def decompose(self, x: Value, weight: Value, bias: Value) -> Value:
        from .. import build as b

        dtype, shape = x.type.dtype, x.type.shape
        acc = accumulator(dtype, None)
        axes = tuple(range(self.axis, len(shape)))
        wide, w, c = (b.cast(v, acc) for v in (x, weight, bias))

        def mean(v: Value) -> Value:
            total = b.reduce_sum(v, axes)
            count = b.broadcast_in_dim(dim_value(product(shape[self.axis :]), total), total.type.shape, ())
            return b.div(total, count)

        centred = b.sub(wide, b.expand(mean(wide), shape, axes))
        var = mean(b.mul(centred, centred))
        deviation = b.sqrt(b.add(var, b.full_like(var, self.eps)))
        y = b.div(centred, b.expand(deviation, shape, axes))
        scaled = b.mul(y, b.broadcast_in_dim(w, shape, axes))
        return b.cast(b.add(scaled, b.broadcast_in_dim(c, shape, axes)), dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(8 * operands[0].size, traffic(operands, results))
