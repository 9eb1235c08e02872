"""Windows of many places are loops: the code does not grow with them, and the results are those of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.store import Store
from nervure.ir.types import DType, TensorType, f32, f64, i32

CASES: list[tuple[Any, ...]] = [
    ((2, 3, 40), (100,), (1,), [(50, 50)], (1,)),
    ((2, 3, 30, 30), (10, 10), (2, 3), [(0, 0), (0, 0)], (1, 1)),
    ((2, 2, 30, 33), (12, 9), (3, 2), [(5, 5), (4, 0)], (2, 1)),
    ((1, 2, 20, 20, 20), (5, 5, 5), (3, 3, 3), [(2, 2)] * 3, (3, 3, 3)),
]


def program(x: Value, *results: Value) -> Program:
    return Program("windows", [Graph("forward", [x], results)], Store({}))


@pytest.mark.parametrize("dtype", [f32, i32])
@pytest.mark.parametrize(("shape", "window", "strides", "padding", "dilation"), CASES)
def test_a_maximum_over_a_large_window(
    shape: Any, window: Any, strides: Any, padding: Any, dilation: Any, dtype: DType
) -> None:
    x = Value(TensorType(dtype, shape), name="x")
    found = program(x, *b.max_pool(x, window, strides, padding, dilation))
    data = np.round(np.random.default_rng(0).standard_normal(shape) * 5).astype(dtype.numpy)  # with ties
    if dtype.is_float:
        data[0, 0].ravel()[5] = np.nan
        data[0, 1] = -np.inf
    for one, other in zip(nv.compile(found)(data), nv.compile(found, backend="reference")(data), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize(("shape", "window", "strides", "padding", "dilation"), CASES)
def test_a_sum_over_a_large_window(
    shape: Any, window: Any, strides: Any, padding: Any, dilation: Any, dtype: DType
) -> None:
    x = Value(TensorType(dtype, shape), name="x")
    found = program(x, b.window_sum(x, window, strides, padding, dilation))
    data = np.random.default_rng(0).standard_normal(shape).astype(dtype.numpy)
    one, other = nv.compile(found)(data), nv.compile(found, backend="reference")(data)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4 * np.abs(other).max())


def test_the_code_does_not_grow_with_the_window() -> None:
    sizes: list[int] = []
    for size in (10, 60):
        x = Value(TensorType(f32, (1, 1, 64, 64)), name="x")
        made = nv.compile(program(x, b.max_pool(x, (size, size), (1, 1), [(0, 0)] * 2)[0]), cache=False)
        sizes.append(len(str(made.kernels[0])))
    assert sizes[1] <= sizes[0] + 8


def test_a_large_window_between_convolutions_in_blocks_of_channels() -> None:
    from nervure import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            self.one, self.two = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 20, 1)

        def __call__(self, x: Any) -> Any:
            h = self.one(x)
            return self.two(nn.max_pool2d(h, 10, 1)) + self.two(nn.avg_pool2d(h, 10, 1))

    nv.seed(0)
    net = Net()
    x = np.random.default_rng(0).standard_normal((2, 3, 24, 24)).astype(np.float32)
    one, other = (nv.compile(net, "f32[2,3,24,24]", backend=n)(x) for n in ("llvm", "reference"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())
