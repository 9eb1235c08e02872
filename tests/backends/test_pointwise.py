"""Thresholds, angles, sums rounded once and bits read anew, on every backend: the ends of every type, to the bit."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir.errors import TypeInferenceError, UnsupportedError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.op import Op
from nervure.ir.ops.elementwise import Atan2
from nervure.ir.ops.pointwise import Bitcast, Fma, Step
from nervure.ir.program import Program
from nervure.ir.types import DTYPES, Array, DType, TensorType, bf16, bool_, dtype_of, f16, f32, f64, i32, i64
from nervure.passes.manager import run_pipeline

BACKENDS = ("reference", "llvm", "onnx")
FLOATS = (f64, f32, f16, bf16)
BITS = {64: np.int64, 32: np.int32, 16: np.int16}
PRECISION = {f64: 53, f32: 24, f16: 11, bf16: 8}


def result(backend: str, op: Op, *arrays: Array) -> Array:
    """The op alone on a backend."""
    operands = [Value(TensorType(dtype_of(a), a.shape), name=f"x{k}") for k, a in enumerate(arrays)]
    program = Program("case", [Graph("forward", operands, make(op, *operands))])
    chosen = find_backend(backend)
    return chosen.compile(run_pipeline(program, chosen.pipeline(0)).program)(*arrays)


def skip_what_is_refused(backend: str, op: str, dtype: DType) -> None:
    if backend == "onnx" and (dtype == bf16 or (op in ("fma", "atan2") and dtype == f64)):
        pytest.skip(f"onnxruntime has no {op} of {dtype}")


def nearest(exact: Fraction, dtype: DType) -> float:
    """A rational number rounded to nearest even, by looking at the neighbours of a guess."""
    top = Fraction(largest(dtype))
    if abs(exact) >= top + top / (2 ** PRECISION[dtype] - 1) / 2:
        return math.inf if exact > 0 else -math.inf
    guess = np.array(float(max(-top, min(exact, top)))).astype(dtype.numpy)
    raw = int(guess.view(BITS[dtype.bits]))
    around = [np.array(raw + k).astype(BITS[dtype.bits]) for k in (-2, -1, 0, 1, 2)]
    found = [(float(b.view(dtype.numpy)), int(b) & 1) for b in around]
    finite = [(v, odd) for v, odd in found if math.isfinite(v)]
    return min(finite, key=lambda c: (abs(Fraction(c[0]) - exact), c[1]))[0]


def largest(dtype: DType) -> float:
    info: Any = ml_dtypes.finfo(dtype.numpy)
    return float(info.max)


def hard_sums(dtype: DType) -> tuple[Array, Array, Array]:
    """Products halfway between two numbers and next to that, with a small number added or taken; and any others."""
    p, rng = PRECISION[dtype], np.random.default_rng(0)
    low, high = 2.0 ** -(p // 2), 2.0 ** -(p - p // 2)
    rows: list[tuple[float, float, float]] = []
    tiny = {f64: 1e-300, f32: 1e-38, f16: 6e-8, bf16: 1e-38}[dtype]
    for x, y, sign in product((1 + low, 1 + 3 * low, 1.0), (1 + high, 1 + 5 * high, 1 - high), (1, -1)):
        for z in (tiny, -tiny, 0.0, -0.0, 2.0 ** -(p + 2), -(2.0 ** -(p + 2)), 1.0, -1.0, -x * y * sign):
            rows.append((x * sign, y, z))
    top = largest(dtype)
    below = top * (1 - 2.0 ** -(p + 1)) if dtype == f64 else top
    rows += [(below, 1.0, z) for z in (top * 2.0 ** -(p + 1), top * 2.0 ** -(p + 2), -tiny, top)]
    rows += [(2.0 ** (math.frexp(top)[1] - 5), y, z) for y in (31.9, 32.0, 33.0) for z in (tiny, -tiny, -top)]
    special = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -2.0)
    rows += list(product(special, special, special))
    found = [np.array(c).astype(dtype.numpy) for c in zip(*rows, strict=True)]
    size = 2.0 ** rng.integers(-6, 7, (3, 2000))
    more = (rng.normal(size=(3, 2000)) * size).astype(dtype.numpy)
    x, y, z = (np.concatenate([a, b]) for a, b in zip(found, more, strict=True))
    return x, y, z


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_reference_rounds_a_product_and_a_sum_once(dtype: DType):
    x, y, z = hard_sums(dtype)
    found = Fma().evaluate(x, y, z).astype(float)
    twice = 0
    for a, b, c, got in zip(*(v.astype(float) for v in (x, y, z)), found, strict=True):
        if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
            with np.errstate(all="ignore"):
                want = float(np.float64(a) * np.float64(b) + np.float64(c))
            assert got == want or (math.isnan(got) and math.isnan(want)), (a, b, c)
            continue
        want = nearest(Fraction(a) * Fraction(b) + Fraction(c), dtype)
        assert got == want, (a, b, c)
        with np.errstate(all="ignore"):
            twice += float(np.array(a).astype(dtype.numpy) * np.array(b).astype(dtype.numpy) + c) != want
    assert twice > 10, "the cases are hard enough"


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_every_backend_rounds_a_product_and_a_sum_once(backend: str, dtype: DType):
    skip_what_is_refused(backend, "fma", dtype)
    x, y, z = hard_sums(dtype)
    want, found = Fma().evaluate(x, y, z), result(backend, Fma(), x, y, z)
    np.testing.assert_array_equal(found.astype(float), want.astype(float))
    real = ~np.isnan(want.astype(float))
    np.testing.assert_array_equal(np.signbit(found)[real], np.signbit(want)[real])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_angle_has_its_quadrant_and_its_sign_at_the_ends(backend: str, dtype: DType):
    skip_what_is_refused(backend, "atan2", dtype)
    ends = np.array([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.3, -3.0, 1e-4, -1e4])
    y, x = (a.ravel().astype(dtype.numpy) for a in np.meshgrid(ends, ends))
    want = np.arctan2(y.astype(float), x.astype(float))
    found = result(backend, Atan2(), y, x).astype(float)
    np.testing.assert_allclose(found, want, rtol=4 * dtype.eps, atol=1e-7 if dtype == f16 else 0)
    real = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(found)[real], np.signbit(want)[real])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_threshold_is_0_below_and_1_above_and_what_was_said_at_0(backend: str, dtype: DType):
    skip_what_is_refused(backend, "step", dtype)
    x = np.array([-math.inf, -1e-7, -0.0, 0.0, 1e-7, math.inf, math.nan]).astype(dtype.numpy)
    for at0 in (0.0, 0.5, 1.0, -3.0):
        found = result(backend, Step(at0), x).astype(float)
        np.testing.assert_array_equal(found, [0, 0, at0, at0, 1, 1, math.nan])


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_bits_are_read_anew_whatever_they_say(backend: str):
    for source, target in product(DTYPES.values(), DTYPES.values()):
        if source.bits != target.bits or bool_ in (source, target):
            continue
        raw = np.random.default_rng(0).integers(0, 256, 400 * source.bytes, dtype=np.uint8)
        x = raw.view(source.numpy)
        found = result(backend, Bitcast(target), x)
        assert found.dtype == target.numpy
        np.testing.assert_array_equal(found.view(np.uint8), raw, err_msg=f"{source} to {target}")


def test_bits_are_refused_by_onnx_and_between_widths():
    with pytest.raises(UnsupportedError, match="bitcast"):
        result("onnx", Bitcast(i32), np.zeros(3, np.float32))
    with pytest.raises(TypeInferenceError, match="f32 has 32 bits and i64 64"):
        Bitcast(i64).infer(TensorType(f32, (3,)))
    with pytest.raises(TypeInferenceError, match="the result is bool"):
        Bitcast(bool_).infer(TensorType(DTYPES["u8"], (3,)))
    x = Value(TensorType(f32, (3,)))
    assert Bitcast(f32).fold(x) is x
    with pytest.raises(TypeInferenceError, match="at0 is nan"):
        Step(math.nan).infer(x.type)
