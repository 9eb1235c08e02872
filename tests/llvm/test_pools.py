"""The largest of a window alone, without its place: the same bits as the reference, at every rim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.store import Store
from nervure.ir.types import DType, TensorType, f16, f32, i32

CASES: list[tuple[Any, ...]] = [
    ((2, 3, 40), (3,), (1,), [(1, 1)], (1,)),
    ((2, 3, 9, 21), (2, 2), (1, 1), [(0, 1), (0, 1)], (1, 1)),
    ((2, 3, 9, 21), (3, 3), (2, 2), [(1, 1), (1, 1)], (1, 1)),
    ((1, 2, 3, 2), (5, 5), (1, 1), [(2, 2), (2, 2)], (1, 1)),
    ((1, 2, 9, 9), (3, 2), (1, 2), [(0, 0), (-2, -1)], (1, 1)),
    ((1, 2, 1, 3), (2, 2), (1, 1), [(1, 1), (1, 1)], (2, 2)),
    ((1, 2, 0, 3), (3, 2), (1, 1), [(2, 2), (1, 1)], (1, 1)),
    ((1, 2, 5, 6, 7), (2, 3, 2), (1, 2, 2), [(1, 0), (1, 1), (0, 1)], (1, 1, 1)),
]
"""Shape, window, strides, padding, dilation; in two of them windows lie wholly outside."""


@pytest.mark.parametrize("dtype", [f32, f16, i32])
@pytest.mark.parametrize(("shape", "window", "strides", "padding", "dilation"), CASES)
def test_a_maximum_without_its_place(
    shape: Any, window: Any, strides: Any, padding: Any, dilation: Any, dtype: DType
) -> None:
    x = Value(TensorType(dtype, shape), name="x")
    largest, _ = b.max_pool(x, window, strides, padding, dilation)
    found = Program("pool", [Graph("forward", [x], [largest])], Store({}))
    data: Any = np.round(np.random.default_rng(0).standard_normal(shape) * 2).astype(dtype.numpy)  # with ties
    if dtype.is_float and data.size:
        data[data == 0] *= np.random.default_rng(1).choice([-1, 1], int((data == 0).sum()))
        data[0, 0].reshape(-1)[[1, -1]] = np.nan
        data[0, 1] = np.where(data[0, 1] > 0, -np.inf, data[0, 1])
    one, other = nv.compile(found)(data), nv.compile(found, backend="reference")(data)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


@pytest.mark.parametrize("spec", ["f32[2,3,13,11]", "f32[B,3,H:7..40,W:7..40]"])
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(2), nn.MaxPool2d(5, 2, 2), nn.MaxPool2d(3, 2, 2, dilation=2)]
)
def test_a_maximum_of_a_value_in_blocks(pool: Any, spec: str) -> None:
    nv.seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3), pool, nn.Conv2d(24, 20, 3, padding=1), pool, nn.Conv2d(20, 4, 1)
    )
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 11)).astype(np.float32)
    one, two = nv.compile(model, spec)(x), nv.compile(model, spec, threads=2)(x)
    wanted = nv.compile(model, spec, backend="reference")(x)
    assert np.array_equal(one, two)
    assert np.abs(one - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_place_is_computed_only_where_it_is_read() -> None:
    x = Value(TensorType(f32, (1, 2, 9, 32)), name="x")
    pooled = b.max_pool(x, (3, 3), (1, 1), [(1, 1), (1, 1)])
    texts = [
        str(nv.compile(Program("pool", [Graph("forward", [x], results)], Store({}))).kernels[0])  # type: ignore[attr-defined]
        for results in (pooled[:1], pooled)
    ]
    assert "i64" not in texts[0] and "i64" in texts[1]
