"""Steps scaled by the size of past gradients: Adagrad and RMSprop."""

from __future__ import annotations

from ..tensor import Tensor
from .base import Optimizer, Tensors, at_least_0, below_1, root
from .schedules import Rate

__all__ = ["Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Steps scaled by the root of the sum of all squared gradients.

    Equation: g = dw + weight_decay w;  s = s + g^2;  w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
    Args:     initial_accumulator_value: s at the beginning
    Source:   J. Duchi, E. Hazan, Y. Singer, Adaptive subgradient methods, 2011; PyTorch torch.optim.Adagrad
    """

    moments = ("sum",)

    def __init__(
        self,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, maximize=maximize)
        at_least_0(self, lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)
        self.lr_decay, self.eps = lr_decay, eps
        self.initial = {"sum": initial_accumulator_value}
        self.counts = lr_decay > 0

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        if not self.counts:
            return {"lr": lr}
        before = (state["optimizer.step"] - 1).astype(lr.dtype)
        return {"lr": lr / (before * self.lr_decay + 1)}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        gradient = self.decayed(weight, gradient)
        total = moments["sum"] + gradient * gradient
        return weight - rates["lr"] * (gradient / (root(total) + self.eps)), {"sum": total}


class RMSprop(Optimizer):
    """Steps scaled by the root of a running mean of the squared gradient.

    Equation: g = dw + weight_decay w;  v = alpha v + (1 - alpha) g^2;  a = alpha a + (1 - alpha) g;
              s = sqrt(v), or sqrt(v - a^2) if centered;  m = momentum m + g / (s + eps);  w = w - lr m
    Source:   T. Tieleman, G. Hinton, lecture 6.5, 2012; A. Graves, arXiv 1308.0850, for centered;
              PyTorch torch.optim.RMSprop
    """

    def __init__(
        self,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, maximize=maximize)
        at_least_0(self, eps=eps, momentum=momentum)
        below_1(self, alpha=alpha)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered
        self.moments = ("square", *(["mean"] if centered else []), *(["momentum"] if momentum else []))

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        gradient = self.decayed(weight, gradient)
        rest = 1 - self.alpha
        square = moments["square"] * self.alpha + gradient * gradient * rest
        moved, spread = {"square": square}, square
        if self.centered:
            moved["mean"] = moments["mean"] * self.alpha + gradient * rest
            # rounding may leave a variance below 0
            spread = (square - moved["mean"] * moved["mean"]).clip(0)
        move = gradient / (root(spread) + self.eps)
        if self.momentum:
            move = moved["momentum"] = moments["momentum"] * self.momentum + move
        return weight - rates["lr"] * move, moved
