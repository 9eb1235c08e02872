"""Sorting and running folds on every backend: long lines, equals, NaN, signs of zero, sizes that differ from call to call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir.dims import Dim, symbol
from nervure.ir.errors import TypeInferenceError, UnsupportedError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.op import Op
from nervure.ir.ops.cumulative import CumProd, CumSum
from nervure.ir.ops.nn import LogSumExp
from nervure.ir.ops.sort import Sort, TopK
from nervure.ir.program import Program
from nervure.ir.types import DTYPES, Array, DType, TensorType, bf16, bool_, dtype_of, f16, f32, f64, i8
from nervure.passes.manager import run_pipeline

BACKENDS = ("reference", "llvm", "onnx")
NUMBERS = [d for d in DTYPES.values() if d != bool_]


def results(backend: str, op: Op, x: Array, shape: Sequence[Dim] | None = None) -> tuple[Array, ...]:
    """The op alone on a backend; its operand's shape may be symbolic."""
    operand = Value(TensorType(dtype_of(x), tuple(shape or x.shape)), name="x")
    program = Program("case", [Graph("forward", [operand], make(op, operand))])
    chosen = find_backend(backend)
    found = chosen.compile(run_pipeline(program, chosen.pipeline(0)).program)(x)
    return found if isinstance(found, tuple) else (found,)


def bits(x: Array) -> Array:
    """NaN and the sign of 0 count."""
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")


def numbers(dtype: DType, size: int, seed: int = 0) -> Array:
    """Many equals; floats with both zeros, both infinities and NaN."""
    rng = np.random.default_rng(seed)
    if not dtype.is_float:
        info = np.iinfo(dtype.numpy)
        few = np.array([info.min, info.max, 0, 1, 2, 3, info.max - 1, info.min + 1], dtype.numpy)
        return few[rng.integers(0, len(few), size)]
    few = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -1.5, 2.25, -7.0, 1e-7, -1e-7])
    wide = np.where(rng.random(size) < 0.5, few[rng.integers(0, len(few), size)], rng.normal(size=size))
    return wide.astype(dtype.numpy)


def by_insertion(line: Sequence[float], descending: bool) -> list[int]:
    """The rule of sorting, word by word: stable, NaN greatest."""

    def greater(a: float, b: float) -> bool:
        return (a != a and b == b) or a > b

    order: list[int] = []
    for k, x in enumerate(line):
        at = len(order)
        while at and (greater(x, line[order[at - 1]]) if descending else greater(line[order[at - 1]], x)):
            at -= 1
        order.insert(at, k)
    return order


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_the_reference_sorts_by_the_rule(dtype: DType, descending: bool):
    x = numbers(dtype, 60)
    values, indices = Sort(0, descending).evaluate(x)
    assert indices.tolist() == by_insertion(x.tolist(), descending)
    np.testing.assert_array_equal(bits(values), bits(x[indices]))
    top, places = TopK(7, 0, descending).evaluate(x)
    np.testing.assert_array_equal(bits(top), bits(values[:7]))
    np.testing.assert_array_equal(places, indices[:7])


@pytest.mark.parametrize("size", [1, 2, 31, 64, 65, 96, 127, 1000, 2049])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_lines_of_every_length_are_sorted_to_the_bit(backend: str, size: int):
    x = numbers(f32, size * 3, size).reshape(3, size)
    for op in (Sort(1), Sort(1, True), TopK(size // 2, 1), TopK(min(3, size), 1, False)):
        want = op.evaluate(x)
        found = results(backend, op, x)
        np.testing.assert_array_equal(found[1], want[1])
        np.testing.assert_array_equal(bits(found[0]), bits(want[0]))


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_every_type_is_sorted_on_both_ways_to_the_bit(backend: str, dtype: DType):
    if backend == "onnx" and dtype == bf16:
        pytest.skip("onnxruntime's Python API passes no bf16 arrays")
    for shape, axis in (((9, 5), 0), ((2, 9, 3), 1), ((150, 3), 0), ((2, 150), 1)):
        x = numbers(dtype, int(np.prod(shape))).reshape(shape)
        for op in (Sort(axis), Sort(axis, True), TopK(4, axis), TopK(4, axis, False)):
            want = op.evaluate(x)
            found = results(backend, op, x)
            np.testing.assert_array_equal(found[1], want[1], err_msg=str(op))
            np.testing.assert_array_equal(bits(found[0]), bits(want[0]))


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_one_program_sorts_lines_of_any_size(backend: str):
    n = symbol("N", 0, 1 << 20)
    x = Value(TensorType(f32, (2, n)), name="x")
    program = Program("case", [Graph("forward", [x], make(Sort(1, True), x))])
    chosen = find_backend(backend)
    run = chosen.compile(run_pipeline(program, chosen.pipeline(2)).program)
    for size in (0, 1, 32, 33, 64, 65, 500, 4000):
        data = numbers(f32, 2 * size, size).reshape(2, size)
        values, indices = run(data)
        want = Sort(1, True).evaluate(data)
        np.testing.assert_array_equal(indices, want[1])
        np.testing.assert_array_equal(bits(values), bits(want[0]))


@pytest.mark.parametrize("op", [CumSum, CumProd])
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_running_folds_wrap_and_round_as_numpy_s(backend: str, dtype: DType, op: type[CumSum | CumProd]):
    if backend == "onnx" and dtype == bf16:
        pytest.skip("onnxruntime's Python API passes no bf16 arrays")
    for shape, axis in (((33, 17), 0), ((3, 40), 1), ((2, 5, 3), 1)):
        x = np.random.default_rng(1).integers(-128, 128, shape).astype(dtype.numpy)
        x = (x / 50).astype(dtype.numpy) if dtype.is_float else x
        for made in (op(axis), op(axis, True), op(axis, False, True), op(axis, True, True)):
            want = made.evaluate(x)
            np.testing.assert_array_equal(bits(results(backend, made, x)[0]), bits(want), err_msg=str(made))


def test_running_folds_are_numpy_s():
    x = np.array([[1, 2, 3], [4, 5, 6]], np.int64)
    np.testing.assert_array_equal(CumSum(1).evaluate(x), np.cumsum(x, 1))
    np.testing.assert_array_equal(CumProd(0).evaluate(x), np.cumprod(x, 0))
    np.testing.assert_array_equal(CumSum(1, True).evaluate(x), [[0, 1, 3], [0, 4, 9]])
    np.testing.assert_array_equal(CumProd(1, True, True).evaluate(x), [[6, 3, 1], [30, 6, 1]])
    np.testing.assert_array_equal(CumSum(1, False, True).evaluate(x), [[6, 5, 3], [15, 11, 6]])
    half = np.full(5000, 0.25, np.float16)
    assert CumSum(0).evaluate(half)[-1] == 1250  # kept in f16 the sum would stop at 512
    assert CumSum(0).evaluate(np.array([100, 100], np.int8))[1] == -56


def test_a_running_product_along_what_may_be_empty_is_refused_by_onnx():
    x = Value(TensorType(f32, (symbol("N", 0, 9),)), name="x")
    program = Program("case", [Graph("forward", [x], make(CumProd(0), x))])
    chosen = find_backend("onnx")
    with pytest.raises(UnsupportedError, match="takes no empty sequence"):
        chosen.compile(run_pipeline(program, chosen.pipeline(0)).program)


@pytest.mark.parametrize("dtype", [f64, f32, f16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_logsumexp_holds_where_exponentials_do_not(backend: str, dtype: DType):
    inf, nan = np.inf, np.nan
    rows = [[-inf, -inf], [inf, 1], [-inf, 3], [inf, -inf], [1000, 1000], [-1000, -1000], [nan, 1], [1, nan]]
    x = np.array(rows, dtype.numpy)
    want = [-inf, inf, 3, inf, 1000 + np.log(2), -1000 + np.log(2), nan, nan]
    (found,) = results(backend, LogSumExp((1,)), x)
    np.testing.assert_allclose(found.astype(float), want, rtol=2 * dtype.eps)


def test_wrong_uses_are_told():
    def infer(op: Op, dtype: DType, *shape: Dim) -> None:
        op.infer(TensorType(dtype, shape))

    with pytest.raises(TypeInferenceError, match="k is 4, expected 0 <= k <= 3, the size of axis 0"):
        infer(TopK(4, 0), f32, 3)
    with pytest.raises(TypeInferenceError, match="k is 2, expected 0 <= k <= N"):
        infer(TopK(2, 0), f32, symbol("N", 1, 9))
    with pytest.raises(TypeInferenceError, match="axis 1 is not within"):
        infer(Sort(1), f32, 3)
    with pytest.raises(TypeInferenceError, match="is bool, expected"):
        infer(CumSum(0), bool_, 3)
    with pytest.raises(TypeInferenceError, match="may be empty"):
        infer(LogSumExp((0,)), f32, 0)
    infer(TopK(0, 0), i8, 3)
