"""Activations that are x times a gate of x: composites, which exporters often write out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..op import Accuracy, Cost, Level, Op, register, traffic
from ..types import Array, TensorType, dtype_of
from .common import narrow, need, need_kind, widen
from .elementwise import Erf, Sigmoid

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["SQRT_2_OVER_PI", "TANH_CUBE", "Gate", "Gelu", "HardSwish", "Silu"]

SQRT_2_OVER_PI = 0.7978845608028654
TANH_CUBE = 0.044715
"""The numbers of the formula with tanh: D. Hendrycks, K. Gimpel, 2016."""


class Gate(Op):
    """A family of elementwise composites of one float operand."""

    level = Level.NN
    accuracy = Accuracy.APPROXIMATE

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        wide = widen(x)
        with np.errstate(all="ignore"):
            return narrow(self.on_array(wide), dtype_of(x))

    def on_array(self, x: Array) -> Any:
        """The function in numpy."""
        raise NotImplementedError

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(4 * operands[0].size, traffic(operands, results))


@register
@dataclass(frozen=True)
class Silu(Gate):
    """y = x sigmoid(x).

    Shapes:   F[S] -> F[S]
    Gradient: through its decomposition
    Source:   S. Elfwing et al., 2017; ONNX Swish-24
    """

    mnemonic = "silu"

    def on_array(self, x: Array) -> Any:
        return x * Sigmoid.apply(x)  # type: ignore[attr-defined]

    def decompose(self, x: Value) -> Value:
        from .. import build as b

        return b.mul(x, b.sigmoid(x))


@register
@dataclass(frozen=True)
class Gelu(Gate):
    """y = x times the standard normal's distribution function at x.

    Equation: y = x (1 + erf(x / sqrt 2)) / 2; "tanh": y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    Shapes:   F[S] -> F[S]
    Args:     approximate: "none" or "tanh"
    Gradient: through its decomposition
    Source:   D. Hendrycks, K. Gimpel, Gaussian error linear units, 2016; ONNX Gelu-20
    """

    mnemonic = "gelu"
    approximate: str = "none"

    def infer(self, x: TensorType) -> TensorType:
        known = self.approximate in ("none", "tanh")
        need(self, known, f'approximate is "{self.approximate}", expected "none" or "tanh"', x)
        return super().infer(x)

    def on_array(self, x: Array) -> Any:
        kind: Any = x.dtype.type
        tanh: Any = np.tanh
        erf: Any = Erf
        if self.approximate == "none":
            gate = erf.apply(x * kind(math.sqrt(0.5)))
        else:
            gate = tanh(kind(SQRT_2_OVER_PI) * (x + kind(TANH_CUBE) * (x * x * x)))
        return kind(0.5) * x * (kind(1) + gate)

    def decompose(self, x: Value) -> Value:
        from .. import build as b

        def times(v: Value, number: float) -> Value:
            return b.mul(v, b.full_like(v, number))

        if self.approximate == "none":
            gate = b.erf(times(x, math.sqrt(0.5)))
        else:
            cube = b.mul(b.mul(x, x), x)
            gate = b.tanh(times(b.add(x, times(cube, TANH_CUBE)), SQRT_2_OVER_PI))
        return b.mul(times(x, 0.5), b.add(gate, b.full_like(gate, 1)))


@register
@dataclass(frozen=True)
class HardSwish(Gate):
    """y = x times x / 6 + 1 / 2 within 0..1.

    Shapes:   F[S] -> F[S]
    Gradient: through its decomposition; the corners at -3 and 3 have that of the outside
    Source:   A. Howard et al., Searching for MobileNetV3, 2019; ONNX HardSwish-22
    """

    mnemonic = "hard_swish"

    def on_array(self, x: Array) -> Any:
        kind: Any = x.dtype.type
        inner = x * (x + kind(3)) / kind(6)
        return np.where(x <= -3, kind(0), np.where(x >= 3, x, inner))

    def decompose(self, x: Value) -> Value:
        from .. import build as b

        inner = b.div(b.mul(x, b.add(x, b.full_like(x, 3))), b.full_like(x, 6))
        above = b.select(b.ge(x, b.full_like(x, 3)), x, inner)
        return b.select(b.le(x, b.full_like(x, -3)), b.full_like(x, 0), above)
