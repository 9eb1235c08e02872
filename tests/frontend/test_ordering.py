"""Sorting, running folds and their neighbours: PyTorch's arguments, values and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TypeInferenceError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 5, 3))
ZEROS = np.where(RNG.random((6, 5)) < 0.3, 0.0, RNG.normal(size=(6, 5)))

CASES: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "sort": (X, lambda m, x: m.sort(x)[0]),
    "sort descending": (X, lambda m, x: m.sort(x, dim=1, descending=True)[0]),
    "topk": (X, lambda m, x: m.topk(x, 2)[0]),
    "topk smallest": (X, lambda m, x: m.topk(x, 3, dim=0, largest=False)[0]),
    "cumsum": (X, lambda m, x: m.cumsum(x, 1)),
    "cumprod": (X, lambda m, x: m.cumprod(x, dim=-1)),
    "cumprod with zeros": (ZEROS, lambda m, x: m.cumprod(x, 0)),
    "logsumexp": (X, lambda m, x: m.logsumexp(x, 1)),
    "logsumexp of two": (X * 300, lambda m, x: m.logsumexp(x, (0, 2), keepdim=True)),
    "atan2": (X, lambda m, x: m.atan2(x, x * x - 0.5)),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", list(CASES))
def test_values_and_derivatives_are_pytorch_s(name: str, evaluate: Any) -> None:
    import torch

    data, function = CASES[name]
    tensor = torch.tensor(data, requires_grad=True)
    want = function(torch, tensor)
    weight = RNG.normal(size=tuple(want.shape))
    want.backward(torch.tensor(weight))
    np.testing.assert_allclose(evaluate(lambda x: function(nn, x), data), want.detach().numpy(), rtol=1e-10)
    found = evaluate(nv.grad(lambda x: (function(nn, x) * weight).sum()), data)
    assert tensor.grad is not None
    np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.torch
def test_indices_are_pytorch_s_and_of_equals_in_order(evaluate: Any) -> None:
    import torch

    x = np.array([[1, 3, 1, 2, 3], [5, 5, 5, 5, 5]])
    tensor = torch.tensor(x)
    values, indices = torch.sort(tensor, dim=1, descending=True, stable=True)
    found = evaluate(lambda t: (*nn.sort(t, 1, True), nn.argsort(t), nn.topk(t, 2)[1]), x)
    np.testing.assert_array_equal(found[0], values.numpy())
    np.testing.assert_array_equal(found[1], indices.numpy())
    np.testing.assert_array_equal(found[2], torch.argsort(tensor, stable=True).numpy())
    np.testing.assert_array_equal(found[3], [[1, 4], [0, 1]])


def test_a_median_is_written_with_a_sort(evaluate: Any) -> None:
    np.testing.assert_allclose(evaluate(lambda x: nn.sort(x, 1)[0][:, 2], X), np.median(X, axis=1))


def test_exclusive_and_reversed_folds(evaluate: Any) -> None:
    x = np.array([1.0, 2.0, 3.0])
    found = evaluate(
        lambda t: (nn.cumsum(t, 0, exclusive=True), nn.cumprod(t, 0, reverse=True), nn.cumsum(t, -1)), x
    )
    np.testing.assert_array_equal(np.stack(found), [[0, 1, 3], [6, 6, 3], [1, 3, 6]])


def test_thresholds_sums_rounded_once_and_bits(evaluate: Any) -> None:
    x = np.array([-1.0, 0.0, 2.0], np.float32)
    found = evaluate(
        lambda t: (nn.heaviside(t, 0.5), np.heaviside(t, t + 7), nn.fma(t, 3, 1), nn.bitcast(t, "i32")), x
    )
    np.testing.assert_array_equal(found[0], [0, 0.5, 1])
    np.testing.assert_array_equal(found[1], [0, 7, 1])
    np.testing.assert_array_equal(found[2], 3 * x + 1)
    np.testing.assert_array_equal(found[3], x.view(np.int32))


def test_errors_speak_of_what_the_user_called() -> None:
    with pytest.raises(TypeInferenceError, match="topk: k is 9, expected 0 <= k <= 3"):
        nv.trace(lambda x: nn.topk(x, 9), "f32[3]")
    with pytest.raises(TypeInferenceError, match="cumsum: axis 2 is not within the 1 axes"):
        nv.trace(lambda x: nn.cumsum(x, 2), "f32[3]")
    with pytest.raises(TypeInferenceError, match="logsumexp: the operand is i32, expected float"):
        nv.trace(lambda x: nn.logsumexp(x, 0), "i32[3]")
    with pytest.raises(TypeInferenceError, match="bitcast: f32 has 32 bits and i64 64"):
        nv.trace(lambda x: nn.bitcast(x, "i64"), "f32[3]")
