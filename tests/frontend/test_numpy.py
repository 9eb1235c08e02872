"""numpy's functions on traced tensors give what they give on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.frontend.numpy_protocols import BINARY, BUILDERS, FUNCTIONS, UNARY
from nervure.ir.errors import TraceError

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
I, J = RNG.integers(1, 9, (3, 4)), RNG.integers(1, 5, (3, 4))  # noqa: E741  integer arrays
C, D = X > 0, Y > 0
TRUTH = {"logical_and", "logical_or", "logical_xor", "logical_not"}
INTEGERS = {"bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "invert"}


@pytest.mark.parametrize("name", sorted(UNARY))
def test_a_ufunc_of_one_operand_agrees_with_numpy(name: str, evaluate: Any) -> None:
    x = (
        C
        if name in TRUTH
        else I
        if name in INTEGERS
        else np.abs(X) + 0.1
        if "log" in name or name == "sqrt"
        else X
    )
    function = getattr(np, name)
    np.testing.assert_allclose(evaluate(function, x), function(x), rtol=1e-12)


@pytest.mark.parametrize("name", sorted({*BUILDERS, *BINARY, "power"} - {"matmul"}))
def test_a_ufunc_of_two_operands_agrees_with_numpy(name: str, evaluate: Any) -> None:
    x, y = (C, D) if name in TRUTH else (I, J) if name in INTEGERS else (np.abs(X), Y)
    function = getattr(np, name)
    np.testing.assert_allclose(evaluate(function, x, y), function(x, y), rtol=1e-12)


def test_ufuncs_take_arrays_and_numbers_beside_tensors(evaluate: Any) -> None:
    found = evaluate(lambda x: (Y + x, np.maximum(x, 0), np.float64(2) * x, np.add(1, x), x - Y), X)
    for got, want in zip(found, (Y + X, np.maximum(X, 0), 2 * X, 1 + X, X - Y), strict=True):
        np.testing.assert_array_equal(got, want)


CASES: dict[str, list[Callable[[Any, Any], Any]]] = {
    "all": [lambda x, n: np.all(x > -9), lambda x, n: np.all(x > 0, axis=1)],
    "amax": [lambda x, n: np.amax(x)],
    "amin": [lambda x, n: np.amin(x)],
    "any": [lambda x, n: np.any(x > 1, axis=0)],
    "argmax": [lambda x, n: np.argmax(x, axis=1), lambda x, n: np.argmax(x)],
    "argmin": [lambda x, n: np.argmin(x, axis=0, keepdims=True)],
    "argsort": [lambda x, n: np.argsort(n, axis=0, kind="stable"), lambda x, n: np.argsort(x, axis=None)],
    "around": [lambda x, n: np.around(x)],
    "astype": [lambda x, n: np.astype(x, np.float32)],
    "broadcast_to": [lambda x, n: np.broadcast_to(x, (2, 3, 4))],
    "cholesky": [
        lambda x, n: np.linalg.cholesky(np.dot(x, x.T) + np.diag([1.0, 2.0, 3.0])),
        lambda x, n: np.linalg.cholesky(np.dot(x, x.T) + np.diag([1.0, 2.0, 3.0]), upper=True),
    ],
    "clip": [lambda x, n: np.clip(x, -0.5, 0.5), lambda x, n: np.clip(x, None, 0)],
    "concatenate": [
        lambda x, n: np.concatenate([x, x * 2], axis=1),
        lambda x, n: np.concatenate((x, x), axis=None),
    ],
    "cumprod": [lambda x, n: np.cumprod(x, axis=1), lambda x, n: np.cumprod(n)],
    "cumsum": [lambda x, n: np.cumsum(x), lambda x, n: np.cumsum(n, axis=-1, dtype=np.float64)],
    "dot": [lambda x, n: np.dot(x, x.T)],
    "eigh": [
        lambda x, n: np.linalg.eigh(np.dot(x, x.T))[0],
        lambda x, n: np.abs(np.linalg.eigh(np.dot(x.T, x) + np.diag([1.0, 2.0, 3.0, 4.0]), "U")[1]),
    ],
    "expand_dims": [lambda x, n: np.expand_dims(x, 1), lambda x, n: np.expand_dims(x, -1)],
    "flip": [lambda x, n: np.flip(x), lambda x, n: np.flip(x, axis=1)],
    "full_like": [lambda x, n: np.full_like(x, 3)],
    "max": [lambda x, n: np.max(x, axis=(0, 1))],
    "mean": [lambda x, n: np.mean(x), lambda x, n: np.mean(x, axis=0, keepdims=True)],
    "min": [lambda x, n: np.min(x, axis=-1)],
    "moveaxis": [lambda x, n: np.moveaxis(x, 0, -1)],
    "ndim": [lambda x, n: x * np.ndim(x)],
    "ones_like": [lambda x, n: np.ones_like(x)],
    "outer": [lambda x, n: np.outer(x[0], x[1])],
    "pad": [lambda x, n: np.pad(x, 1), lambda x, n: np.pad(x, ((1, 2), (0, 3)), constant_values=5)],
    "prod": [lambda x, n: np.prod(x, axis=0)],
    "ravel": [lambda x, n: np.ravel(x)],
    "reshape": [lambda x, n: np.reshape(x, (2, -1)), lambda x, n: np.reshape(x, -1)],
    "round": [lambda x, n: np.round(x)],
    "shape": [lambda x, n: np.reshape(x, np.shape(x)[::-1])],
    "size": [lambda x, n: x * np.size(x)],
    "sort": [lambda x, n: np.sort(x), lambda x, n: np.sort(n, axis=0), lambda x, n: np.sort(x, axis=None)],
    "split": [lambda x, n: np.split(x, 2, axis=1)[1], lambda x, n: np.split(x, [1, 3], axis=1)[1]],
    "squeeze": [
        lambda x, n: np.squeeze(np.reshape(x, (1, 3, 1, 4))),
        lambda x, n: np.squeeze(x[None], axis=0),
    ],
    "stack": [lambda x, n: np.stack([x, x + 1], axis=-1), lambda x, n: np.stack((x, x))],
    "std": [lambda x, n: np.std(x, axis=0)],
    "sum": [lambda x, n: np.sum(x, axis=-1, keepdims=True)],
    "swapaxes": [lambda x, n: np.swapaxes(x, 0, 1)],
    "take": [lambda x, n: np.take(x, n[0] % 3, axis=0), np.take],
    "take_along_axis": [lambda x, n: np.take_along_axis(x, n % 4, axis=1)],
    "tensordot": [
        lambda x, n: np.tensordot(x, x, axes=((0,), (0,))),
        lambda x, n: np.tensordot(x, x.T, axes=1),
    ],
    "transpose": [lambda x, n: np.transpose(x), lambda x, n: np.transpose(x, (1, 0))],
    "var": [lambda x, n: np.var(x, axis=1, ddof=1)],
    "where": [lambda x, n: np.where(x > 0, x, 0), lambda x, n: np.where(x > 0, x, -x)],
    "zeros_like": [lambda x, n: np.zeros_like(x)],
}


def test_every_function_of_the_table_has_a_case() -> None:
    assert sorted(CASES) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_numpy_function_agrees_with_numpy(name: str, evaluate: Any) -> None:
    for case in CASES[name]:
        got, want = evaluate(case, X, I), case(X, I)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_what_numpy_has_and_a_graph_has_not_is_named() -> None:
    with pytest.raises(TraceError, match=r"numpy\.arctan has no form in a graph"):
        nv.trace(np.arctan, "f32[3]")
    with pytest.raises(TraceError, match=r"numpy\.unique has no form in a graph"):
        nv.trace(np.unique, "f32[3]")
    with pytest.raises(TraceError, match=r"numpy\.add\.reduce has no form"):
        nv.trace(np.add.reduce, "f32[3]")
    with pytest.raises(TraceError, match=r"numpy\.exp with where has no form"):
        nv.trace(lambda x: np.exp(x, where=True), "f32[3]")


def test_rounding_and_classification_hold_for_special_values(evaluate: Any) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -1.5, 2.5, -0.0])
    found = evaluate(lambda t: (np.isnan(t), np.isinf(t), np.isfinite(t), np.trunc(t), np.rint(t)), x)
    for got, want in zip(
        found, (np.isnan(x), np.isinf(x), np.isfinite(x), np.trunc(x), np.rint(x)), strict=True
    ):
        np.testing.assert_array_equal(got, want)


def test_arrays_of_sizes_that_are_not_known_are_made_like_a_tensor() -> None:
    def f(x: Any) -> Any:
        rows = x.shape[0]
        zeros, ones = np.zeros_like(x, shape=(rows, 2)), np.ones_like(x, shape=[rows], dtype=np.int64)
        return zeros, ones, np.full_like(x, 2.5, shape=3), np.zeros_like(x)

    for rows in (1, 4):
        found = nv.compile(f, "f32[B,3]")(np.ones((rows, 3), np.float32))
        assert [(a.dtype.name, a.shape) for a in found] == [
            ("float32", (rows, 2)), ("int64", (rows,)), ("float32", (3,)), ("float32", (rows, 3)),
        ]  # fmt: skip
        assert [a.sum() for a in found] == [0, rows, 7.5, 0]


@pytest.mark.parametrize("ask", [lambda n: np.zeros((n, 4)), range, int])
def test_a_size_that_is_not_known_is_no_number_and_says_the_way_out(ask: Any) -> None:
    with pytest.raises(nv.NervureError, match="dim B is not known before the program runs") as caught:
        nv.trace(lambda x: x + ask(x.shape[0]), "f32[B,4]")
    assert "np.zeros_like(x, shape=...)" in str(caught.value)
    assert isinstance(caught.value, TypeError), "as Python has it of what is no integer"
