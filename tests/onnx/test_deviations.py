"""Each row of the table of deviations: that it is there, and no larger than it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nervure.backends.onnx.deviations import DEVIATIONS, ERRORS, as_markdown
from nervure.ir.op import OPS
from nervure.ir.ops.cells import Rnn
from nervure.ir.ops.elementwise import Log1p, Select, Sigmoid, Tanh
from nervure.ir.ops.index import ScatterElements
from nervure.ir.ops.quant import DynamicQuantize, Quantize
from nervure.ir.ops.reduce import ArgMax, ArgMin, ReduceMax, ReduceMin, ReduceSum
from nervure.ir.ops.window import MaxPool
from nervure.ir.types import Array, u8

NAN = np.float32(np.nan)
F32 = np.float32


def test_every_row_has_a_test_here_and_names_ops_that_exist():
    tested = {
        name.removeprefix("test_row_").replace("_", "-") for name in globals() if name.startswith("test_row_")
    }
    assert tested == {d.name for d in DEVIATIONS}
    assert {op for d in DEVIATIONS for op in d.ops} <= set(OPS)


def test_the_page_of_the_documentation_is_the_table():
    page = Path(__file__).parents[2] / "docs" / "onnx-deviations.md"
    assert page.read_text() == as_markdown()


def test_row_max_pool_nan(alone):
    pool = MaxPool((3,), (3,), ((0, 0),), (1,))
    x = np.array([[[1, NAN, 2, NAN, 1, 2, 3, 1, 2]]], F32)
    found, expected = alone(pool, x)
    assert np.isnan(expected[0][0, 0, :2]).all()
    assert not np.isnan(found[0]).all()
    assert found[0][0, 0, 2] == expected[0][0, 0, 2] == 3
    assert found[1][0, 0, 2] == expected[1][0, 0, 2] == 6


def test_row_reduce_extreme_nan(alone):
    x = np.array([[np.inf, NAN, 0], [NAN, np.inf, 0], [1, 3, 2]], F32)
    for op in (ReduceMax((1,)), ReduceMin((1,))):
        found, expected = alone(op, x)
        assert np.isnan(expected[0][:2]).all()
        assert not np.isnan(found[0]).all()
        assert found[0][2] == expected[0][2]


def test_row_arg_extreme_nan(alone):
    x = np.array([[np.inf, NAN, 0], [NAN, 1, 0], [1, 3, 2]], F32)
    for op in (ArgMax(1), ArgMin(1)):
        found, expected = alone(op, x)
        assert expected[0].tolist()[:2] == [1, 0]
        assert found[0][0] != 1
        assert found[0][2] == expected[0][2]


def test_row_scatter_extreme_nan(alone):
    x, updates = np.array([NAN, 1, 2], F32), np.array([5, NAN, 4, 6], F32)
    for mode in ("min", "max"):
        found, expected = alone(ScatterElements(0, mode), x, np.array([0, 1, 1, 2]), updates)
        assert np.isnan(expected[0][:2]).all()
        assert not np.isnan(found[0]).all()
        assert found[0][2] == expected[0][2]


def test_row_sigmoid_tail(alone):
    x = np.linspace(-60, 60, 1201, dtype=F32)
    found, expected = alone(Sigmoid(), x)
    assert (found[0][x < -20] == 0).all() and (expected[0][x < -20] > 0).all()
    check_error("sigmoid", lambda x: alone(Sigmoid(), x)[0][0], Sigmoid().evaluate)


def test_row_tanh_ulps(alone):
    check_error("tanh", lambda x: alone(Tanh(), x)[0][0], np.tanh)


def test_row_rnn_small(alone):
    w, r = np.ones((1, 1, 1), F32), np.zeros((1, 1, 1), F32)
    check_error("rnn", lambda x: alone(Rnn(), x.reshape(1, -1, 1), w, r)[0][0].ravel(), np.tanh)


def check_error(name: str, found: Callable[[Array], Array], right: Callable[..., Any]) -> None:
    """The stated error holds over a dense sample, and is not twice as large as it need be."""
    near = np.geomspace(1e-7, 20, 40_000)
    x = np.concatenate([np.linspace(-100, 100, 400_001), near, -near]).astype(F32)
    exact = np.asarray(right(x.astype(np.float64)))
    error = ERRORS[name]
    share = np.abs(found(x) - exact) / (error.relative * np.abs(exact) + error.absolute + 1e-45)
    assert 0.5 < share.max() <= 1


def test_row_quantize_nan(alone):
    x, scale, zero_point = np.array([NAN, 3, 9], F32), F32(0.5), np.uint8(7)
    found, expected = alone(Quantize(u8), x, scale, zero_point)
    assert expected[0].tolist() == [0, 13, 25]
    assert found[0].tolist()[1:] == [13, 25]
    found, expected = alone(DynamicQuantize(), x)
    assert np.isnan(expected[1]) and not expected[0].any()
    assert not np.isnan(found[1]) or found[0].any()


def test_row_sign_of_zero(alone):
    zero = np.array([-0.0], F32)
    for op, operands in (
        (Select(), (np.array([True]), zero, np.array([1.0], F32))),
        (Log1p(), (zero,)),
        (ReduceSum((0,)), (zero,)),
    ):
        found, expected = alone(op, *operands)
        assert found[0] == expected[0] == 0
        assert np.signbit(found[0]) != np.signbit(expected[0])
