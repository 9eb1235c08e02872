"""Windows as columns and back: PyTorch's values and derivatives, and a convolution as a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TypeInferenceError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 3, 7, 6))
CASES: list[dict[str, Any]] = [
    {"kernel_size": 3},
    {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": (3, 2), "dilation": 2, "padding": 2, "stride": 3},
]


@pytest.mark.torch
@pytest.mark.parametrize("options", CASES, ids=str)
def test_unfold_and_fold_are_pytorch_s(options: dict[str, Any], evaluate: Any) -> None:
    import torch

    x = torch.tensor(X, requires_grad=True)
    columns = torch.nn.functional.unfold(x, **options)
    weight = RNG.normal(size=tuple(columns.shape))
    (columns * torch.tensor(weight)).sum().backward()
    np.testing.assert_array_equal(evaluate(lambda t: nn.unfold(t, **options), X), columns.detach().numpy())
    found = evaluate(nv.grad(lambda t: (nn.unfold(t, **options) * weight).sum()), X)
    assert x.grad is not None
    np.testing.assert_allclose(found, x.grad.numpy(), rtol=1e-12, atol=1e-14)

    folded = torch.nn.functional.fold(torch.tensor(weight), (7, 6), **options)
    np.testing.assert_allclose(
        evaluate(nn.Fold((7, 6), **options), weight), folded.numpy(), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("sizes", [(9,), (5, 4), (3, 4, 5)])
def test_a_convolution_is_a_product_with_the_columns(sizes: tuple[int, ...], evaluate: Any) -> None:
    x, w = RNG.normal(size=(2, 3, *sizes)), RNG.normal(size=(4, 3, *(2 for _ in sizes)))
    conv = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}[len(sizes)]
    whole, columns = evaluate(
        lambda a, f: (conv(a, f, stride=2, padding=1), nn.Unfold(2, padding=1, stride=2)(a)), x, w
    )
    found = np.einsum("ok,nkl->nol", w.reshape(4, -1), columns)
    np.testing.assert_allclose(found.reshape(whole.shape), whole, rtol=1e-12, atol=1e-14)


def test_folding_counts_each_element_as_often_as_it_is_read(evaluate: Any) -> None:
    ones = np.ones((1, 1, 5))
    found = evaluate(lambda t: nn.fold(nn.unfold(t, 3, padding=1), (5,), 3, padding=1), ones)
    np.testing.assert_array_equal(found, [[[2, 3, 3, 3, 2]]])


def test_errors_speak_of_what_the_user_called() -> None:
    with pytest.raises(TypeInferenceError, match="unfold: spatial axis 0: the window does not fit: 2 "):
        nv.trace(lambda x: nn.unfold(x, 3), "f32[1,1,2,5]")
    with pytest.raises(TypeInferenceError, match="unfold: stride is 0, expected numbers from 1 on"):
        nv.trace(lambda x: nn.unfold(x, 3, stride=0), "f32[1,1,5]")
    with pytest.raises(TypeInferenceError, match="fold: input has 4 columns, output_size is read in 6"):
        nv.trace(lambda x: nn.fold(x, (4, 3), 2), "f32[1,4,4]")
    with pytest.raises(TypeInferenceError, match="fold: 5 channels are no multiple of 4 places"):
        nv.trace(lambda x: nn.fold(x, (4, 3), 2), "f32[1,5,6]")
    with pytest.raises(TypeInferenceError, match="unfold: 0 spatial axes, expected 1 to 3"):
        nv.trace(lambda x: nn.unfold(x, 3), "f32[1,5]")
