"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from ...ir import build as b
from ...ir.errors import NervureError
from ..tensor import Tensor
from .base import Optimizer, Tensors, at_least_0
from .schedules import Rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    Equation: g = dw + weight_decay w;  m = momentum m + (1 - dampening) g, and g in the first step;
              w = w - lr m, or w - lr (g + momentum m) for nesterov
    Raises:   NervureError where nesterov has no momentum, or has dampening
    Source:   PyTorch torch.optim.SGD
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, maximize=maximize)
        at_least_0(self, momentum=momentum)
        if nesterov and (not momentum or dampening):
            raise NervureError("SGD: nesterov needs a momentum above 0 and no dampening")
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.moments = ("momentum",) if momentum else ()
        self.counts = bool(momentum and dampening)

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        if not self.counts:
            return {"lr": lr}
        first = state["optimizer.step"] <= 1
        one, damped = (b.full_like(lr.value, share) for share in (1.0, 1.0 - self.dampening))
        return {"lr": lr, "share": Tensor(b.select(first.value, one, damped))}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        gradient = self.decayed(weight, gradient)
        if not self.momentum:
            return weight - rates["lr"] * gradient, {}
        share = rates["share"] * gradient if self.counts else gradient
        moment = moments["momentum"] * self.momentum + share
        move = gradient + moment * self.momentum if self.nesterov else moment
        return weight - rates["lr"] * move, {"momentum": moment}
