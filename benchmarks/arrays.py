"""A net in plain numpy: the float64 reference of every row, and in float32 a contestant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .nets import Net, Step

Array = np.ndarray[Any, Any]

__all__ = ["evaluate"]


def evaluate(net: Net, weights: Mapping[str, Array], x: Array) -> Array:
    """The net's output, in the dtype of x and the weights."""
    values = {"x": x}
    for step in net.steps:
        given = [values[name] for name in step.args] + [weights[name] for name in step.weights]
        values[step.out] = OPS[step.op](step, *given)
    return values[net.steps[-1].out]


def linear(step: Step, x: Array, w: Array, b: Array) -> Array:
    return x @ w.T + b


def windows(x: Array, kernel: Sequence[int], stride: int) -> Array:
    """[N, C, H', W', kh, kw]"""
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(kernel), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def conv(step: Step, x: Array, w: Array, b: Array) -> Array:
    n, c = x.shape[:2]
    (ph, pw), groups = step.attrs["pad"], step.attrs["groups"]
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    patches = windows(x, w.shape[2:], step.attrs["stride"])
    h, v = patches.shape[2:4]
    if groups == c and w.shape[1] == 1 and w.shape[0] == c:
        y = np.zeros((n, c, h, v), x.dtype)
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                y += patches[..., i, j] * w[:, 0, i, j][:, None, None]
        return y + b[:, None, None]
    rows = patches.reshape(n, groups, c // groups, h, v, *w.shape[2:]).transpose(1, 0, 3, 4, 2, 5, 6)
    rows = rows.reshape(groups, n * h * v, -1)
    y = rows @ w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    return (y.transpose(0, 2, 1).reshape(groups, -1, n, h * v).transpose(2, 0, 1, 3).reshape(n, -1, h, v)
            + b[:, None, None])  # fmt: skip


def max_pool(step: Step, x: Array) -> Array:
    pad, k = step.attrs["pad"], step.attrs["kernel"]
    if pad:
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    view = windows(x, (k, k), step.attrs["stride"])
    y = view[..., 0, 0].copy()
    for i in range(k):
        for j in range(k):
            np.maximum(y, view[..., i, j], out=y)
    return y


def softmax(step: Step, x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rnn(step: Step, x: Array, wi: Array, wh: Array, bi: Array, bh: Array) -> Array:
    given = x @ wi.T + (bi + bh)
    y = np.empty_like(given)
    h = np.zeros_like(given[0])
    for t in range(len(x)):
        h = y[t] = np.tanh(given[t] + h @ wh.T)
    return y


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm(step: Step, x: Array, wi: Array, wh: Array, bi: Array, bh: Array) -> Array:
    given = x @ wi.T + (bi + bh)
    t, n, _ = x.shape
    y = np.empty((t, n, wh.shape[1]), x.dtype)
    h = c = np.zeros_like(y[0])
    for k in range(t):
        i, f, g, o = np.split(given[k] + h @ wh.T, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = y[k] = sigmoid(o) * np.tanh(c)
    return y


OPS: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "matmul": lambda step, x, w: x @ w,
    "conv": conv,
    "relu": lambda step, x: np.maximum(x, 0),
    "relu6": lambda step, x: np.minimum(np.maximum(x, 0), 6),
    "add": lambda step, x, y: x + y,
    "softmax": softmax,
    "max_pool": max_pool,
    "mean": lambda step, x: x.mean((2, 3)),
    "flatten": lambda step, x: x.reshape(len(x), -1),
    "rnn": rnn,
    "lstm": lstm,
}
