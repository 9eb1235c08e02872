"""Elementwise functions that are no activations: exponential, logarithm, root, angle, choice, bits."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.types import dtype_of
from . import elementwise as e
from .tensor import Tensor, as_tensor, operands

__all__ = ["atan2", "bitcast", "exp", "fma", "heaviside", "log", "log1p_exp", "sqrt", "where"]


def exp(input: Any) -> Tensor:
    """e^x."""
    return Tensor(b.exp(as_tensor(input).value))


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return Tensor(b.log(as_tensor(input).value))


def sqrt(input: Any) -> Tensor:
    """The square root."""
    return Tensor(b.sqrt(as_tensor(input).value))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where the condition holds, else y.

    Gradient: to the one chosen; the other gets 0, but where its own derivative is not finite there 0 becomes NaN
    """
    found = operands(x, y) or [as_tensor(x).value, as_tensor(y).value]
    return Tensor(e.select(as_tensor(condition).value, found[0], found[1]))


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input), in -pi..pi.

    Gradient: (other d input - input d other) / (input^2 + other^2); 0 at the origin
    Source:   PyTorch torch.atan2, numpy.arctan2
    """
    found = operands(input, other) or [as_tensor(input).value, as_tensor(other).value]
    return Tensor(e.binary(b.atan2, found[0], found[1]))


def heaviside(input: Any, values: Any) -> Tensor:
    """0 where x < 0, 1 where x > 0, `values` where x is 0; its gradient by x is 0.

    Source:  PyTorch torch.heaviside, numpy.heaviside
    """
    found = operands(input, values) or [as_tensor(input).value, as_tensor(values).value]
    return Tensor(e.heaviside(found[0], found[1]))


def fma(x: Any, y: Any, z: Any) -> Tensor:
    """x * y + z, rounded once; shapes broadcast.

    Source:  IEEE 754-2019, 5.4.1 fusedMultiplyAdd
    """
    found = operands(x, y, z) or [as_tensor(v).value for v in (x, y, z)]
    return Tensor(b.fma(*e.broadcast("fma", *found)))


def bitcast(input: Any, dtype: Any) -> Tensor:
    """The same bits as another element type of the same width: numpy's x.view(dtype)."""
    return Tensor(b.bitcast(as_tensor(input).value, dtype_of(dtype)))


def log1p_exp(input: Any) -> Tensor:
    """log(1 + e^x) without overflow; the derivative is the sigmoid, at 0 and far out too."""
    x = as_tensor(input)
    below = x > 0
    small = Tensor(b.log1p(b.exp(where(below, -x, x).value)))
    return where(below, x + small, small)
