"""Optimisers: how gradients become new weights, as graph ops. State and learning rate live in the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import build as b
from ..ir.graph import Value
from ..ir.store import Entry
from ..ir.types import TensorType, f64
from .tensor import Parameter
from .tracing import Tracing

__all__ = ["SGD", "Adam", "Optimizer"]


class Optimizer:
    """The base: a learning rate that can be changed at run time, and state for each parameter.

    The learning rate is the store entry ``optimizer.lr``: ``step.store["optimizer.lr"].assign(np.float32(0.01))``.

    Args:
        lr: above 0
    """

    def __init__(self, lr: float) -> None:
        if not lr > 0:
            raise ValueError(f"{type(self).__name__}: lr is {lr}, expected above 0")
        self.lr = lr

    def update(self, trace: Tracing, names: Sequence[str], entries: Sequence[Entry], gradients: Sequence[Value]) -> None:
        """Enter the new content of every parameter, and of the optimiser's state, as updates of the trace."""
        dtype = entries[0].type.dtype if entries else None
        if dtype is None:
            return
        rate = self.state(trace, "lr", TensorType(dtype), self.lr)
        lr = trace.read(rate)
        self.begin(trace)
        for name, entry, gradient in zip(names, entries, gradients, strict=True):
            trace.update(entry, self.step(trace, name, trace.read(entry), gradient, lr))

    def begin(self, trace: Tracing) -> None:
        """What happens once a step, before the parameters."""

    def step(self, trace: Tracing, name: str, weight: Value, gradient: Value, lr: Value) -> Value:
        """The new content of one parameter."""
        raise TypeError(f"{type(self).__name__} defines no step")

    def state(self, trace: Tracing, name: str, type: TensorType, value: float = 0) -> Entry:
        """A new piece of state, named ``optimizer.<name>``."""
        data = np.full(type.static_shape(), value, type.dtype.numpy)
        entry = Parameter(data, kind="state", name=f"optimizer.{name}")
        trace.name(entry)
        return entry


def scaled(x: Value, factor: float) -> Value:
    """x times a number."""
    return b.mul(x, b.full_like(x, factor))


def spread(scalar: Value, like: Value) -> Value:
    """A scalar repeated to a value's shape, in its element type."""
    return b.broadcast_in_dim(b.cast(scalar, like.type.dtype), like.type.shape, ())


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    Equation: g = dw + weight_decay * w;  m = momentum * m + g;  w = w - lr * m, or lr * (g + momentum * m) for nesterov
    Source:   PyTorch torch.optim.SGD
    """

    def __init__(self, lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov

    def step(self, trace: Tracing, name: str, weight: Value, gradient: Value, lr: Value) -> Value:
        if self.weight_decay:
            gradient = b.add(gradient, scaled(weight, self.weight_decay))
        move = gradient
        if self.momentum:
            entry = self.state(trace, f"momentum.{name}", weight.type)
            moment = b.add(scaled(trace.read(entry), self.momentum), gradient)
            trace.update(entry, moment)
            move = b.add(gradient, scaled(moment, self.momentum)) if self.nesterov else moment
        return b.sub(weight, b.mul(spread(lr, weight), move))


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Equation: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    Numerics: the corrections 1 - b^t are computed in f64
    Source:   D. Kingma, J. Ba, Adam, 2015; PyTorch torch.optim.Adam
    """

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self._corrections: tuple[Value, Value] | None = None

    def begin(self, trace: Tracing) -> None:
        entry = self.state(trace, "step", TensorType(f64))
        count = b.add(trace.read(entry), b.full(TensorType(f64), 1))
        trace.update(entry, count)
        one = b.full(TensorType(f64), 1)
        first, second = (b.sub(one, b.pow(b.full(TensorType(f64), beta), count)) for beta in self.betas)
        self._corrections = first, b.sqrt(second)

    def step(self, trace: Tracing, name: str, weight: Value, gradient: Value, lr: Value) -> Value:
        assert self._corrections is not None, "begin runs first"
        if self.weight_decay:
            gradient = b.add(gradient, scaled(weight, self.weight_decay))
        beta1, beta2 = self.betas
        first = self.state(trace, f"mean.{name}", weight.type)
        second = self.state(trace, f"square.{name}", weight.type)
        mean = b.add(scaled(trace.read(first), beta1), scaled(gradient, 1 - beta1))
        square = b.add(scaled(trace.read(second), beta2), scaled(b.mul(gradient, gradient), 1 - beta2))
        trace.update(first, mean)
        trace.update(second, square)
        correct1, correct2 = (spread(c, weight) for c in self._corrections)
        size = b.add(b.div(b.sqrt(square), correct2), b.full_like(weight, self.eps))
        rate = b.div(spread(lr, weight), correct1)
        return b.sub(weight, b.mul(rate, b.div(mean, size)))
