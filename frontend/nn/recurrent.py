"""Recurrent layers over `scan`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.types import TensorType
from .. import functional as F
from ..scan import scan
from ..tensor import Parameter, Tensor, as_tensor
from .layers import uniform
from .module import Module

__all__ = ["RNN"]


class RNN(Module):
    """The plain recurrent layer.

    Equation: h[t] = f(w_ih x[t] + b_ih + w_hh h[t-1] + b_hh)
    Shapes:   x [T, N, in] (or [N, T, in] with batch_first), h0 [1, N, hidden] -> y [T, N, hidden], h [1, N, hidden]
    Args:     nonlinearity: "tanh" or "relu"
    Source:   PyTorch torch.nn.RNN with one layer
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'RNN: nonlinearity is "{nonlinearity}", expected "tanh" or "relu"')
        self.hidden_size, self.nonlinearity, self.batch_first = hidden_size, nonlinearity, batch_first
        bound = 1 / math.sqrt(hidden_size)
        self.weight_ih_l0 = Parameter(uniform(bound, (hidden_size, input_size), rng), name="weight_ih_l0")
        self.weight_hh_l0 = Parameter(uniform(bound, (hidden_size, hidden_size), rng), name="weight_hh_l0")
        self.bias_ih_l0 = Parameter(uniform(bound, (hidden_size,), rng), name="bias_ih_l0") if bias else None
        self.bias_hh_l0 = Parameter(uniform(bound, (hidden_size,), rng), name="bias_hh_l0") if bias else None

    def __call__(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        steps = as_tensor(x)
        if self.batch_first:
            steps = steps.transpose((1, 0, 2))
        start = TensorType(steps.dtype, (steps.shape[1], self.hidden_size))
        first = Tensor(b.full(start, 0)) if h0 is None else as_tensor(h0).reshape(start.shape)
        activation = F.tanh if self.nonlinearity == "tanh" else F.relu

        def step(h: Any, x_t: Any) -> tuple[Tensor, Tensor]:
            from_x = F.linear(x_t, self.weight_ih_l0, self.bias_ih_l0)
            after = activation(from_x + F.linear(h, self.weight_hh_l0, self.bias_hh_l0))
            return after, after

        last, y = scan(step, first, steps)
        if self.batch_first:
            y = y.transpose((1, 0, 2))
        return y, last.reshape((1, *last.shape))
