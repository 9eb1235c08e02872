"""nervure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nervure as nv
from nervure import nn, optim
from nervure.frontend import functional as F
from nervure.frontend.parameter import Parameter
from nervure.ir.errors import NervureError

from ..contest import Absent, Built
from ..nets import Step
from ..workloads import MOMENTUM, Case

# what it imports on first use, and LLVM's start where nothing is cached yet, belong to the import, as they do at the peers
nv.compile(lambda x: x, "f32[1]")
LAZY = nv.training_step, nv.trace


class Model(nn.Module):
    """A net of the benchmark."""

    def __init__(self, case: Case) -> None:
        self.steps = case.net.steps
        within: dict[str, Any] = {}
        for step in self.steps:
            if step.op in ("rnn", "lstm"):
                layer = recurrent(step, case)
                setattr(self, f"{step.out}_layer", layer)
                within |= dict.fromkeys(step.weights, layer)
        for name, array in case.each_weight():
            if name in within:
                getattr(within[name], f"{name.split('.')[1]}_l0").assign(array)
            else:
                setattr(self, name.replace(".", "_"), Parameter(array))

    def __call__(self, x: Any) -> Any:
        values = {"x": x}
        for step in self.steps:
            given = [values[name] for name in step.args]
            if step.op in ("rnn", "lstm"):
                values[step.out] = getattr(self, f"{step.out}_layer")(*given)[0]
                continue
            weights = [getattr(self, name.replace(".", "_")) for name in step.weights]
            values[step.out] = OPS[step.op](step, *given, *weights)
        return values[self.steps[-1].out]


def recurrent(step: Step, case: Case) -> Any:
    kind = getattr(nn, step.op.upper(), None)
    if kind is None:
        raise Absent(f"nervure has no nn.{step.op.upper()}")
    return kind(case.net.shapes[step.args[0]][-1], step.shape[-1])


OPS: dict[str, Callable[..., Any]] = {
    "linear": lambda step, x, w, b: F.linear(x, w, b),
    "matmul": lambda step, x, w: x @ w,
    "conv": lambda step, x, w, b: F.conv2d(
        x, w, b, stride=step.attrs["stride"], padding=step.attrs["pad"], groups=step.attrs["groups"]
    ),
    "relu": lambda step, x: F.relu(x),
    "relu6": lambda step, x: F.relu6(x),
    "add": lambda step, x, y: x + y,
    "softmax": lambda step, x: F.softmax(x, -1),
    "max_pool": lambda step, x: F.max_pool2d(
        x, step.attrs["kernel"], step.attrs["stride"], step.attrs["pad"]
    ),
    "mean": lambda step, x: x.mean((2, 3)),
    "flatten": lambda step, x: F.flatten(x),
}


def spec(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"


def build(case: Case, threads: int) -> Built:
    options = {"threads": threads}
    model = Model(case)
    x, net = case.x, case.net
    try:
        if case.workload.training:
            rows = net.steps[-1].shape[:-1]
            program = nv.training_step(
                model,
                loss,
                optim.SGD(lr=case.workload.rate, momentum=MOMENTUM),
                spec("f32", net.input),
                spec("i64", rows),
            )
            step, labels = nv.compile(program, **options), case.labels
            return Built(lambda: step(x, labels), float, lambda: state(model, case))
        run = nv.compile(model, spec("f32", net.input), **options)
    except NervureError as error:
        raise Absent(f"nervure: {error}".splitlines()[0]) from None
    return Built(lambda: run(x))


def loss(y: Any, labels: Any) -> Any:
    """Over the last axis, whatever stands before it."""
    if len(y.shape) > 2:
        y, labels = F.flatten(y, 0, -2), F.flatten(labels, 0, -1)
    return F.cross_entropy(y, labels)


def state(model: Model, case: Case) -> dict[str, Any]:
    found: dict[str, Any] = {}
    recurrent = {name: step for step in case.net.steps if step.op in ("rnn", "lstm") for name in step.weights}
    for name in case.weights:
        if name in recurrent:
            layer = getattr(model, f"{recurrent[name].out}_layer")
            found[name] = getattr(layer, f"{name.split('.')[1]}_l0").data.copy()
        else:
            found[name] = getattr(model, name.replace(".", "_")).data.copy()
    return found
