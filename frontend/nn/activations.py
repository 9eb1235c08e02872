"""Activations as layers."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module

__all__ = ["GELU", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "SiLU", "Softmax", "Softplus", "Tanh"]


class ReLU(Module):
    """0 where x < 0, else x."""

    def __call__(self, x: Any) -> Tensor:
        return F.relu(x)


class LeakyReLU(Module):
    """negative_slope * x where x < 0, else x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def __call__(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """x times the standard normal's distribution function at x."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def __call__(self, x: Any) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x times its sigmoid."""

    def __call__(self, x: Any) -> Tensor:
        return F.silu(x)


class Softplus(Module):
    """log(1 + e^x)."""

    def __call__(self, x: Any) -> Tensor:
        return F.softplus(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def __call__(self, x: Any) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def __call__(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """Shares that are positive and sum to 1 along an axis."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def __call__(self, x: Any) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of softmax."""

    def __call__(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.dim)
