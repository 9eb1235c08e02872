"""Elementwise functions that are no activations: exponential, logarithm, root, choice."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from . import elementwise as e
from .tensor import Tensor, as_tensor, operands

__all__ = ["exp", "log", "log1p_exp", "sqrt", "where"]


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


def log1p_exp(input: Any) -> Tensor:
    """log(1 + e^x) without overflow; the derivative is the sigmoid, at 0 and far out too."""
    x = as_tensor(input)
    below = x > 0
    small = Tensor(b.log1p(b.exp(where(below, -x, x).value)))
    return where(below, x + small, small)
