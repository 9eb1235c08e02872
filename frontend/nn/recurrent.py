"""Recurrent layers: PyTorch's names, arguments, gate order and weight layouts, over the composites of the IR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np

from ...ir import build as b
from ...ir.errors import NervureError
from ...ir.graph import Value
from ...ir.ops.cells import Gru, Lstm, Rnn
from ...ir.ops.recurrent import Recurrence
from ...ir.types import f32
from .. import functional as F
from ..arguments import given, number, steps_of_a_block, whole
from ..calls import called, wrong
from ..lengths import lengths
from ..parameter import Parameter
from ..random import generator
from ..scan_forms import blocks_of
from ..tensor import Tensor, as_tensor
from ..tracing import current, user_lines
from .module import Module, uniform

__all__ = ["GRU", "LSTM", "RNN", "check_nonlinearity", "pair", "shifted"]

NONLINEARITIES = ("tanh", "relu", "sigmoid")


class Recurrent(Module):
    """What RNN, LSTM and GRU have in common: layers over layers, in one or both directions.

    Shapes of calls: x [T, N, in], or [N, T, in] with batch_first, or [T, in] for one sequence; states
    [layers * directions, N, H], or without N for one sequence; seq_lens integers [N].
    """

    kind: ClassVar[type[Recurrence]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
        rng: np.random.Generator | None,
        *,
        proj_size: int = 0,
        peepholes: bool = False,
        remat: int | bool = False,
        truncate: int | None = None,
    ) -> None:
        name = type(self).__name__
        remat = steps_of_a_block(name, remat)
        if truncate is not None:
            truncate = whole(name, "truncate", truncate, rest=" step, or None")
        self.remat, self.truncate = remat, truncate
        input_size = whole(name, "input_size", input_size, 0)
        hidden_size = whole(name, "hidden_size", hidden_size)
        num_layers = whole(name, "num_layers", num_layers)
        dropout = number(name, "dropout", dropout, 0, 1)
        proj_size = whole(name, "proj_size", proj_size, 0)
        if proj_size >= hidden_size:
            raise NervureError(
                f"{name}: proj_size is {proj_size}, expected less than hidden_size, {hidden_size}",
                where=user_lines(),
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.proj_size = batch_first, dropout, proj_size
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        state, rows = proj_size or hidden_size, len(self.kind.orders[0]) * hidden_size
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            width = input_size if layer == 0 else state * len(self.suffixes)
            shapes: dict[str, tuple[int, ...] | None] = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, state),
                "bias_ih": (rows,) if bias else None,
                "bias_hh": (rows,) if bias else None,
                "weight_hr": (proj_size, hidden_size) if proj_size else None,
                "peephole": (3 * hidden_size,) if peepholes else None,
            }
            for suffix in self.suffixes:
                for name, shape in shapes.items():
                    made = (
                        None if shape is None else uniform(bound, shape, rng, dtype, of=type(self).__name__)
                    )
                    setattr(self, f"{name}_l{layer}{suffix}", made)
        self.key = F.new_key(rng or generator()) if dropout else None

    def _options(self) -> dict[str, Any]:
        """The attributes of the composite."""
        return {}

    def _run(self, x: Any, states: list[Any], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """The results of the last layer at all steps, and the last states of all layers."""
        name = type(self).__name__
        steps = given(name, "x", x)
        pairs = zip(("h0", "c0"), states, strict=False)
        first_states = {n: None if s is None else given(name, n, s) for n, s in pairs}
        with called(name, x=steps, **first_states, input_size=self.input_size, hidden_size=self.hidden_size):
            single = steps.ndim == 2
            if steps.ndim not in (2, 3) or steps.shape[-1] != self.input_size:
                axes = "[N, T, in]" if self.batch_first else "[T, N, in]"
                raise wrong(name, f"expected x {axes} with {self.input_size} features")
            if single:
                steps = steps.reshape(steps.shape[0], 1, self.input_size)
            elif self.batch_first:
                steps = steps.permute(1, 0, 2)
            batch = steps.shape[1]
            starts = {n: self._start(n, t, batch, single) for n, t in first_states.items() if t is not None}
            lens = None if seq_lens is None else lengths(name, seq_lens, steps.shape[0], batch).value
            lasts: list[list[Value]] = []
            for layer in range(self.num_layers):
                if layer and self.key is not None and self.training and current().training:
                    steps = F.dropout(steps, self.dropout, training=True, key=F.split_key(self.key))
                y, *last = self._layer(steps.value, layer, starts, lens)
                lasts.append(last)
                width = y.type.shape[1] * y.type.shape[3]
                first = layer == self.num_layers - 1 and self.batch_first and not single
                y = b.permute(y, (2, 0, 1, 3) if first else (0, 2, 1, 3))
                steps = Tensor(b.reshape(y, (*y.type.shape[:2], width)))
            found = [Tensor(b.concat(parts, 0)) for parts in zip(*lasts, strict=True)]
            if single:
                return steps.reshape(steps.shape[0], steps.shape[2]), [s[:, 0] for s in found]
            return steps, found

    def _start(self, name: str, state: Tensor, batch: Any, single: bool) -> Tensor:
        """A first state [layers * directions, N, H], checked."""
        width = self.hidden_size if name == "c0" or not self.proj_size else self.proj_size
        rows = self.num_layers * len(self.suffixes)
        expected = (rows, width) if single else (rows, batch, width)
        if state.shape != expected:
            text = state.type.with_shape(expected)
            raise wrong(type(self).__name__, f"{name} is {state.type}, expected {text}")
        return state.reshape(rows, batch, width)

    def _layer(
        self, x: Value, layer: int, starts: dict[str, Tensor], lens: Value | None
    ) -> tuple[Value, ...]:
        count = len(self.suffixes)
        rows = {n: t[layer * count : (layer + 1) * count].value for n, t in starts.items()}
        weights = {
            "bias": self._stacked(layer, "bias_ih", "bias_hh"),
            "peepholes": self._stacked(layer, "peephole"),
            "projection": self._stacked(layer, "weight_hr"),
        }
        w, r = self._stacked(layer, "weight_ih"), self._stacked(layer, "weight_hh")
        assert w is not None and r is not None
        direction = "bidirectional" if count == 2 else "forward"
        options = self._options()
        if self.remat:
            options["remat"] = blocks_of(self.remat, x.type.shape[0])
        if self.truncate is not None:
            options["truncate"] = self.truncate
        return b.recurrent(self.kind, x, w, r, lens=lens, **rows, **weights, direction=direction, **options)

    def _stacked(self, layer: int, *names: str) -> Value | None:
        """Weights of both directions on a new axis 0, several of one direction behind each other; None if not there."""
        rows: list[Value] = []
        for suffix in self.suffixes:
            found = [getattr(self, f"{name}_l{layer}{suffix}") for name in names]
            if any(weight is None for weight in found):
                return None
            row = b.concat([as_tensor(weight).value for weight in found], 0)
            rows.append(b.reshape(row, (1, *row.type.shape)))
        return b.concat(rows, 0)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        parts += ["bidirectional=True"] if len(self.suffixes) == 2 else []
        parts += [f"remat={self.remat}"] if self.remat else []
        parts += [f"truncate={self.truncate}"] if self.truncate is not None else []
        return ", ".join(parts)


class RNN(Recurrent):
    """The plain recurrent layer, possibly several and in both directions.

    Equation: h[t] = f(w_ih x[t] + b_ih + w_hh h[t-1] + b_hh)
    Shapes:   x [T, N, in] (or [N, T, in] with batch_first), h0 [layers * directions, N, hidden], seq_lens [N]
              -> y [T, N, directions * hidden] (or [N, T, ...]), h as h0
    Args:     nonlinearity: "tanh", "relu" or "sigmoid"; dropout: between layers, in training; dtype, rng: as for
              `Linear`. In calls: seq_lens: how many steps of each sequence count; behind them y is 0
              remat: for the derivative, keep the states of every so many steps alone and compute the steps between again;
              True takes the root of the length, with memory that grows as that root; truncate: derivatives do not pass from
              a block of so many steps to the one before
    Source:   PyTorch torch.nn.RNN
    """

    kind = Rnn

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
        remat: int | bool = False,
        truncate: int | None = None,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_nonlinearity("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, rng,
            remat=remat, truncate=truncate,
        )  # fmt: skip

    def _options(self) -> dict[str, Any]:
        return {} if self.nonlinearity == "tanh" else {"activations": (self.nonlinearity,)}

    def __call__(self, x: Any, h0: Any = None, seq_lens: Any = None) -> tuple[Tensor, Tensor]:
        y, (h,) = self._run(x, [h0], seq_lens)
        return y, h


class LSTM(Recurrent):
    """Long short-term memory, possibly several layers and in both directions.

    Equation: i, f, o = sigmoid(w_ih x + b_ih + w_hh h + b_hh), g = tanh(...); c' = f c + i g; h' = o tanh(c')
    Shapes:   x [T, N, in] (or [N, T, in] with batch_first), h0 and c0 [layers * directions, N, hidden], seq_lens [N]
              -> y [T, N, directions * hidden] (or [N, T, ...]), (h, c) as h0 and c0; with proj_size h is as wide as that
    Args:     proj_size: the state h is a product of so many numbers, 0 for none; peepholes: gates see the memory too,
              by a vector ``peephole_l0`` [3 hidden] (input, output, forget) for each layer; clip: bounds what goes into
              the gates, 0 for no bound; forget_bias: added to the forget gate's bias at first; dropout: between layers,
              in training; remat, truncate: as for `RNN`; dtype, rng: as for `Linear`. In calls: seq_lens: how many
              steps of each sequence count
    Source:   PyTorch torch.nn.LSTM; peepholes: F. Gers et al., JMLR 3, 2002
    """

    kind = Lstm

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peepholes: bool = False,
        clip: float = 0.0,
        forget_bias: float = 0.0,
        remat: int | bool = False,
        truncate: int | None = None,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, rng,
            proj_size=proj_size, peepholes=peepholes, remat=remat, truncate=truncate,
        )  # fmt: skip
        self.clip = number("LSTM", "clip", clip, 0)
        for layer in range(self.num_layers):
            for suffix in self.suffixes:
                shifted("LSTM", getattr(self, f"bias_ih_l{layer}{suffix}"), hidden_size, forget_bias)

    def _options(self) -> dict[str, Any]:
        return {"gates": "ifgo", "clip": self.clip}

    def __call__(
        self, x: Any, state: Any = None, seq_lens: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h0, c0 = pair("LSTM", state)
        y, (h, c) = self._run(x, [h0, c0], seq_lens)
        return y, (h, c)


class GRU(Recurrent):
    """Gated recurrent units, possibly several layers and in both directions.

    Equation: r, z = sigmoid(w_ih x + b_ih + w_hh h + b_hh); n = tanh(w_in x + b_in + r (w_hn h + b_hn));
              h' = (1 - z) n + z h. With reset_after=False n = tanh(w_in x + b_in + w_hn (r h) + b_hn)
    Shapes:   as of `RNN`
    Args:     reset_after: whether the state is multiplied before it is reset, as PyTorch does it, or after it, as the
              paper does; dropout: between layers, in training; remat, truncate: as for `RNN`; dtype, rng: as for
              `Linear`
    Source:   PyTorch torch.nn.GRU; K. Cho et al., 2014
    """

    kind = Gru

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        remat: int | bool = False,
        truncate: int | None = None,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, rng,
            remat=remat, truncate=truncate,
        )  # fmt: skip

    def _options(self) -> dict[str, Any]:
        return {"gates": "rzn", "linear_before_reset": self.reset_after}

    def __call__(self, x: Any, h0: Any = None, seq_lens: Any = None) -> tuple[Tensor, Tensor]:
        y, (h,) = self._run(x, [h0], seq_lens)
        return y, h


def pair(name: str, state: Any) -> tuple[Any, Any]:
    """The two parts of an LSTM's state; both None where there is none."""
    if state is None:
        return None, None
    parts = tuple(cast("Sequence[Any]", state)) if isinstance(state, tuple | list) else ()
    if len(parts) != 2:
        raise wrong(name, "the state is no pair (h, c)")
    return parts[0], parts[1]


def shifted(name: str, bias: Parameter | None, hidden: int, by: float) -> None:
    """Add to the forget gate's part of an LSTM's bias.

    Raises:
        NervureError: there is no bias, or `by` is no number
    """
    by = number(name, "forget_bias", by)
    if by and bias is None:
        raise NervureError(f"{name}: there is no bias that forget_bias could be added to", where=user_lines())
    if by and bias is not None:
        data = np.array(bias.data)
        data[hidden : 2 * hidden] += by
        bias.assign(data)


def check_nonlinearity(name: str, nonlinearity: str) -> None:
    if nonlinearity not in NONLINEARITIES:
        expected = '", "'.join(NONLINEARITIES)
        raise NervureError(
            f'{name}: nonlinearity is "{nonlinearity}", expected one of "{expected}"', where=user_lines()
        )
