"""The float64 reference of a training row: the losses of the first steps, and how far they move the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .nets import Net
from .peers.torch_net import forward
from .workloads import MOMENTUM, STEPS

Array = np.ndarray[Any, Any]

__all__ = ["train"]


def train(net: Net, weights: Mapping[str, Array], x: Array, labels: Array, rate: float) -> dict[str, Array]:
    """``losses`` and, by name, the change of every weight; by PyTorch's autograd in double precision."""
    import torch

    params = {name: torch.tensor(w, dtype=torch.float64, requires_grad=True) for name, w in weights.items()}
    descent = torch.optim.SGD(params.values(), lr=rate, momentum=MOMENTUM)
    given, wanted = torch.tensor(x, dtype=torch.float64), torch.tensor(labels).flatten()
    losses: list[float] = []
    for _ in range(STEPS):
        descent.zero_grad()
        y = forward(net, params, given)
        loss = torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), wanted)
        loss.backward()
        descent.step()
        losses.append(loss.item())
    changes = {name: p.detach().numpy() - weights[name] for name, p in params.items()}
    return {"losses": np.array(losses), **changes}
