"""Recurrent layers over `scan`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.errors import NervureError
from ...ir.types import TensorType, f32
from .. import functional as F
from ..calls import called, wrong
from ..random import generator
from ..scan import scan
from ..shapes import concatenate, stack
from ..tensor import Tensor, as_tensor
from ..tracing import current
from .module import Module, uniform

__all__ = ["RNN"]


class RNN(Module):
    """The plain recurrent layer, possibly several and in both directions.

    Equation: h[t] = f(w_ih x[t] + b_ih + w_hh h[t-1] + b_hh)
    Shapes:   x [T, N, in] (or [N, T, in] with batch_first), h0 [layers * directions, N, hidden]
              -> y [T, N, directions * hidden] (or [N, T, ...]), h as h0
    Args:     nonlinearity: "tanh" or "relu"; dropout: between layers, in training; dtype, rng: as for `Linear`
    Source:   PyTorch torch.nn.RNN
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise NervureError(f'RNN: nonlinearity is "{nonlinearity}", expected "tanh" or "relu"')
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.nonlinearity, self.batch_first, self.dropout = nonlinearity, batch_first, dropout
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        bound = 1 / math.sqrt(hidden_size) if hidden_size else 0.0
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self.suffixes)
            for suffix in self.suffixes:
                tag = f"_l{layer}{suffix}"
                setattr(self, f"weight_ih{tag}", uniform(bound, (hidden_size, width), rng, dtype))
                setattr(self, f"weight_hh{tag}", uniform(bound, (hidden_size, hidden_size), rng, dtype))
                for name in ("bias_ih", "bias_hh"):
                    setattr(self, name + tag, uniform(bound, (hidden_size,), rng, dtype) if bias else None)
        self.key = F.new_key(rng or generator()) if dropout else None

    def __call__(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        steps = as_tensor(x)
        with called("RNN", x=steps, input_size=self.input_size, hidden_size=self.hidden_size):
            if steps.ndim != 3 or steps.shape[2] != self.input_size:
                axes = "[N, T, in]" if self.batch_first else "[T, N, in]"
                raise wrong("RNN", f"expected x {axes} with {self.input_size} features")
            if self.batch_first:
                steps = steps.permute(1, 0, 2)
            start = TensorType(steps.dtype, (steps.shape[1], self.hidden_size))
            starts = None if h0 is None else as_tensor(h0)
            lasts: list[Tensor] = []
            for layer in range(self.num_layers):
                if layer and self.key is not None and self.training and current().training:
                    steps = F.dropout(steps, self.dropout, training=True, key=F.split_key(self.key))
                rows: list[Tensor] = []
                for suffix in self.suffixes:
                    h = Tensor(b.full(start, 0)) if starts is None else starts[len(lasts)]
                    last, row = self._run(steps, h, f"_l{layer}{suffix}", reverse=bool(suffix))
                    lasts.append(last)
                    rows.append(row)
                steps = Tensor(concatenate([r.value for r in rows], 2))
            if self.batch_first:
                steps = steps.permute(1, 0, 2)
            return steps, Tensor(stack([h.value for h in lasts]))

    def _run(self, x: Tensor, h: Tensor, tag: str, *, reverse: bool) -> tuple[Tensor, Tensor]:
        """One layer in one direction; the input's part is one product over all steps, outside the loop."""
        weight, bias = getattr(self, f"weight_hh{tag}"), getattr(self, f"bias_hh{tag}")
        from_x = F.linear(x, getattr(self, f"weight_ih{tag}"), getattr(self, f"bias_ih{tag}"))
        activation = F.tanh if self.nonlinearity == "tanh" else F.relu

        def step(before: Tensor, at_t: Tensor) -> tuple[Tensor, Tensor]:
            after = activation(at_t + F.linear(before, weight, bias))
            return after, after

        return scan(step, h, from_x, reverse=reverse)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
