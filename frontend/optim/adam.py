"""Steps scaled by running means of the gradient and of its square: Adam and AdamW."""

from __future__ import annotations

from ...ir import build as b
from ...ir.types import DType, TensorType
from ..parameter import Buffer
from ..tensor import Tensor
from .base import Optimizer, Tensors, at_least_0, below_1, root
from .schedules import Rate

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Equation: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
              w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
    Args:     weight_decay: added to the gradient as weight_decay * w
              amsgrad: the largest v so far takes v's place in the step
    Numerics: c = 1 - b^t is kept as state, c = b c + (1 - b), which keeps its digits in f32 where b^t would not
    Source:   D. Kingma, J. Ba, Adam, 2015; S. Reddi et al., On the convergence of Adam, 2018; PyTorch torch.optim.Adam
    """

    counts = True

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, maximize=maximize)
        at_least_0(self, eps=eps)
        below_1(self, **{f"betas[{k}]": beta for k, beta in enumerate(betas)})
        self.betas, self.eps, self.amsgrad = betas, eps, amsgrad
        self.moments = ("mean", "square", *(["largest"] if amsgrad else []))

    def _shared(self, dtype: DType) -> dict[str, Buffer]:
        names = ("correction1", "correction2")
        return {f"optimizer.{name}": self._entry(name, TensorType(dtype), 0) for name in names}

    def begin(self, state: Tensors) -> dict[str, Tensor]:
        names = [f"optimizer.correction{k}" for k in (1, 2)]
        return {n: state[n] * beta + (1 - beta) for n, beta in zip(names, self.betas, strict=True)}

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        first, second = (state[f"optimizer.correction{k}"].astype(lr.dtype) for k in (1, 2))
        return {"lr": lr, "rate": lr / first, "root": root(second)}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weight, gradient = self.shrunk(weight, gradient, rates["lr"])
        beta1, beta2 = self.betas
        mean = moments["mean"] * beta1 + gradient * (1 - beta1)
        square = moments["square"] * beta2 + gradient * gradient * (1 - beta2)
        moved, seen = {"mean": mean, "square": square}, square
        if self.amsgrad:
            seen = moved["largest"] = Tensor(b.max(moments["largest"].value, square.value))
        size = root(seen) / rates["root"] + self.eps
        return weight - rates["rate"] * (mean / size), moved

    def shrunk(self, weight: Tensor, gradient: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and gradient after weight decay."""
        return weight, self.decayed(weight, gradient)


class AdamW(Adam):
    """Adam with weight decay beside the gradient: w = w (1 - lr weight_decay) before the step.

    Source: I. Loshchilov, F. Hutter, Decoupled weight decay regularization, 2019; PyTorch torch.optim.AdamW
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def shrunk(self, weight: Tensor, gradient: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        return weight - lr * self.weight_decay * weight, gradient
