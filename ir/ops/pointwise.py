"""Elementwise ops that are no row of a family's table: a threshold, a sum rounded once, bits read anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, DType, TensorType, dtype_of, f64
from .common import narrow, need, need_kind, need_same_type

__all__ = ["Bitcast", "Fma", "Step"]


@register
@dataclass(frozen=True)
class Step(Op):
    """The perceptron's threshold: 0 below 0, 1 above.

    Shapes:   x T[S] -> T[S]
    Args:     at0: the result at 0, of either sign
    Gradient: 0 everywhere
    Numerics: NaN stays NaN
    Source:   F. Rosenblatt, The perceptron, 1958; numpy.heaviside
    """

    mnemonic = "step"
    at0: float = 0.0

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        need(self, math.isfinite(self.at0), f"at0 is {self.at0}, expected a finite number", x)
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        one, zero, middle = (np.asarray(n).astype(x.dtype) for n in (1, 0, self.at0))
        with np.errstate(invalid="ignore"):
            return np.where(x > 0, one, np.where(x < 0, zero, np.where(x == 0, middle, x)))


@register
@dataclass(frozen=True)
class Fma(Op):
    """x * y + z, rounded once.

    Shapes:   x T[S], y T[S], z T[S] -> T[S]
    Gradient: dx = g y, dy = g x, dz = g
    Numerics: correctly rounded in every float type, f16 and bf16 too
    Source:   IEEE 754-2019, 5.4.1 fusedMultiplyAdd; S. Boldo, G. Melquiond, Emulation of FMA, 2008
    """

    mnemonic = "fma"
    accuracy = Accuracy.ROUNDED

    def infer(self, x: TensorType, y: TensorType, z: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        return need_same_type(self, x, y, z)

    def evaluate(self, x: Array, y: Array, z: Array, **_: Any) -> Array:
        dtype = dtype_of(x)
        if dtype == f64:
            flat = [_fma(*row) for row in zip(*(a.ravel().tolist() for a in (x, y, z)), strict=True)]
            return np.asarray(flat, dtype=np.float64).reshape(x.shape)
        with np.errstate(all="ignore"):
            product = x.astype(np.float64) * y.astype(np.float64)
            total = _sum_to_odd(product, z.astype(np.float64))
            return narrow(total if dtype.bits == 32 else _narrow_to_odd(total), dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(2 * results[0].size, traffic(operands, results))


def _fma(x: float, y: float, z: float) -> float:
    """In f64, by rational numbers."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y + z
    if not math.isfinite(z):
        return z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:  # only the sign is in question, and it is that of the rounded operations
        return x * y + z
    try:
        return exact.numerator / exact.denominator
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _sum_to_odd(x: Array, y: Array) -> Array:
    """x + y in f64, an inexact one rounded to the neighbour whose last bit is 1: rounding again is as rounding once."""
    total = x + y
    back = total - x
    error = (x - (total - back)) + (y - back)
    bits = total.view(np.int64)
    inexact = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
    away = (error > 0) == (total > 0)
    return np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)


def _narrow_to_odd(x: Array) -> Array:
    """f64 to f32 in the same way."""
    near = x.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.int32)
    down = np.where(np.abs(back) > np.abs(x), bits - 1, bits) | 1
    return np.where((back == x) | np.isnan(x), bits, down).astype(np.int32).view(np.float32)


@register
@dataclass(frozen=True)
class Bitcast(Op):
    """The same bits read as another element type of the same width.

    Shapes:   S[d...] -> dtype[d...]
    Args:     dtype: as wide as x's element type; neither is bool
    Numerics: exact, NaN payloads included
    Raises:   TypeInferenceError where the widths differ
    Source:   StableHLO bitcast_convert
    """

    mnemonic = "bitcast"
    dtype: DType

    def infer(self, x: TensorType) -> TensorType:
        for what, dtype in (("the operand", x.dtype), ("the result", self.dtype)):
            need(self, dtype.kind != "bool", f"{what} is bool, expected a number", x)
        need(
            self,
            x.dtype.bits == self.dtype.bits,
            f"{x.dtype} has {x.dtype.bits} bits and {self.dtype} {self.dtype.bits}",
            x,
            hint=f"convert the number with .astype('{self.dtype}')",
        )
        return x.with_dtype(self.dtype)

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.ascontiguousarray(x).reshape(x.shape).view(self.dtype.numpy)

    def fold(self, x: Any) -> Any:
        return x if x.type.dtype == self.dtype else None

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))
