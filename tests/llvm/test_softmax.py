"""A softmax over rows is one kernel, with the values of three."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(40, 64), (3, 1, 65), (1, 7, 16), (5, 1000), (2, 3, 4097), (4, 15), (33,)])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
def test_a_softmax_over_rows_has_its_values_in_one_kernel(
    shape: tuple[int, ...], log: bool, dtype: str
) -> None:
    x = (RNG.standard_normal(shape) * 5).astype({"f32": "f4", "f64": "f8", "f16": "f2"}[dtype])
    x.reshape(-1, shape[-1])[0, 0] = -np.inf
    spec = f"{dtype}[{','.join(map(str, shape))}]"
    function = nn.log_softmax if log else nn.softmax
    run, twice = (nv.compile(lambda v: function(v, -1), spec, threads=threads) for threads in (1, 2))
    wanted = nv.compile(lambda v: function(v, -1), spec, backend="reference")(x)
    tolerance = {"f32": 1e-5, "f64": 1e-12, "f16": 4e-3}[dtype]
    np.testing.assert_allclose(run(x), wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(twice(x), run(x))
    kernels = str(run.assembled.program).count("\nkernel ")  # pyright: ignore[reportAttributeAccessIssue]
    assert kernels == (1 if 16 <= shape[-1] <= 4096 else 3)


def test_nan_and_rows_of_infinities_stay_what_they_are() -> None:
    x = RNG.standard_normal((4, 32)).astype("f4")
    x[1, 3], x[2, :] = np.nan, -np.inf
    y = nv.compile(lambda v: nn.softmax(v, -1), "f32[4,32]")(x)
    assert np.isnan(y[1]).all() and np.isnan(y[2]).all() and np.isfinite(y[[0, 3]]).all()


@pytest.mark.parametrize("symbol_last", [False, True])
def test_a_symbolic_batch_of_softmaxes(symbol_last: bool) -> None:
    spec = "f32[3,B,20]" if symbol_last else "f32[B,3,20]"
    run = nv.compile(lambda v: nn.softmax(v * 2.0, -1) + 1.0, spec)
    for batch in (1, 2, 7, 16, 37):
        shape = (3, batch, 20) if symbol_last else (batch, 3, 20)
        x = RNG.standard_normal(shape).astype("f4")
        e = np.exp(2 * x - (2 * x).max(-1, keepdims=True))
        np.testing.assert_allclose(run(x), e / e.sum(-1, keepdims=True) + 1, rtol=1e-5)
