"""PyTorch eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..contest import Built
from ..workloads import MOMENTUM, Case
from .torch_net import Module, forward

__all__ = ["build", "trained"]


def build(case: Case, threads: int) -> Built:
    torch.set_num_threads(threads)
    if case.workload.training:
        return trained(case, lambda f: f)
    module = Module(case).eval()
    x = torch.from_numpy(case.x)

    def call() -> Any:
        with torch.inference_mode():
            return module(x)

    return Built(call, lambda y: y.numpy())


def trained(case: Case, compiled: Callable[[Any], Any]) -> Built:
    """A step with torch.optim's SGD; `compiled` wraps forward and loss."""
    module = Module(case)
    names = {name.replace(".", "_"): name for name in case.weights}
    descent = torch.optim.SGD(module.parameters(), lr=case.workload.rate, momentum=MOMENTUM, foreach=False)
    x, labels = torch.from_numpy(case.x), torch.from_numpy(case.labels).flatten()

    def cost(given: Any, wanted: Any) -> Any:
        weights = {names[short]: w for short, w in module.held.items()}
        y = forward(module.net, weights, given)
        return torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), wanted)

    run = compiled(cost)

    def step() -> Any:
        descent.zero_grad()
        loss = run(x, labels)
        loss.backward()
        descent.step()
        return loss

    def state() -> dict[str, Any]:
        return {names[short]: w.detach().numpy().copy() for short, w in module.held.items()}

    return Built(step, lambda loss: loss.item(), state)
