"""A net as a function of torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from ..nets import Net, Step
from ..workloads import Case

__all__ = ["Module", "forward"]


def forward(net: Net, weights: Mapping[str, Any], x: Any) -> Any:
    values = {"x": x}
    for step in net.steps:
        given = [values[name] for name in step.args] + [weights[name] for name in step.weights]
        values[step.out] = OPS[step.op](step, *given)
    return values[net.steps[-1].out]


def _conv(step: Step, x: Any, w: Any, b: Any) -> Any:
    return F.conv2d(
        x, w, b, stride=step.attrs["stride"], padding=step.attrs["pad"], groups=step.attrs["groups"]
    )


def _recurrent(step: Step, x: Any, *weights: Any) -> Any:
    start = x.new_zeros(1, x.shape[1], step.shape[-1])
    if step.op == "rnn":
        return torch.rnn_tanh(x, start, list(weights), True, 1, 0.0, False, False, False)[0]
    return torch.lstm(x, (start, start), list(weights), True, 1, 0.0, False, False, False)[0]


OPS: dict[str, Callable[..., Any]] = {
    "linear": lambda step, x, w, b: F.linear(x, w, b),
    "matmul": lambda step, x, w: x @ w,
    "conv": _conv,
    "relu": lambda step, x: F.relu(x),
    "relu6": lambda step, x: F.relu6(x),
    "add": lambda step, x, y: x + y,
    "softmax": lambda step, x: F.softmax(x, -1),
    "max_pool": lambda step, x: F.max_pool2d(
        x, step.attrs["kernel"], step.attrs["stride"], step.attrs["pad"]
    ),
    "mean": lambda step, x: x.mean((2, 3)),
    "flatten": lambda step, x: x.flatten(1),
    "rnn": _recurrent,
    "lstm": _recurrent,
}


class Module(torch.nn.Module):
    """A net with its weights as parameters."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.net = case.net
        self.held = torch.nn.ParameterDict(
            {name.replace(".", "_"): torch.from_numpy(w.copy()) for name, w in case.weights.items()}
        )

    def forward(self, x: Any) -> Any:
        return forward(self.net, {name: self.held[name.replace(".", "_")] for name in self.net.weights}, x)
