"""x[...] on traced tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.ir.errors import TraceError, TypeInferenceError
from nervure.ir.interpret import evaluate_program

X = np.random.default_rng(5).normal(size=(4, 5, 6))

KEYS = [
    0, -1, (1, 2), (1, -2, 3), slice(1, 3), slice(None, None, 2), slice(3, 0, -1), slice(None, None, -2),
    slice(-2, None), slice(2, 2), slice(0, 99), (slice(None), 2), (..., 0), (0, ..., slice(1, 4)), None,
    (None, 0, None, slice(None), None), (..., None), (slice(1, 3), slice(4, 1, -2), -1), Ellipsis, (),
    [0, 2], np.array([3, -1, 0]), (slice(None), [1, 1, 4]), (slice(1, 3), slice(None), np.array([[0, 1], [2, -1]])),
    ([0, 1], [2, 3]), (slice(None), [[0], [1]], [2, 3]), (0, [1, 2]), (0, [1, 2], [0, 3]),
    np.array([True, False, True, True]),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_known_indices_pick_what_numpy_picks(key: Any, evaluate: Any) -> None:
    np.testing.assert_array_equal(evaluate(lambda x: x[key], X), X[key])


def test_integer_tensors_pick_along_one_axis_or_several(evaluate: Any) -> None:
    i, j = np.array([[0, 3], [1, 2]]), np.array([4, 0])
    picked = evaluate(lambda x, a, b: (x[a], x[:, b], x[..., b], x[a, b], x[1, b, 0], x[:, b, a]), X, i, j)
    wanted = (X[i], X[:, j], X[..., j], X[i, j], X[1, j, 0], X[:, j, i])
    for got, want in zip(picked, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_picked_positions_are_clamped_to_the_axis(evaluate: Any) -> None:
    places = np.array([-7, 2, 99])
    one, two = evaluate(lambda x, n: (x[n], x[n, n]), X, places)
    np.testing.assert_array_equal(one, X[[0, 2, 3]])
    np.testing.assert_array_equal(two, X[[0, 2, 3], [0, 2, 4]])


def test_a_symbolic_axis_is_sliced_within_its_range() -> None:
    program = nv.trace(
        lambda x: (x[:3], x[-1], x[1:], x[::-1], x[x.shape[0] - 2], x[:, :-1]), "f32[B:4..9,2]"
    )
    types = [str(v.type) for v in program.main.outputs]
    assert types == ["f32[3,2]", "f32[2]", "f32[B-1,2]", "f32[B,2]", "f32[2]", "f32[B,1]"]
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    wanted = (x[:3], x[-1], x[1:], x[::-1], x[-2], x[:, :-1])
    for got, want in zip(evaluate_program(program, [x]), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_index_that_may_lie_outside_is_an_error() -> None:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(lambda x: x[3], "f32[B,2]")
    assert caught.value.message == "index: 3 is not within axis 0 of B elements"
    assert caught.value.details == ("operand 0: f32[B,2]",)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0), "index: 3 indices for 2 axes"),
        (0.5, "index: float is no index"),
        ((..., ...), "index: more than one ellipsis"),
        ([0, 9], "index: a position is not within axis 0 of 3 elements"),
        ([0.5], "index: the index is an array of float64, expected integers"),
    ],
)
def test_keys_that_make_no_sense_say_why(key: Any, message: str) -> None:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(lambda x: x[key], "f32[3,2]")
    assert caught.value.message == message


def test_a_condition_as_index_points_to_where() -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(lambda x: x[x > 0], "f32[3]")
    assert caught.value.hint == "use np.where(condition, x, other)"


def test_tensor_indices_apart_from_each_other_are_refused() -> None:
    with pytest.raises(TypeInferenceError, match="not side by side"):
        nv.trace(lambda x, n: x[n, :, n], "f32[3,4,5]", "i64[2]")
