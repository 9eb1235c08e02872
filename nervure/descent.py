"""`nv.minimize`: descend along the gradient of a function until it cannot move, and say why it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .compiling import compile
from .frontend.optim import SGD, Optimizer
from .frontend.parameter import Parameter
from .frontend.tensor import Tensor, as_tensor
from .frontend.tracing import Tracing, tracing, user_lines
from .ir import build as b
from .ir.errors import InputError, TraceError
from .ir.graph import Graph
from .ir.program import Program
from .ir.store import Store
from .ir.types import Array, f32
from .passes.autodiff import gradients, shared

__all__ = ["Minimum", "minimize"]

Reason = Literal["gradient", "no decrease", "not finite", "steps"]


@dataclass(frozen=True)
class Minimum:
    """Where a descent stopped.

    Args:
        x:             the point; for "gradient" the last one, else the lowest that was met
        value:         the function there
        gradient_norm: the largest element of the gradient there, without its sign
        steps:         how many steps were made
        reason:        "gradient": no element of the gradient is larger than tol, a minimum, or a saddle or a plateau,
                       where descent cannot move; "no decrease": the value has not fallen for some steps; "not
                       finite": value or gradient is NaN or infinite; "steps": all steps are used up
        values:        the function at the start and after each step
    """

    x: Array
    value: float
    gradient_norm: float
    steps: int
    reason: Reason
    values: tuple[float, ...] = field(default=(), repr=False)

    @property
    def converged(self) -> bool:
        """Whether the descent stopped because it could not go on."""
        return self.reason in ("gradient", "no decrease")


def minimize(
    f: Callable[[Any], Any],
    x0: Any,
    optimizer: Optimizer | None = None,
    steps: int = 1000,
    tol: float = 1e-6,
    *,
    patience: int | None = 10,
    rtol: float = 0.0,
    backend: str = "llvm",
) -> Minimum:
    """Descend along the gradient of a scalar function until it cannot move.

    Args:
        f:         a function of one tensor; it may use parameters, which stay as they are
        x0:        where to start, a float array
        optimizer: makes the steps; gradient descent with rate 0.1 if not given
        steps:     at most so many
        tol:       stop where no element of the gradient is larger than this
        patience:  stop after so many steps without a lower value; None never does
        rtol:      a value counts as lower if it is by more than this share of the lowest so far
        backend:   that of `nv.compile`

    Raises:
        InputError: x0 is no float array, or a number is out of range
        TraceError: f returns no float scalar
    """
    start = np.asarray(x0)
    if start.dtype.kind != "f" and start.dtype.name != "bfloat16":
        raise InputError(f"minimize: x0 is {start.dtype}, expected a float array", hint="write 1.0 for 1")
    if steps < 0 or not tol >= 0 or not rtol >= 0 or (patience is not None and patience < 1):
        raise InputError(
            f"minimize: steps is {steps}, tol {tol}, rtol {rtol} and patience {patience}, "
            "expected at least 0, 0, 0 and 1"
        )
    point = Parameter(start, name="x")
    step = compile(_program(f, point, optimizer if optimizer is not None else SGD(0.1)), backend=backend)
    values: list[float] = []
    lowest: tuple[float, Array, float] | None = None
    since = 0
    for count in range(steps + 1):
        here = point.data.copy()
        value, norm = (float(v) for v in step())
        values.append(value)
        if not (math.isfinite(value) and math.isfinite(norm)):
            return _stopped("not finite", lowest or (value, here, norm), count, values)
        if lowest is None or value < lowest[0] - rtol * abs(lowest[0]):
            lowest, since = (value, here, norm), 0
        else:
            since += 1
        if norm <= tol:
            return _stopped("gradient", (value, here, norm), count, values)
        if patience is not None and since >= patience:
            return _stopped("no decrease", lowest, count, values)
    assert lowest is not None
    return _stopped("steps", lowest, steps, values)


def _stopped(reason: Reason, at: tuple[float, Array, float], steps: int, values: list[float]) -> Minimum:
    value, x, norm = at
    return Minimum(x, value, norm, steps, reason, tuple(values))


def _program(f: Callable[[Any], Any], point: Parameter, optimizer: Optimizer) -> Program:
    """One step: it returns the value and the gradient's size at the point, and moves it."""
    state = Tracing(names={point: "x"}, training=True)
    with tracing(state):
        x = Tensor(point.value)
        cost = as_tensor(f(x))
        if cost.shape != () or not cost.dtype.is_float:
            raise TraceError(
                f"minimize: the function returns {cost.type}, expected a float scalar",
                where=user_lines(),
                hint="use .mean() or .sum()",
            )
        (slope,) = gradients(cost.value, [x.value])
        gradient = Tensor(b.full_like(x.value, 0) if slope is None else slope)
        kept = optimizer.init_state({"x": point})
        reads = {name: Tensor(state.read(entry)) for name, entry in kept.items()}
        moved, after = optimizer.update({"x": x}, {"x": gradient}, reads)
        state.update(point, moved["x"].value)
        for name, content in after.items():
            state.update(kept[name], content.value)
        size = abs(gradient).max() if gradient.type.nbytes else Tensor(b.constant(0.0, f32))
        outputs = [cost.value, size.value]
    graph = shared(Graph("step", [], outputs, [(state.name(e), v) for e, v in state.updates.items()]))
    return Program("minimize_step", [graph], Store(state.entries))
