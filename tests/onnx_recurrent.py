"""RNN, LSTM and GRU in float64 numpy, from the text of ONNX's operators alone: one sequence at a time, no masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FUNCTIONS: dict[str, Callable[[Any, float, float], Any]] = {
    "relu": lambda x, a, b: np.maximum(0, x),
    "tanh": lambda x, a, b: (1 - np.exp(-2 * x)) / (1 + np.exp(-2 * x)),
    "sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "affine": lambda x, a, b: a * x + b,
    "leaky_relu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "thresholded_relu": lambda x, a, b: np.where(x >= a, x, 0),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "hard_sigmoid": lambda x, a, b: np.minimum(np.maximum(a * x + b, 0), 1),
    "elu": lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1)),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.logaddexp(0, x),
}


def oracle(
    kind: str,
    x: Any,
    w: Any,
    r: Any,
    bias: Any = None,
    lens: Any = None,
    h0: Any = None,
    c0: Any = None,
    peepholes: Any = None,
    *,
    direction: str = "forward",
    activations: list[tuple[str, float, float]],
    clip: float = 0.0,
    linear_before_reset: bool = False,
    input_forget: bool = False,
) -> list[Any]:
    """Y, Y_h and, for an LSTM, Y_c.

    Args:
        activations: name, alpha and beta of each, for all directions
    """
    steps, batch, _ = x.shape
    count, hidden = r.shape[0], r.shape[2]
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    y = np.zeros((steps, count, batch, hidden))
    y_h, y_c = np.zeros((count, batch, hidden)), np.zeros((count, batch, hidden))
    per = len(activations) // count
    for d in range(count):
        acts = [
            lambda v, f=f, a=a, b=b: FUNCTIONS[f](v, a, b) for f, a, b in activations[d * per : d * per + per]
        ]
        bounded = [lambda v, f=f: f(np.clip(v, -clip, clip)) if clip else f(v) for f in acts]
        zeros = np.zeros(2 * w.shape[1])
        wb, rb = np.split(zeros if bias is None else bias[d], 2)
        for n in range(batch):
            length = steps if lens is None else lens[n]
            h = np.zeros(hidden) if h0 is None else h0[d, n]
            c = np.zeros(hidden) if c0 is None else c0[d, n]
            order = range(length)[::-1] if backward[d] else range(length)
            for t in order:
                if kind == "rnn":
                    h = bounded[0](w[d] @ x[t, n] + r[d] @ h + wb + rb)
                elif kind == "gru":
                    h = _gru(x[t, n], h, w[d], r[d], wb, rb, bounded, linear_before_reset)
                else:
                    seen = np.zeros(3 * hidden) if peepholes is None else peepholes[d]
                    h, c = _lstm(x[t, n], h, c, w[d], r[d], wb + rb, seen, bounded, acts[2], input_forget)
                y[t, d, n] = h
            y_h[d, n], y_c[d, n] = h, c
    return [y, y_h, y_c] if kind == "lstm" else [y, y_h]


def _gru(x: Any, h: Any, w: Any, r: Any, wb: Any, rb: Any, acts: Any, before: bool) -> Any:
    (wz, wr, wh), (rz, rr, rh) = np.split(w, 3), np.split(r, 3)
    (wbz, wbr, wbh), (rbz, rbr, rbh) = np.split(wb, 3), np.split(rb, 3)
    z = acts[0](wz @ x + rz @ h + wbz + rbz)
    reset = acts[0](wr @ x + rr @ h + wbr + rbr)
    inner = reset * (rh @ h + rbh) if before else rh @ (reset * h) + rbh
    return (1 - z) * acts[1](wh @ x + inner + wbh) + z * h


def _lstm(
    x: Any, h: Any, c: Any, w: Any, r: Any, b: Any, seen: Any, acts: Any, last: Any, coupled: bool
) -> tuple[Any, Any]:
    (wi, wo, wf, wc), (ri, ro, rf, rc), (bi, bo, bf, bc) = np.split(w, 4), np.split(r, 4), np.split(b, 4)
    pi, po, pf = np.split(seen, 3)
    i = acts[0](wi @ x + ri @ h + pi * c + bi)
    f = 1 - i if coupled else acts[0](wf @ x + rf @ h + pf * c + bf)
    c = f * c + i * acts[1](wc @ x + rc @ h + bc)
    o = acts[0](wo @ x + ro @ h + po * c + bo)
    return o * last(c), c
