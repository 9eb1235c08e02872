"""Whatever key, shape or axes numpy takes, a traced tensor takes with the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.ir.interpret import evaluate_program
from nervure.ir.verify import verify_program

pytest.importorskip("hypothesis", reason="the job that tests the wheel installs pytest alone")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)


def check(function: Any, *arrays: Any) -> None:
    program = nv.trace(function, *arrays)
    verify_program(program)
    (got,) = evaluate_program(program, list(arrays))
    want = np.asarray(function(*arrays))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12)


def counted(shape: tuple[int, ...]) -> Any:
    return np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)


@SETTINGS
@given(st.data(), npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
def test_any_basic_key_picks_what_numpy_picks(data: Any, shape: tuple[int, ...]) -> None:
    key = data.draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check(lambda x: x[key], counted(shape))


@SETTINGS
@given(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
def test_any_two_shapes_that_broadcast_do_so(shapes: Any) -> None:
    left, right = map(counted, shapes.input_shapes)
    check(lambda x, y: x * y - y / x, left, right)
    check(lambda x, y: np.where(x > y, x, y + 1), left, right)


@SETTINGS
@given(npst.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=4))
def test_any_two_shapes_that_multiply_do_so(shapes: Any) -> None:
    check(lambda x, y: x @ y, *map(counted, shapes.input_shapes))


@SETTINGS
@given(st.data(), npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
def test_any_axes_are_reduced_and_moved(data: Any, shape: tuple[int, ...]) -> None:
    x = counted(shape)
    axes = data.draw(st.permutations(range(len(shape))))
    some = tuple(axes[: data.draw(st.integers(0, len(shape)))])
    keepdims = data.draw(st.booleans())
    check(lambda t: t.transpose(axes), x)
    check(lambda t: t.sum(some, keepdims=keepdims), x)
    check(lambda t: np.max(t, axis=some, keepdims=keepdims), x)
    check(lambda t: t.reshape(-1, shape[axes[0]]), x)
