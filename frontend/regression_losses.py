"""Losses of numbers: squared, absolute, and both; PyTorch's names, arguments and reductions."""

from __future__ import annotations

from typing import Any

from .calls import wrong
from .losses import reduced, same_shape
from .pointwise import where
from .tensor import Tensor

__all__ = ["huber_loss", "l1_loss", "mae_loss", "mse_loss", "smooth_l1_loss"]


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference."""
    difference = _difference("mse_loss", input, target)
    return reduced("mse_loss", difference * difference, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute difference; its derivative at 0 is 0."""
    return reduced("l1_loss", abs(_difference("l1_loss", input, target)), reduction)


mae_loss = l1_loss
"""The mean absolute error, by its other name."""


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Squared near 0, absolute further out.

    Equation: loss = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = input - target
    Source:  P. Huber, Robust estimation of a location parameter, 1964; PyTorch torch.nn.functional.huber_loss
    """
    if delta <= 0:
        raise wrong("huber_loss", f"delta is {delta}, expected a positive number")
    difference = _difference("huber_loss", input, target)
    size = abs(difference)
    cost = where(size <= delta, 0.5 * difference * difference, delta * (size - 0.5 * delta))
    return reduced("huber_loss", cost, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """The Huber loss divided by beta, its delta; the absolute difference for 0.

    Source:  R. Girshick, Fast R-CNN, 2015; PyTorch torch.nn.functional.smooth_l1_loss
    """
    if beta < 0:
        raise wrong("smooth_l1_loss", f"beta is {beta}, expected at least 0")
    difference = _difference("smooth_l1_loss", input, target)
    size = abs(difference)
    if beta == 0:
        return reduced("smooth_l1_loss", size, reduction)
    cost = where(size < beta, difference * difference * (0.5 / beta), size - 0.5 * beta)
    return reduced("smooth_l1_loss", cost, reduction)


def _difference(name: str, input: Any, target: Any) -> Tensor:
    x, y = same_shape(name, input, target)
    return x - y
