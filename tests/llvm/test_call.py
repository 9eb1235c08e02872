"""The call without a Python frame: what fits takes it, everything else takes Python's way, and both give the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calling import Calls, Lent, array, linear, several

from nervure import nn
from nervure.backends.llvm.call.trampoline import trampoline
from nervure.ir.errors import InputError
from nervure.ir.types import dtype_of
from nervure.runtime import interpreter

known = pytest.mark.skipif(interpreter.refusal() is not None, reason="calls go through ctypes here")


@known
def test_this_interpreter_is_known() -> None:
    assert trampoline() is not None


def test_a_call_that_fits_takes_no_frame() -> None:
    calls = linear()
    weight, bias = (e.data for e in calls.run.store.values())
    x = array(1, 7)
    first, second = calls(x), calls(x)
    assert first is not second
    assert (first.shape, first.dtype) == ((1, 5), np.float32)
    assert first.flags.carray
    assert first.flags.owndata
    np.testing.assert_array_equal(first, second)
    # a larger arena is made by Python's way, once
    for rows in (64, 3, 0, 1, 64):
        x = array(rows, 7, seed=rows)
        calls.run(x)
        np.testing.assert_allclose(calls(x), x @ weight.T + bias, rtol=1e-5, atol=1e-5)


def test_several_inputs_and_outputs() -> None:
    calls = several()
    for n, m in ((2, 3), (0, 4), (9, 9), (1, 1), (5, 0)):
        a, b, c = array(n, m), array(n, m, seed=1), np.arange(m)
        calls.run(a, b, c)
        total, twice, scalar = calls(a, b, c)
        np.testing.assert_array_equal(total, a + b)
        np.testing.assert_array_equal(twice, c * 2)
        assert scalar.shape == ()
        np.testing.assert_allclose(scalar, (a * b).sum(), rtol=1e-5, atol=1e-6)


def test_a_size_that_is_a_multiple_says_what_its_symbol_is() -> None:
    calls = Calls(lambda x, y: (x * 2, y + 1), "f32[32*H:1..40,3*W:1..9+1]", "f32[H,W]")
    calls(array(32, 4), array(1, 1), fast=False)
    alone = Calls(lambda x: x * 2, "f32[32*H,3*W+1]")
    alone(array(32, 4), fast=False)
    for h, w in ((2, 3), (1, 1), (40, 9), (7, 2)):
        x, y = array(32 * h, 3 * w + 1), array(h, w)
        calls.run(x, y)
        found, more = calls(x, y)
        np.testing.assert_array_equal(found, x * 2)
        np.testing.assert_array_equal(more, y + 1)
        alone.run(x)
        np.testing.assert_array_equal(alone(x), x * 2)
    for shape, message in (
        ((33, 4), r"axis 0 is 33, expected 32\*H"),
        ((32, 5), r"axis 1 is 5, expected 3\*W\+1"),
        ((32, 0), r"axis 1 is 0, expected 3\*W\+1"),
    ):
        with pytest.raises(InputError, match=message):
            alone(array(*shape), fast=False)
    with pytest.raises(InputError, match=r"axis 0 is 64, expected 32\*H = 32"):
        calls(array(64, 4), array(1, 1), fast=False)
    with pytest.raises(InputError, match=r"axis 0 is 41, but H is 1..40"):
        calls(array(32 * 41, 4), array(41, 1), fast=False)


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "i64", "i32", "i16", "i8", "u8", "bool"])
def test_every_type_of_element(dtype: str) -> None:
    calls = Calls(lambda x: x.reshape(6), f"{dtype}[2,3]")
    x = (array(2, 3) * 3).astype(dtype_of(dtype).numpy)
    calls(x, fast=False)
    np.testing.assert_array_equal(calls(x), x.reshape(6))


def test_extents_that_are_computed() -> None:
    calls = Calls(nn.Conv2d(1, 2, 3, stride=2), "f32[B:1..8,1,H:3..64,W:3..64]")
    for shape in ((1, 1, 9, 12), (2, 1, 3, 3), (8, 1, 64, 63)):
        x = array(*shape)
        want = calls.run(x)
        got = calls(x)
        assert got.shape == (shape[0], 2, (shape[2] - 3) // 2 + 1, (shape[3] - 3) // 2 + 1)
        np.testing.assert_array_equal(got, want)


class Sub(np.ndarray[Any, Any]):
    """A subclass may do as it likes when it is read."""


def misaligned(x: Any) -> Any:
    raw = np.zeros(x.nbytes + 1, "u1")[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    return raw


SLOW_FORMS: dict[str, Callable[[Any], Any]] = {
    "a subclass": lambda x: x.view(Sub),
    "columns first": np.asfortranarray,
    "a slice": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[:, ::-1][:, ::-1].copy()[:, ::-1][:, ::-1][::1],
    "misaligned": misaligned,
    "lists": lambda x: x.tolist(),
    "DLPack": Lent,
}


@pytest.mark.parametrize("form", SLOW_FORMS)
def test_other_forms_of_input_take_pythons_way(form: str) -> None:
    calls = linear()
    x = array(3, 7)
    want = calls.run(x)
    given = SLOW_FORMS[form](x)
    plain = type(given) is np.ndarray and given.flags.carray
    np.testing.assert_array_equal(calls(given, fast=plain), want)
    np.testing.assert_array_equal(calls(x), want)


def test_inputs_may_be_read_only() -> None:
    calls = linear()
    x = array(3, 7)
    want = calls.run(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(calls(x), want)


WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "none": ((), "expected 1 inputs"),
    "two": ((array(1, 7), array(1, 7)), "expected 1 inputs"),
    "type": ((array(1, 7, dtype="f8"),), "element type is float64"),
    "bytes swapped": ((array(1, 7).astype(">f4"),), "element type is >f4"),
    "rank": ((array(7),), "rank is 1"),
    "extent": ((array(1, 8),), "axis 1 is 8, expected 7"),
    "range": ((array(65, 7),), r"B is 0\.\.64"),
    "an object": ((object(),), "element type is object"),
    "None": ((None,), "element type is object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs_are_errors_before_and_after(case: str) -> None:
    args, message = WRONG[case]
    calls = linear()
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            calls.run(*args)
        calls(array(1, 7))


def test_dims_that_disagree_are_errors() -> None:
    calls = several()
    with pytest.raises(InputError, match="axis 1 is 4, but M is 3"):
        calls.run(array(2, 3), array(2, 4), np.zeros(3, "i8"))
    with pytest.raises(InputError, match="axis 0 is 4, but M is 3"):
        calls.run(array(2, 3), array(2, 3), np.zeros(4, "i8"))


def test_keywords_other_than_out_are_errors() -> None:
    calls = linear()
    x = array(1, 7)
    for names in ({"x": x}, {"out": x, "more": 1}):
        with pytest.raises(TypeError):
            calls.run(*(() if "x" in names else (x,)), **names)
    assert calls(x, out=None).shape == (1, 5)


def test_out_is_filled_and_given_back() -> None:
    calls = linear()
    x, y = array(3, 7), np.zeros((3, 5), "f4")
    want = calls.run(x)
    assert calls(x, out=y) is y
    np.testing.assert_array_equal(y, want)
    y[:] = 0
    given = (y,)
    assert calls(x, out=given) is given
    np.testing.assert_array_equal(y, want)
    in_list = [np.zeros_like(y)]
    assert calls(x, out=in_list, fast=False) is in_list
    np.testing.assert_array_equal(in_list[0], want)


def test_several_outs() -> None:
    calls = several()
    a, b, c = array(2, 3), array(2, 3, seed=1), np.arange(3)
    want = calls.run(a, b, c)
    out = np.zeros((2, 3), "f4"), np.zeros(3, "i8"), np.zeros((), "f4")
    assert calls(a, b, c, out=out) is out
    for got, expected in zip(out, want, strict=True):
        np.testing.assert_array_equal(got, expected)


def locked(y: Any) -> Any:
    y.flags.writeable = False
    return y


BAD_OUT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shape": (lambda x: np.zeros((3, 4), "f4"), "does not fit"),
    "type": (lambda x: np.zeros((3, 5), "f8"), "does not fit"),
    "read-only": (lambda x: locked(np.zeros((3, 5), "f4")), "not a writable"),
    "strided": (lambda x: np.zeros((3, 10), "f4")[:, ::2], "not a writable"),
    "subclass": (lambda x: np.zeros((3, 5), "f4").view(Sub), "does not fit"),
    "no array": (lambda x: "out", "does not fit"),
    "too many": (lambda x: (np.zeros((3, 5), "f4"),) * 2, "has 2 arrays, expected 1"),
    "the input": (lambda x: x.reshape(-1)[3:18].reshape(3, 5), "overlaps an input"),
    "all of the input": (lambda x: x.reshape(-1)[:15].reshape(3, 5), "overlaps an input"),
}


@pytest.mark.parametrize("case", BAD_OUT)
def test_an_out_that_does_not_fit_is_an_error_and_is_not_written(case: str) -> None:
    make, message = BAD_OUT[case]
    calls = linear()
    x = array(3, 7)
    calls.run(x)
    y, before = make(x), x.copy()
    with pytest.raises(InputError, match=message):
        calls.run(x, out=y)
    np.testing.assert_array_equal(x, before)


def test_outs_that_overlap_each_other_are_an_error() -> None:
    calls = Calls(lambda x: (x + 1, x * 2), "f32[4]")
    x, both = array(4), np.zeros(6, "f4")
    calls(x, fast=False)
    with pytest.raises(InputError, match="overlaps another output"):
        calls.run(x, out=(both[:4], both[2:]))
    beside = np.zeros(8, "f4")
    calls(x, out=(beside[:4], beside[4:]))
    np.testing.assert_array_equal(beside, np.concatenate([x + 1, x * 2]))


class Twice(nn.Module):
    """No input, and a weight that is its own result doubled."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.arange(3, dtype="f4"))

    def __call__(self) -> Any:
        return self.weight * 2.0


def test_a_program_without_inputs() -> None:
    calls = Calls(Twice())
    calls(fast=False)
    np.testing.assert_array_equal(calls(), [0, 2, 4])
    with pytest.raises(InputError, match="expected 0 inputs"):
        calls.run(1)
