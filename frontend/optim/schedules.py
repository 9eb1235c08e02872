"""Learning rates that follow the step count: scalar functions, written into the graph of the training step.

    SGD(lr=cosine(0.1, steps=1000))
    SGD(lr=warmup(0.1, steps=100).then(cosine(0.1, steps=900)))
    SGD(lr=lambda t: 0.1 / (1 + t))

A schedule gets the number of steps made before as an f64 scalar and returns the rate; f64 counts all steps exactly
and costs nothing on scalars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.errors import NervureError
from ...ir.graph import Graph
from ...ir.interpret import evaluate_graph
from ...ir.types import f64
from ..tensor import Tensor, as_tensor
from ..tracing import Tracing, tracing

__all__ = [
    "Rate", "Schedule", "constant", "cosine", "exponential", "linear", "piecewise", "polynomial", "stepwise", "warmup",
]  # fmt: skip


class Schedule:
    """A learning rate as a function of the number of steps made before.

    Args:
        function: from an f64 scalar tensor to a scalar tensor, or a number
        steps:    how long the schedule is, where it ends; then it stays where it is
    """

    def __init__(self, function: Callable[[Tensor], Any], steps: int | None = None) -> None:
        self.function = function
        self.steps = steps

    @staticmethod
    def of(rate: object) -> Schedule:
        """A schedule, or the one that a function of the step count is.

        Raises:
            NervureError: it is neither
        """
        if isinstance(rate, Schedule):
            return rate
        if not callable(rate):
            raise NervureError(f"a learning rate is {type(rate).__name__}, expected a number or a schedule")
        return Schedule(rate)

    def __call__(self, step: Tensor) -> Tensor:
        """The rate at a step, within a graph."""
        found = as_tensor(self.function(step.astype(f64)), f64)
        if found.shape != () or not found.dtype.is_float:
            raise NervureError(f"a schedule returned {found.type}, expected a float scalar")
        return found.astype(f64)

    def at(self, step: int) -> float:
        """The rate after so many steps."""
        with tracing(Tracing()):
            rate = self(Tensor(b.constant(np.int64(step)))).value
        return float(evaluate_graph(Graph("rate", [], [rate]), [])[0][0])

    def then(self, other: object, after: int | None = None) -> Schedule:
        """This schedule, and another one from step `after` on, which counts from there.

        Args:
            other: a schedule, a number, or a function of the step count
            after: as long as this schedule is, if not given

        Raises:
            NervureError: this one has no end and `after` is not given
        """
        first = self.steps if after is None else after
        if first is None:
            raise NervureError(
                "then: the first schedule has no end", hint="say after how many steps: after=..."
            )
        _count("then", after=first)
        last = constant(float(other)) if isinstance(other, int | float) else Schedule.of(other)

        def rate(t: Tensor) -> Tensor:
            later = last((t - first).clip(0))
            return _where(t < first, self(t), later)

        return Schedule(rate, None if last.steps is None else first + last.steps)


Rate = float | Schedule | Callable[[Tensor], Any]
"""A learning rate that stays, or one that is a function of the step count."""


def constant(lr: float) -> Schedule:
    """The same rate always; unlike a plain number it cannot be changed at run time."""
    _rate("constant", lr)
    return Schedule(lambda t: lr)


def stepwise(lr: float, every: int, gamma: float = 0.1) -> Schedule:
    """lr times gamma after each `every` steps.

    Equation: lr gamma^floor(t / every)
    Source:   PyTorch torch.optim.lr_scheduler.StepLR
    """
    _rate("stepwise", lr)
    _count("stepwise", every=every)
    return Schedule(lambda t: lr * _power(gamma, Tensor(b.floor((t / every).value))))


def piecewise(lr: float, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """lr times gamma at each of some steps.

    Source: PyTorch torch.optim.lr_scheduler.MultiStepLR
    """
    _rate("piecewise", lr)

    def rate(t: Tensor) -> Any:
        found: Any = lr
        for milestone in sorted(milestones):
            found = found * _where(t < milestone, _full(1.0), _full(gamma))
        return found

    return Schedule(rate)


def exponential(lr: float, gamma: float) -> Schedule:
    """lr times gamma after each step.

    Equation: lr gamma^t
    Source:   PyTorch torch.optim.lr_scheduler.ExponentialLR
    """
    _rate("exponential", lr)
    return Schedule(lambda t: lr * _power(gamma, t))


def polynomial(lr: float, steps: int, power: float = 1.0) -> Schedule:
    """From lr to 0 within some steps.

    Equation: lr (1 - t / steps)^power, 0 from t = steps on
    Source:   PyTorch torch.optim.lr_scheduler.PolynomialLR
    """
    _rate("polynomial", lr)
    _count("polynomial", steps=steps)
    return Schedule(lambda t: lr * (1 - t.clip(max=steps) / steps) ** _full(power), steps)


def cosine(lr: float, steps: int, minimum: float = 0.0) -> Schedule:
    """From lr to the minimum within some steps, along half a cosine; then it stays.

    Equation: minimum + (lr - minimum) (1 + cos(pi t / steps)) / 2
    Source:   I. Loshchilov, F. Hutter, SGDR, 2017; PyTorch torch.optim.lr_scheduler.CosineAnnealingLR up to T_max
    """
    _rate("cosine", lr)
    _count("cosine", steps=steps)

    def rate(t: Tensor) -> Tensor:
        angle = t.clip(max=steps) * (math.pi / steps)
        return minimum + (lr - minimum) * (1 + Tensor(b.cos(angle.value))) / 2

    return Schedule(rate, steps)


def linear(first: float, last: float, steps: int) -> Schedule:
    """From one rate to another within some steps, along a line; then it stays.

    Source: PyTorch torch.optim.lr_scheduler.LinearLR
    """
    _rate("linear", first)
    _rate("linear", last)
    _count("linear", steps=steps)
    return Schedule(lambda t: first + (last - first) * (t.clip(max=steps) / steps), steps)


def warmup(lr: float, steps: int, start: float = 0.0) -> Schedule:
    """From lr times start up to lr along a line; then it stays, or ``.then(...)`` goes on."""
    return linear(lr * start, lr, steps)


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return Tensor(b.select(condition.value, x.value, y.value))


def _full(value: float) -> Tensor:
    return Tensor(b.constant(np.float64(value)))


def _power(base: float, exponent: Tensor) -> Tensor:
    return Tensor(b.pow(_full(base).value, exponent.value))


def _rate(name: str, lr: float) -> None:
    if not lr >= 0:
        raise NervureError(f"{name}: lr is {lr}, expected at least 0")


def _count(name: str, **arguments: int) -> None:
    for argument, value in arguments.items():
        if value < 1:
            raise NervureError(f"{name}: {argument} is {value}, expected at least 1")
