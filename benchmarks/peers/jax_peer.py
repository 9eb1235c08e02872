"""JAX on the CPU: one jitted function, weights as constants for inference, donated for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..contest import Built
from ..nets import Net, Step
from ..workloads import MOMENTUM, Case


def forward(net: Net, weights: Any, x: Any) -> Any:
    values = {"x": x}
    for step in net.steps:
        given = [values[name] for name in step.args] + [weights[name] for name in step.weights]
        values[step.out] = OPS[step.op](step, *given)
    return values[net.steps[-1].out]


def _conv(step: Step, x: Any, w: Any, b: Any) -> Any:
    (ph, pw), s = step.attrs["pad"], step.attrs["stride"]
    y = lax.conv_general_dilated(
        x, w, (s, s), ((ph, ph), (pw, pw)), feature_group_count=step.attrs["groups"],
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )  # fmt: skip
    return y + b[:, None, None]


def _max_pool(step: Step, x: Any) -> Any:
    k, s, p = (step.attrs[n] for n in ("kernel", "stride", "pad"))
    around = ((0, 0), (0, 0), (p, p), (p, p))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, k, k), (1, 1, s, s), around)


def _rnn(step: Step, x: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
    given = x @ wi.T + (bi + bh)

    def cell(h: Any, row: Any) -> Any:
        h = jnp.tanh(row + h @ wh.T)
        return h, h

    return lax.scan(cell, jnp.zeros(step.shape[1:]), given)[1]


def _lstm(step: Step, x: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
    given = x @ wi.T + (bi + bh)

    def cell(carry: Any, row: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(row + h @ wh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros(step.shape[1:])
    return lax.scan(cell, (start, start), given)[1]


OPS: dict[str, Callable[..., Any]] = {
    "linear": lambda step, x, w, b: x @ w.T + b,
    "matmul": lambda step, x, w: x @ w,
    "conv": _conv,
    "relu": lambda step, x: jnp.maximum(x, 0),
    "relu6": lambda step, x: jnp.clip(x, 0, 6),
    "add": lambda step, x, y: x + y,
    "softmax": lambda step, x: jax.nn.softmax(x),
    "max_pool": _max_pool,
    "mean": lambda step, x: x.mean((2, 3)),
    "flatten": lambda step, x: x.reshape(len(x), -1),
    "rnn": _rnn,
    "lstm": _lstm,
}


def build(case: Case, threads: int) -> Built:
    net, x = case.net, jnp.asarray(case.x)
    weights = {name: jnp.asarray(w) for name, w in case.weights.items()}
    if case.workload.training:
        return trained(
            net, weights, x, jnp.asarray(case.labels.astype(np.int32)).reshape(-1), case.workload.rate
        )
    run = jax.jit(lambda x: forward(net, weights, x)).lower(x).compile()
    return Built(lambda: run(x).block_until_ready())


def trained(net: Net, weights: Any, x: Any, labels: Any, rate: float) -> Built:
    def cost(weights: Any) -> Any:
        y = forward(net, weights, x)
        rows = jax.nn.log_softmax(y.reshape(-1, y.shape[-1]))
        return -jnp.take_along_axis(rows, labels[:, None], axis=1).mean()

    def step(weights: Any, moments: Any) -> Any:
        loss, gradients = jax.value_and_grad(cost)(weights)
        moments = {n: MOMENTUM * moments[n] + gradients[n] for n in weights}
        return loss, {n: weights[n] - rate * moments[n] for n in weights}, moments

    run = jax.jit(step, donate_argnums=(0, 1))
    held = {"weights": weights, "moments": {n: jnp.zeros_like(w) for n, w in weights.items()}}

    def call() -> Any:
        loss, held["weights"], held["moments"] = run(held["weights"], held["moments"])
        return jax.block_until_ready(loss)

    return Built(call, float, lambda: {n: np.asarray(w) for n, w in held["weights"].items()})
