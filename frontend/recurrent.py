"""Recurrent layers as functions of their weights, with the operands and options of ONNX's operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.ops.cells import Gru, Lstm, Rnn
from ..ir.ops.recurrent import Recurrence
from .arguments import given, listed, number, whole
from .calls import called
from .lengths import lengths
from .tensor import Tensor

__all__ = ["gru", "lstm", "rnn"]

BLOCKS = ("remat", "truncate")
"""Options that are a number of steps, 0 for none."""


def rnn(
    input: Any,
    w: Any,
    r: Any,
    *,
    bias: Any = None,
    seq_lens: Any = None,
    h0: Any = None,
    direction: str = "forward",
    activations: Sequence[str] = (),
    alphas: Sequence[float] = (),
    betas: Sequence[float] = (),
    clip: float = 0.0,
    remat: int = 0,
    truncate: int = 0,
) -> tuple[Tensor, Tensor]:
    """The plain recurrent layer in one or both directions.

    Equation: h[t] = f(w x[t] + wb + r h[t-1] + rb)
    Shapes:  input [T, N, in], w [D, H, in], r [D, H, H], bias [D, 2 H], seq_lens integers [N], h0 [D, N, H]
             -> y [T, D, N, H], h [D, N, H]; D is 2 for both directions, else 1
    Args:    direction: "forward", "reverse" or "bidirectional"; activations: f for each direction, such as "relu", with
             alphas and betas where a function takes numbers; clip: bounds what goes into f; 0 for no bound
             remat, truncate: steps of a block whose inner values are computed again for the derivative, and of one
             that derivatives do not leave; 0 for none
    Source:  ONNX RNN-14
    """
    options = {"remat": remat, "truncate": truncate}
    y, h = _apply(
        "rnn", Rnn, input, w, r, bias, seq_lens, h0, direction, activations, alphas, betas, clip, **options
    )
    return y, h


def lstm(
    input: Any,
    w: Any,
    r: Any,
    *,
    bias: Any = None,
    seq_lens: Any = None,
    h0: Any = None,
    c0: Any = None,
    peepholes: Any = None,
    projection: Any = None,
    direction: str = "forward",
    activations: Sequence[str] = (),
    alphas: Sequence[float] = (),
    betas: Sequence[float] = (),
    clip: float = 0.0,
    gates: str = "iofg",
    input_forget: bool = False,
    remat: int = 0,
    truncate: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The long short-term memory in one or both directions.

    Shapes:  input [T, N, in], w [D, 4 H, in], r [D, 4 H, H], bias [D, 8 H], seq_lens integers [N], h0 and c0 [D, N, H],
             peepholes [D, 3 H] (input, output, forget), projection [D, S, H] to a state h of S, which r then reads
             -> y [T, D, N, H], h [D, N, H], c [D, N, H]
    Args:    gates: the order of the weights' rows: "iofg" is ONNX's, "ifgo" PyTorch's; input_forget: the forget gate is
             1 minus the input gate; activations: of gates, cell and output; the others as for `rnn`
    Source:  ONNX LSTM-14
    """
    options = {"c0": c0, "peepholes": peepholes, "projection": projection, "gates": gates}
    options |= {"input_forget": input_forget, "remat": remat, "truncate": truncate}
    y, h, c = _apply(
        "lstm", Lstm, input, w, r, bias, seq_lens, h0, direction, activations, alphas, betas, clip, **options
    )
    return y, h, c


def gru(
    input: Any,
    w: Any,
    r: Any,
    *,
    bias: Any = None,
    seq_lens: Any = None,
    h0: Any = None,
    direction: str = "forward",
    activations: Sequence[str] = (),
    alphas: Sequence[float] = (),
    betas: Sequence[float] = (),
    clip: float = 0.0,
    gates: str = "zrn",
    linear_before_reset: bool = False,
    remat: int = 0,
    truncate: int = 0,
) -> tuple[Tensor, Tensor]:
    """The gated recurrent unit in one or both directions.

    Shapes:  input [T, N, in], w [D, 3 H, in], r [D, 3 H, H], bias [D, 6 H], seq_lens integers [N], h0 [D, N, H]
             -> y [T, D, N, H], h [D, N, H]
    Args:    gates: the order of the weights' rows: "zrn" is ONNX's, "rzn" PyTorch's; linear_before_reset: the state is
             multiplied before it is reset, as PyTorch does it; activations: of gates and state; the others as for `rnn`
    Source:  ONNX GRU-14
    """
    options = {"gates": gates, "linear_before_reset": linear_before_reset}
    options |= {"remat": remat, "truncate": truncate}
    y, h = _apply(
        "gru", Gru, input, w, r, bias, seq_lens, h0, direction, activations, alphas, betas, clip, **options
    )
    return y, h


def _apply(
    name: str,
    kind: type[Recurrence],
    input: Any,
    w: Any,
    r: Any,
    bias: Any,
    seq_lens: Any,
    h0: Any,
    direction: str,
    activations: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float],
    clip: float,
    **options: Any,
) -> list[Tensor]:
    x, weights = given(name, "input", input), [given(name, n, v) for n, v in (("w", w), ("r", r))]
    tensors = {"bias": bias, "h0": h0, **{n: options.pop(n, None) for n in ("c0", "peepholes", "projection")}}
    further = {n: None if v is None else given(name, n, v) for n, v in tensors.items()}
    with called(name, input=x, w=weights[0], r=weights[1], **further, seq_lens=seq_lens):
        batch = x.shape[1] if x.ndim == 3 else None
        lens = None if seq_lens is None else lengths(name, seq_lens, x.shape[0], batch).value
        found = b.recurrent(
            kind,
            x.value,
            *(t.value for t in weights),
            lens=lens,
            **{n: None if t is None else t.value for n, t in further.items()},
            direction=direction,
            activations=listed(name, "activations", activations),
            alphas=tuple(number(name, "an alpha", a) for a in listed(name, "alphas", alphas)),
            betas=tuple(number(name, "a beta", a) for a in listed(name, "betas", betas)),
            clip=number(name, "clip", clip, 0),
            **{n: whole(name, n, v, 0, " steps") if n in BLOCKS else v for n, v in options.items()},
        )
    return [Tensor(v) for v in found]
