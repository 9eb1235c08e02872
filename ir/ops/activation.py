"""The activations that a recurrent layer may be given, by ONNX's names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import Array

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["ACTIVATIONS", "Activation"]

ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "relu": (None, None),
    "tanh": (None, None),
    "sigmoid": (None, None),
    "affine": (1.0, 0.0),
    "leaky_relu": (0.01, None),
    "thresholded_relu": (1.0, None),
    "scaled_tanh": (1.0, 1.0),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.0, None),
    "softsign": (None, None),
    "softplus": (None, None),
}
"""By name, what alpha and beta are if not given; None where the function has none. As ONNX's operators."""


@dataclass(frozen=True)
class Activation:
    """One activation with its numbers, applied to arrays (`on_array`) or written over values (`on_value`).

    Equation: affine a x + b; leaky_relu x where x >= 0, else a x; thresholded_relu x where x >= a, else 0;
              scaled_tanh a tanh(b x); hard_sigmoid a x + b within 0..1; elu x where x >= 0, else a (e^x - 1);
              softsign x / (1 + |x|); softplus log(1 + e^x)
    Source:   ONNX LSTM-14
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def on_array(self, x: Array) -> Array:
        kind = x.dtype.type
        a, b, zero, one = kind(self.alpha), kind(self.beta), kind(0), kind(1)
        match self.name:
            case "relu":
                return np.where(x < 0, zero, x)
            case "tanh":
                return np.tanh(x)
            case "sigmoid":
                e = np.exp(-np.abs(x))
                return np.where(x < 0, e, one) / (one + e)
            case "affine":
                return a * x + b
            case "leaky_relu":
                return np.where(x < 0, a * x, x)
            case "thresholded_relu":
                return np.where(x >= a, x, zero)
            case "scaled_tanh":
                return a * np.tanh(b * x)
            case "hard_sigmoid":
                return np.clip(a * x + b, zero, one)
            case "elu":
                return np.where(x < 0, a * np.expm1(np.minimum(x, zero)), x)
            case "softsign":
                return x / (one + np.abs(x))
            case _:
                assert self.name == "softplus", self.name
                return np.maximum(x, zero) + np.log1p(np.exp(-np.abs(x)))

    def on_value(self, x: Value) -> Value:
        from .. import build as b

        def number(value: float) -> Value:
            return b.full_like(x, value)

        match self.name:
            case "relu":
                return b.relu(x)
            case "tanh":
                return b.tanh(x)
            case "sigmoid":
                return b.sigmoid(x)
            case "affine":
                return b.add(b.mul(number(self.alpha), x), number(self.beta))
            case "leaky_relu":
                return b.select(b.lt(x, number(0)), b.mul(number(self.alpha), x), x)
            case "thresholded_relu":
                return b.select(b.ge(x, number(self.alpha)), x, number(0))
            case "scaled_tanh":
                return b.mul(number(self.alpha), b.tanh(b.mul(number(self.beta), x)))
            case "hard_sigmoid":
                line = b.add(b.mul(number(self.alpha), x), number(self.beta))
                return b.clamp(number(0), line, number(1))
            case "elu":
                below = b.mul(number(self.alpha), b.expm1(b.min(x, number(0))))
                return b.select(b.lt(x, number(0)), below, x)
            case "softsign":
                return b.div(x, b.add(number(1), b.abs(x)))
            case _:
                assert self.name == "softplus", self.name
                return b.add(b.max(x, number(0)), b.log1p(b.exp(b.neg(b.abs(x)))))
