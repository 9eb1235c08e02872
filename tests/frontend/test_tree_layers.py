"""Recursive layers against a recursion in numpy, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError, NervureError, TypeInferenceError

H, IN = 3, 2
CHILDREN = np.array([[-1, -1], [-1, -1], [0, 1], [-1, -1], [2, 3], [-1, -1], [5, -1]])
"""Two trees: ((0 1) 3) with the root 4, and a chain of 5 and 6."""


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_recursion(layer: Any, x: Any) -> tuple[Any, Any]:
    """h and c of every node, each by going down to its leaves."""
    w, u, bias = (layer.state_dict()[n] for n in ("weight_ih", "weight_hh", "bias"))

    def state(n: int) -> tuple[Any, Any]:
        below = [state(k) if k >= 0 else (np.zeros(H), np.zeros(H)) for k in CHILDREN[n]]
        hs, own = [h for h, _ in below], w @ x[n] + bias
        seen = sum(hs) if layer.arity is None else np.concatenate(hs)
        if isinstance(layer, nn.TreeRNN):
            return np.tanh(own + u @ seen), None
        wi, wf, wg, wo = np.split(own, 4)
        parts = np.split(u, len(u) // H)
        ui, uf, ug, uo = parts[0], parts[1:-2], parts[-2], parts[-1]
        forget = [
            sigmoid(wf + (uf[0] @ h if layer.arity is None else uf[k] @ seen)) for k, h in enumerate(hs)
        ]
        c = sigmoid(wi + ui @ seen) * np.tanh(wg + ug @ seen)
        c = c + sum(f * kid for f, (_, kid) in zip(forget, below, strict=True))
        return sigmoid(wo + uo @ seen) * np.tanh(c), c

    states = [state(n) for n in range(len(CHILDREN))]
    return np.array([h for h, _ in states]), np.array([c for _, c in states])


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("arity", [None, 2])
@pytest.mark.parametrize("kind", ["TreeRNN", "TreeLSTM"])
def test_states_are_those_of_a_recursion(kind: str, arity: int | None, backend: str) -> None:
    nv.seed(3)
    layer = getattr(nn, kind)(IN, H, arity, dtype="f64")
    x = np.random.default_rng(0).normal(size=(len(CHILDREN), IN))
    found = nv.compile(layer, "f64[N,2]", "i64[N,2]", backend=backend)(x, CHILDREN)
    for got, want in zip(
        found if isinstance(found, tuple) else (found,), by_recursion(layer, x), strict=False
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("arity", [None, 2])
@pytest.mark.parametrize("kind", ["TreeRNN", "TreeLSTM"])
def test_the_gradient_is_the_slope_of_the_recursion(kind: str, arity: int | None) -> None:
    nv.seed(4)
    layer = getattr(nn, kind)(IN, H, arity, dtype="f64")
    rng = np.random.default_rng(1)
    x, slope = rng.normal(size=(len(CHILDREN), IN)), rng.normal(size=(len(CHILDREN), H))

    def loss(x: Any) -> Any:
        found = layer(x, CHILDREN)
        return ((found[0] if isinstance(found, tuple) else found) * slope).sum()

    found = nv.compile(nv.grad(loss), x)(x)
    way, step = rng.normal(size=x.shape), 1e-6
    high, low = ((by_recursion(layer, x + s * way)[0] * slope).sum() for s in (step, -step))
    assert (found * way).sum() == pytest.approx((high - low) / (2 * step), rel=1e-7)


def test_what_is_no_tree_is_refused() -> None:
    layer = nn.TreeLSTM(IN, H, 2, dtype="f64")
    x = np.zeros((3, IN))
    run = nv.compile(layer, "f64[N,2]", "i64[N,2]")
    with pytest.raises(InputError, match="2"):
        run(x, np.array([[-1, -1], [2, -1], [1, 0]]))
    with pytest.raises(InputError, match="7"):
        run(x, np.array([[-1, -1], [7, -1], [1, 0]]))
    with pytest.raises(TypeInferenceError, match=r"TreeLSTM: children are i64\[3,4\], expected 2 columns"):
        nv.trace(layer, "f64[3,2]", "i64[3,4]")
    with pytest.raises(TypeInferenceError, match=r"TreeLSTM: expected x \[N, in\] with 2 features"):
        nv.trace(layer, "f64[3,5]", "i64[3,2]")
    with pytest.raises(NervureError, match="TreeRNN: arity is 0, expected at least 1, or None for a sum"):
        nn.TreeRNN(IN, H, 0)


def test_the_forget_gate_may_begin_open() -> None:
    bias = nn.TreeLSTM(IN, H, forget_bias=2.0).state_dict()["bias"]
    assert bias[H : 2 * H].min() > 1.3
    assert np.abs(np.delete(bias, range(H, 2 * H))).max() < 0.6
