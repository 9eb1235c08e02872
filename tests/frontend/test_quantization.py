"""Floats as small integers: ties, ends of the range, one scale an axis, PyTorch's values, and a dense layer of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TypeInferenceError

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i16"])
def test_ties_go_to_even_and_what_is_beyond_the_range_to_its_end(dtype: str, evaluate: Any) -> None:
    x = np.array([0.25, 0.75, 1.25, -0.25, 1e9, -1e9, np.inf, -np.inf, np.nan], np.float32)
    found = evaluate(lambda t: nn.quantize(t, 0.5, 10, dtype), x)
    info = np.iinfo({"i8": np.int8, "u8": np.uint8, "i16": np.int16}[dtype])
    np.testing.assert_array_equal(found, [10, 12, 12, 10, info.max, info.min, info.max, info.min, 0])
    assert found.dtype == info.dtype


@pytest.mark.torch
def test_values_are_pytorch_s_and_go_back(evaluate: Any) -> None:
    import torch

    x = RNG.normal(size=(4, 3)).astype(np.float32)
    want = torch.fake_quantize_per_tensor_affine(torch.tensor(x), 0.02, 3, -128, 127)
    found = evaluate(lambda t: nn.dequantize(nn.quantize(t, 0.02, 3), 0.02, 3), x)
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-6)
    scales, zeros = np.array([0.02, 0.5, 0.001], np.float32), np.array([3, 0, -7], np.int8)
    each = torch.fake_quantize_per_channel_affine(
        torch.tensor(x), torch.tensor(scales), torch.tensor(zeros.astype(np.int32)), 1, -128, 127
    )

    def there_and_back(t: Any) -> Any:
        return nn.dequantize(nn.quantize(t, scales, zeros, axis=-1), scales, zeros, axis=1)

    np.testing.assert_allclose(evaluate(there_and_back, x), each.numpy(), rtol=1e-6)


def test_what_is_quantized_comes_back_within_half_a_scale(evaluate: Any) -> None:
    x = RNG.normal(size=(50,)).astype(np.float32)

    def round_trip(t: Any) -> Any:
        q, scale, zero_point = nn.dynamic_quantize(t)
        return nn.dequantize(q, scale, zero_point), scale, zero_point, q

    back, scale, zero_point, q = evaluate(round_trip, x)
    assert np.abs(back - x).max() <= scale * (0.5 + 1e-5) + scale * abs(zero_point + x.min() / scale)
    assert q.min() == 0 and q.max() == 255
    nothing, one, zero, _ = evaluate(round_trip, np.zeros(3, np.float32))
    assert one == 1 and zero == 0 and not nothing.any()


def test_a_dense_layer_of_integers_is_near_the_layer(evaluate: Any) -> None:
    x = RNG.normal(size=(5, 16)).astype(np.float32)
    w = RNG.normal(size=(4, 16)).astype(np.float32)
    scales = (np.abs(w).max(axis=1) / 127).astype(np.float32)

    def layer(t: Any) -> Any:
        weight = nn.quantize(w, scales, np.zeros(4, np.int8), axis=0)
        return nn.linear(t, nn.dequantize(weight, scales, axis=0))

    np.testing.assert_allclose(evaluate(layer, x), x @ w.T, atol=0.1)


def test_the_scale_has_a_derivative_and_the_integers_none(evaluate: Any) -> None:
    q = np.array([-3, 5, 100], np.int8)
    found = evaluate(nv.grad(lambda s, k: nn.dequantize(k, s, 1).sum()), np.float64(0.5), q)
    assert found == (q.astype(int) - 1).sum()
    with pytest.raises(TypeInferenceError, match="quantize: the element type is i64, expected i8, u8 or i16"):
        nv.trace(lambda x: nn.quantize(x, 1.0, 0, "i64"), "f32[3]")
    with pytest.raises(
        TypeInferenceError, match=r"quantize: scale is f32\[2\] and the zero point i8\[2\], expected one"
    ):
        nv.trace(lambda x, s, z: nn.quantize(x, s, z, axis=0), "f32[3]", "f32[2]", "i8[2]")
    with pytest.raises(TypeInferenceError, match="dynamic_quantize: the operand may be empty"):
        nv.trace(nn.dynamic_quantize, "f32[0]")
