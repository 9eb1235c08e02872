"""Optimisers: how gradients become new weights, as graph ops. State and learning rate live in the store."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..ir import build as b
from ..ir.errors import NervureError
from ..ir.store import Entry
from ..ir.types import DType, TensorType, f32, i64
from .parameter import Buffer
from .tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]

Tensors = Mapping[str, Tensor]


class Optimizer:
    """The base: a learning rate that can be changed at run time, and state for each parameter.

    State belongs to the optimiser: training steps made with the same one go on where the others stopped. Entries are
    named ``optimizer.lr``, ``optimizer.momentum.fc.weight`` and so on.

    Args:
        lr: the learning rate, at least 0
    """

    moments: tuple[str, ...] = ()
    """Names of the tensors that are kept for each parameter, all 0 at the beginning."""

    def __init__(self, lr: float) -> None:
        if not lr >= 0:
            raise NervureError(f"{type(self).__name__}: lr is {lr}, expected at least 0")
        self._lr = float(lr)
        self._entries: dict[str, Buffer] = {}
        self._of: dict[str, Entry] = {}

    @property
    def lr(self) -> float:
        """The learning rate; assigning to it reaches every step made with this optimiser, compiled ones too."""
        entry = self._entries.get("optimizer.lr")
        if entry is None or entry.data == np.asarray(self._lr, entry.dtype.numpy):
            return self._lr
        return float(entry.data)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = float(value)
        if "optimizer.lr" in self._entries:
            entry = self._entries["optimizer.lr"]
            entry.assign(np.asarray(value, entry.dtype.numpy))

    def init_state(self, params: Mapping[str, Entry]) -> dict[str, Buffer]:
        """The state for these parameters by name: made when first asked for, then the same again.

        Raises:
            NervureError: another parameter of the same name was here before
        """
        wide = max((p.type.dtype for p in params.values()), key=lambda d: d.bits, default=f32)
        kind = _scalar_type(wide)
        found = {"optimizer.lr": self._entry("lr", TensorType(kind), self._lr), **self._shared(kind)}
        for name, param in params.items():
            if self._of.setdefault(name, param) is not param:
                raise NervureError(
                    f"{type(self).__name__} has state for another parameter named {name}",
                    hint="make an optimiser for each model",
                )
            for moment in self.moments:
                found[f"optimizer.{moment}.{name}"] = self._entry(f"{moment}.{name}", param.type, 0)
        return found

    def _shared(self, dtype: DType) -> dict[str, Buffer]:
        """State that all parameters share, beside the learning rate; dtype is that of scalars."""
        return {}

    def _entry(self, name: str, type: TensorType, value: float) -> Buffer:
        full = f"optimizer.{name}"
        if full not in self._entries:
            self._entries[full] = Buffer(np.full(type.static_shape(), value, type.dtype.numpy), name=full)
        return self._entries[full]

    def update(
        self, params: Tensors, gradients: Tensors, state: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The new content of parameters, and of the state that changes.

        Args:
            params, gradients: by the parameter's name
            state: what `init_state` made, by the entry's name
        """
        new_params: dict[str, Tensor] = {}
        new_state = self.begin(state)
        rates = {d: self.rates(state["optimizer.lr"].astype(d), new_state) for d in _dtypes(params)}
        for name, weight in params.items():
            kept = {m: state[f"optimizer.{m}.{name}"] for m in self.moments}
            new_params[name], moved = self.step(weight, gradients[name], kept, rates[weight.dtype])
            new_state |= {f"optimizer.{m}.{name}": value for m, value in moved.items()}
        return new_params, new_state

    def begin(self, state: Tensors) -> dict[str, Tensor]:
        """What changes once a step, before the parameters: new content by the entry's name."""
        return {}

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        """Scalars that all parameters of one element type share; ``lr`` among them."""
        return {"lr": lr}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The new content of one parameter and of its moments."""
        raise NervureError(f"{type(self).__name__} defines no step")


def _dtypes(params: Tensors) -> list[DType]:
    return list(dict.fromkeys(weight.dtype for weight in params.values()))


def _scalar_type(dtype: DType) -> DType:
    """Scalars of half precision would lose the learning rate's digits."""
    return dtype if dtype.bits >= 32 else f32


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    Equation: g = dw + weight_decay w;  m = momentum m + g;  w = w - lr m, or w - lr (g + momentum m) for nesterov
    Source:   PyTorch torch.optim.SGD
    """

    def __init__(
        self, lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(lr)
        if nesterov and not momentum:
            raise NervureError("SGD: nesterov needs a momentum above 0")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self.moments = ("momentum",) if momentum else ()

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.weight_decay:
            gradient = gradient + weight * self.weight_decay
        if not self.momentum:
            return weight - rates["lr"] * gradient, {}
        moment = moments["momentum"] * self.momentum + gradient
        move = gradient + moment * self.momentum if self.nesterov else moment
        return weight - rates["lr"] * move, {"momentum": moment}


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Equation: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
              w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
    Args:     weight_decay: added to the gradient as weight_decay * w
    Numerics: c = 1 - b^t is kept as state, c = b c + (1 - b), which keeps its digits in f32 where b^t would not
    Source:   D. Kingma, J. Ba, Adam, 2015; PyTorch torch.optim.Adam
    """

    moments = ("mean", "square")

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        if not all(0 <= beta < 1 for beta in betas):
            raise NervureError(f"{type(self).__name__}: betas are {betas}, expected 0 <= beta < 1")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def _shared(self, dtype: DType) -> dict[str, Buffer]:
        kinds = {"step": i64, "correction1": dtype, "correction2": dtype}
        return {f"optimizer.{name}": self._entry(name, TensorType(kind), 0) for name, kind in kinds.items()}

    def begin(self, state: Tensors) -> dict[str, Tensor]:
        found = {"optimizer.step": state["optimizer.step"] + 1}
        for k, beta in enumerate(self.betas, start=1):
            name = f"optimizer.correction{k}"
            found[name] = state[name] * beta + (1 - beta)
        return found

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        first, second = (state[f"optimizer.correction{k}"].astype(lr.dtype) for k in (1, 2))
        return {"lr": lr, "rate": lr / first, "root": _root(second)}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weight, gradient = self.decayed(weight, gradient, rates["lr"])
        beta1, beta2 = self.betas
        mean = moments["mean"] * beta1 + gradient * (1 - beta1)
        square = moments["square"] * beta2 + gradient * gradient * (1 - beta2)
        size = _root(square) / rates["root"] + self.eps
        return weight - rates["rate"] * (mean / size), {"mean": mean, "square": square}

    def decayed(self, weight: Tensor, gradient: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and gradient after weight decay."""
        return weight, gradient + weight * self.weight_decay if self.weight_decay else gradient


class AdamW(Adam):
    """Adam with weight decay beside the gradient: w = w (1 - lr weight_decay) before the step.

    Source: I. Loshchilov, F. Hutter, Decoupled weight decay regularization, 2019; PyTorch torch.optim.AdamW
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def decayed(self, weight: Tensor, gradient: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        return weight - lr * self.weight_decay * weight, gradient


def _root(x: Tensor) -> Tensor:
    return Tensor(b.sqrt(x.value))
