"""Writing at computed positions: PyTorch's values and derivatives; boxes at computed corners: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TypeInferenceError

RNG = np.random.default_rng(11)
X = RNG.normal(size=(4, 3))
INDEX = np.array([[0, 1, 3], [0, 2, 3], [1, 1, 3], [0, 2, 0], [3, 0, 1]])
SRC = RNG.normal(size=INDEX.shape)
WITH_ZEROS = np.where(np.arange(12).reshape(4, 3) % 4 == 0, 0.0, X)
ZEROS_IN_SRC = np.where(np.arange(15).reshape(5, 3) % 4 == 0, 0.0, SRC)
EQUAL = np.ones_like(X), np.ones_like(SRC)


@pytest.mark.torch
@pytest.mark.parametrize("reduce", ["sum", "prod", "amin", "amax"])
@pytest.mark.parametrize(
    "data", [(X, SRC), (WITH_ZEROS, ZEROS_IN_SRC), EQUAL], ids=["some", "zeros", "equal"]
)
def test_a_join_has_pytorch_s_values_and_derivatives(
    data: tuple[Any, Any], reduce: str, evaluate: Any
) -> None:
    import torch

    x, src = (torch.tensor(a, requires_grad=True) for a in data)
    want = torch.scatter_reduce(x, 0, torch.tensor(INDEX), src, reduce)
    weight = RNG.normal(size=tuple(want.shape))
    want.backward(torch.tensor(weight))

    def join(a: Any, u: Any, i: Any) -> Any:
        return nn.scatter_reduce(a, 0, i, u, reduce)

    np.testing.assert_allclose(evaluate(join, *data, INDEX), want.detach().numpy(), rtol=1e-12)
    loss = nv.grad(lambda a, u, i: (join(a, u, i) * weight).sum(), argnums=(0, 1))
    for found, wanted in zip(evaluate(loss, *data, INDEX), (x, src), strict=True):
        assert wanted.grad is not None
        np.testing.assert_allclose(found, wanted.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.torch
def test_gather_scatter_and_scatter_add_are_pytorch_s(evaluate: Any) -> None:
    import torch

    once = np.array([[0, 1, 3], [2, 0, 1]])
    x, i, src = torch.tensor(X), torch.tensor(once), torch.tensor(SRC[:2])
    found = evaluate(
        lambda a, k, u: (
            nn.gather(a, 0, k), nn.scatter(a, 0, k, u), nn.scatter(a, -2, k, 7.0), nn.scatter_add(a, 0, k, u)
        ),
        X, once, SRC[:2],
    )  # fmt: skip
    wanted = (x.gather(0, i), x.scatter(0, i, src), x.scatter(0, i, 7.0), x.scatter_add(0, i, src))
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("starts", "low"), [((1, 1), (1, 1)), ((-5, 2), (0, 1)), ((9, -(2**63)), (2, 0)), ((2**62, 1), (2, 1))]
)
def test_a_box_is_moved_until_it_lies_within(
    starts: tuple[int, int], low: tuple[int, int], evaluate: Any
) -> None:
    update = np.array([[10.0, 20.0], [30.0, 40.0]])
    read, written = evaluate(
        lambda x, u, s: (nn.dynamic_slice(x, s, (2, 2)), nn.dynamic_update_slice(x, u, s)),
        X, update, np.array(starts),
    )  # fmt: skip
    box = np.s_[low[0] : low[0] + 2, low[1] : low[1] + 2]
    np.testing.assert_array_equal(read, X[box])
    want = X.copy()
    want[box] = update
    np.testing.assert_array_equal(written, want)


def test_starts_may_be_scalars_and_numbers_and_gradients_go_to_what_was_read(evaluate: Any) -> None:
    def loss(x: Any, u: Any, k: Any) -> Any:
        row = nn.dynamic_slice(x, (k, 1), (1, 2))
        return (row * row).sum() + (nn.dynamic_update_slice(x, u, [k, 0]) * 3.0).sum()

    dx, du = evaluate(nv.grad(loss, argnums=(0, 1)), X, SRC[:1], np.int32(2))
    want = np.full_like(X, 3.0)
    want[2] = [0, 2 * X[2, 1], 2 * X[2, 2]]
    np.testing.assert_allclose(dx, want)
    np.testing.assert_array_equal(du, [[3, 3, 3]])


def test_errors_speak_of_what_the_user_called() -> None:
    x, i = "f32[4,3]", "i64[2,3]"
    with pytest.raises(
        TypeInferenceError, match='scatter_reduce: reduce is "mean", expected one of sum, prod'
    ):
        nv.trace(lambda a, k: nn.scatter_reduce(a, 0, k, a, "mean"), x, i)
    with pytest.raises(TypeInferenceError, match=r"scatter_add: updates are f32\[4,3\], expected f32\[2,3\]"):
        nv.trace(lambda a, k: nn.scatter_add(a, 0, k, a), x, i)
    with pytest.raises(
        TypeInferenceError, match="dynamic_slice: axis 0: 5 elements of 4 are not known to be"
    ):
        nv.trace(lambda a: nn.dynamic_slice(a, (0, 0), (5, 1)), x)
    with pytest.raises(TypeInferenceError, match=r"dynamic_slice: starts is i64\[1\], expected i64\[2\]"):
        nv.trace(lambda a: nn.dynamic_slice(a, (0,), (1, 1)), x)
    with pytest.raises(
        TypeInferenceError, match=r"dynamic_slice: a start is f32\[\], expected an integer scalar"
    ):
        nv.trace(lambda a: nn.dynamic_slice(a, (a.sum(), 0), (1, 1)), x)
