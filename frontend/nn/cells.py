"""Recurrent cells, one step at a time, and the classical network of U, V and W."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ...ir import build as b
from ...ir.ops.cells import Gru, Lstm, Rnn
from ...ir.ops.recurrent import Operands, Recurrence
from ...ir.types import TensorType, f32
from .. import functional as F
from ..arguments import given, whole
from ..calls import called, wrong
from ..tensor import Tensor, as_tensor
from .module import Module, uniform
from .recurrent import check_nonlinearity, pair, shifted

__all__ = ["ElmanRNN", "GRUCell", "LSTMCell", "RNNCell"]


class Cell(Module):
    """What the cells have in common: from an input [N, in] and a state [N, hidden] to the next; N may be left out."""

    kind: ClassVar[type[Recurrence]]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, dtype: Any, rng: np.random.Generator | None
    ) -> None:
        name = type(self).__name__
        input_size = whole(name, "input_size", input_size, 0)
        hidden_size = whole(name, "hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        rows, bound = len(self.kind.orders[0]) * hidden_size, 1 / math.sqrt(hidden_size)
        self.weight_ih = uniform(bound, (rows, input_size), rng, dtype, of=type(self).__name__)
        self.weight_hh = uniform(bound, (rows, hidden_size), rng, dtype, of=type(self).__name__)
        self.bias_ih = uniform(bound, (rows,), rng, dtype, of=type(self).__name__) if bias else None
        self.bias_hh = uniform(bound, (rows,), rng, dtype, of=type(self).__name__) if bias else None

    def _op(self) -> Recurrence:
        raise NotImplementedError

    def _zeros(self, x: Tensor) -> Tensor:
        shape = (self.hidden_size,) if x.ndim == 1 else (x.shape[0], self.hidden_size)
        return Tensor(b.full(TensorType(x.dtype, shape), 0))

    def _advance(self, x: Any, states: list[Any]) -> list[Tensor]:
        name = type(self).__name__
        row = given(name, "x", x)
        with called(name, x=row, input_size=self.input_size, hidden_size=self.hidden_size):
            if row.ndim not in (1, 2) or row.shape[-1] != self.input_size:
                raise wrong(name, f"expected x [N, in] with {self.input_size} features")
            pairs = zip("hc", states, strict=False)
            before = [self._zeros(row) if s is None else given(name, what, s) for what, s in pairs]
            for what, s in zip("hc", before, strict=False):
                expected = self._zeros(row).type
                if s.type != expected:
                    raise wrong(name, f"{what} is {s.type}, expected {expected}")
            single = row.ndim == 1
            rows = [t.reshape(1, t.shape[0]) if single else t for t in (row, *before)]
            bias = None
            if self.bias_ih is not None and self.bias_hh is not None:
                bias = b.concat([as_tensor(self.bias_ih).value, as_tensor(self.bias_hh).value], 0)
            weights = (as_tensor(self.weight_ih).value, as_tensor(self.weight_hh).value)
            found = self._op().one_step(Operands(rows[0].value, *weights, bias), [r.value for r in rows[1:]])
            after = [Tensor(v) for v in found]
            return [t.reshape(t.shape[1]) for t in after] if single else after

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(Cell):
    """One step of the plain recurrent layer; see `RNN`.

    Shapes:   x [N, in], h [N, hidden] -> [N, hidden]
    Source:   PyTorch torch.nn.RNNCell
    """

    kind = Rnn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_nonlinearity("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype, rng)

    def _op(self) -> Recurrence:
        return Rnn(activations=(self.nonlinearity,))

    def initial_state(self, x: Any) -> Tensor:
        """The state before the first step: zeros."""
        return self._zeros(as_tensor(x))

    def __call__(self, x: Any, h: Any = None) -> Tensor:
        return self._advance(x, [h])[0]


class LSTMCell(Cell):
    """One step of the long short-term memory; see `LSTM`.

    Shapes:   x [N, in], a pair of h and c [N, hidden] -> a pair of the same
    Args:     forget_bias: added to the forget gate's bias at first
    Source:   PyTorch torch.nn.LSTMCell
    """

    kind = Lstm

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float = 0.0,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, rng)
        shifted("LSTMCell", self.bias_ih, self.hidden_size, forget_bias)

    def _op(self) -> Recurrence:
        return Lstm(gates="ifgo")

    def initial_state(self, x: Any) -> tuple[Tensor, Tensor]:
        """The state before the first step: zeros."""
        return self._zeros(as_tensor(x)), self._zeros(as_tensor(x))

    def __call__(self, x: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        h, c = self._advance(x, list(pair("LSTMCell", state)))
        return h, c


class GRUCell(Cell):
    """One step of the gated recurrent unit; see `GRU`.

    Shapes:   x [N, in], h [N, hidden] -> [N, hidden]
    Source:   PyTorch torch.nn.GRUCell
    """

    kind = Gru

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.reset_after = reset_after
        super().__init__(input_size, hidden_size, bias, dtype, rng)

    def _op(self) -> Recurrence:
        return Gru(gates="rzn", linear_before_reset=self.reset_after)

    def initial_state(self, x: Any) -> Tensor:
        """The state before the first step: zeros."""
        return self._zeros(as_tensor(x))

    def __call__(self, x: Any, h: Any = None) -> Tensor:
        return self._advance(x, [h])[0]


class ElmanRNN(Module):
    """The classical recurrent network with matrices U, V and W: a state, and an output of its own at each step.

    Equation: s[t] = f(U x[t] + W s[t-1] + b)    o[t] = V s[t] + c
    Shapes:   x [T, N, in], s0 [N, hidden], seq_lens [N] -> o [T, N, out], s [N, hidden]
    Args:     nonlinearity: f, "tanh", "relu" or "sigmoid"; bias: whether there are b and c
    Source:   J. Elman, Finding structure in time, 1990; I. Goodfellow et al., Deep Learning, section 10.2
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_nonlinearity("ElmanRNN", nonlinearity)
        self.nonlinearity = nonlinearity
        input_size = whole("ElmanRNN", "input_size", input_size, 0)
        hidden_size = whole("ElmanRNN", "hidden_size", hidden_size)
        output_size = whole("ElmanRNN", "output_size", output_size)
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, output_size
        bound = 1 / math.sqrt(hidden_size)
        self.U = uniform(bound, (hidden_size, input_size), rng, dtype, of=type(self).__name__)
        self.W = uniform(bound, (hidden_size, hidden_size), rng, dtype, of=type(self).__name__)
        self.V = uniform(bound, (output_size, hidden_size), rng, dtype, of=type(self).__name__)
        self.b = uniform(bound, (hidden_size,), rng, dtype, of=type(self).__name__) if bias else None
        self.c = uniform(bound, (output_size,), rng, dtype, of=type(self).__name__) if bias else None

    def __call__(self, x: Any, s0: Any = None, seq_lens: Any = None) -> tuple[Tensor, Tensor]:
        steps = given("ElmanRNN", "x", x)
        start = None if s0 is None else given("ElmanRNN", "s0", s0)
        with called("ElmanRNN", x=steps, s0=start, input_size=self.input_size, hidden_size=self.hidden_size):
            if steps.ndim != 3 or steps.shape[2] != self.input_size:
                raise wrong("ElmanRNN", f"expected x [T, N, in] with {self.input_size} features")
            bias = None
            if self.b is not None:
                own = as_tensor(self.b).value
                bias = Tensor(b.reshape(b.concat([own, b.full_like(own, 0)], 0), (1, 2 * self.hidden_size)))
            first = steps.type.with_shape((steps.shape[1], self.hidden_size))
            if start is not None and start.type != first:
                raise wrong("ElmanRNN", f"s0 is {start.type}, expected {first}")
            states, last = F.rnn(
                steps,
                as_tensor(self.U).reshape(1, self.hidden_size, self.input_size),
                as_tensor(self.W).reshape(1, self.hidden_size, self.hidden_size),
                bias=bias,
                seq_lens=seq_lens,
                h0=None if start is None else start.reshape(1, *start.shape),
                activations=(self.nonlinearity,),
            )
            return F.linear(states[:, 0], self.V, self.c), last[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.output_size}"
