"""The bounds of vecmath.py in units of the last place, against mathematics in f64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from nervure.backends.llvm.kernel_ir import Buffer, Call, For, Kernel, Var
from nervure.ir.dims import symbol
from nervure.ir.types import f32

N = symbol("N", 0, 1 << 32)
BOUNDS = {"exp": 1.1, "expm1": 1.6, "log": 0.9, "log1p": 1.5, "tanh": 1.2, "sigmoid": 1.6, "erf": 1.1}
"""What was measured on all floats, rounded up."""


def _sigmoid(x: Any) -> Any:
    t = np.exp(-np.abs(x))
    return np.where(x < 0, t, 1.0) / (1.0 + t)


EXACT: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": scipy.special.erf,
}


def kernel(compiled: Any, name: Any) -> Any:
    x, y = Buffer("x", f32, (N,)), Buffer("y", f32, (N,))
    i = Var("i")
    return compiled(Kernel("k", (x, y), (For(i, N, (y.store(i, Call(name, (x[i],))),), "vector"),)))


def worst(run: Any, name: str, x: Any) -> float:
    """The largest error in units of the last place; NaN, infinity and their signs must be exact."""
    y = np.empty_like(x)
    run(x, y, N=len(x))
    with np.errstate(all="ignore"):
        want = EXACT[name](x.astype("f8"))
        near = want.astype("f4")
        unit = np.spacing(np.minimum(np.abs(near), np.float32(3e38))).astype("f8")
        error = np.abs(y.astype("f8") - want) / unit
    special = ~np.isfinite(near)
    same = (y[special] == near[special]) | (np.isnan(y[special]) & np.isnan(near[special]))
    # where rounding decides between the largest float and infinity, both are within the bound
    edge = np.isinf(near[special]) & (np.abs(y[special]) > 3.4028e38)
    assert (same | edge).all(), x[special][~(same | edge)][:5]
    return float(error[~special & np.isfinite(y)].max(initial=0.0))


@pytest.mark.parametrize("name", list(BOUNDS))
def test_functions_hold_their_bound_on_a_dense_sample(compiled: Any, name: str) -> None:
    x = np.arange(0, 1 << 32, 257 * 7, dtype=np.uint64).astype(np.uint32).view("f4")
    with np.errstate(invalid="ignore"):
        assert worst(kernel(compiled, name), name, x) <= BOUNDS[name]


@pytest.mark.parametrize("name", ["tanh", "expm1", "log1p", "erf"])
def test_odd_functions_keep_the_sign_of_zero_and_tiny_values(compiled: Any, name: str) -> None:
    x = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-30, -1e-30], "f4")
    y = np.empty_like(x)
    kernel(compiled, name)(x, y, N=len(x))
    factor = 2 / math.sqrt(math.pi) if name == "erf" else 1.0
    np.testing.assert_allclose(y, x * np.float32(factor), rtol=1e-6, atol=1.5e-45)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))


@pytest.mark.long
@pytest.mark.parametrize("name", list(BOUNDS))
def test_functions_hold_their_bound_on_all_floats(compiled: Any, name: str) -> None:
    run, size = kernel(compiled, name), 1 << 18
    offsets = np.arange(size, dtype=np.uint32)
    for start in range(0, 1 << 32, size):
        with np.errstate(invalid="ignore"):
            x = (offsets + np.uint32(start)).view("f4")
            assert worst(run, name, x) <= BOUNDS[name]
