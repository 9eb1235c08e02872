"""Every operation of the kernel IR on every element type, against numpy; lanes against scalars, bit for bit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.backends.llvm.kernel_ir import (
    Binary,
    Bits,
    Buffer,
    Call,
    Cast,
    Compare,
    Expr,
    Fma,
    For,
    Kernel,
    Select,
    Unary,
    Var,
)
from nervure.ir.dims import symbol
from nervure.ir.types import DTYPES, DType, bool_, f32, f64, i32

N = symbol("N", 0, 4096)
FLOATS = [d for d in DTYPES.values() if d.is_float]
INTEGERS = [d for d in DTYPES.values() if d.is_integer]
NUMBERS = [*FLOATS, *INTEGERS]


def samples(dtype: DType, n: int = 203, seed: int = 0) -> Any:
    """Random values with the corners of the type among them."""
    rng = np.random.default_rng(seed)
    if dtype == bool_:
        return rng.integers(0, 2, n).astype(bool)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        values = rng.integers(info.min, info.max, n, dtype=dtype.numpy, endpoint=True)
        small = rng.integers(0, 7, n).astype(dtype.numpy)
        values = np.where(rng.random(n) < 0.5, values, small)
        corners = [info.min, info.max, 0, 1, 2, info.max - 1] + ([-1, -2] if dtype.kind == "int" else [])
        values[: len(corners)] = corners
    else:
        wide = rng.standard_normal(n) * np.exp(rng.uniform(-8, 8, n))
        corners = [
            0.0,
            -0.0,
            np.inf,
            -np.inf,
            np.nan,
            1.0,
            -1.0,
            0.5,
            1.5,
            2.5,
            -0.5,
            -1.5,
            1e-7,
            65519.0,
            65520.0,
            3e-8,
        ]
        wide[: len(corners)] = corners
        with np.errstate(all="ignore"):
            values = wide.astype(dtype.numpy)
    return rng.permutation(values)


def run(compiled: Any, result: DType, inputs: list[tuple[DType, Any]], value: Any) -> Any:
    """The results of an expression over the inputs, from a vector loop; a serial loop must give the same bits."""
    n = len(inputs[0][1])
    buffers = [Buffer(f"x{k}", d, (N,)) for k, (d, _) in enumerate(inputs)]
    vector, scalar = Buffer("v", result, (N,)), Buffer("s", result, (N,))
    i, j = Var("i"), Var("j")
    body = (
        For(i, N, (vector.store(i, value(*(b[i] for b in buffers))),), "vector"),
        For(j, N, (scalar.store(j, value(*(b[j] for b in buffers))),)),
    )
    kernel = compiled(Kernel("k", (*buffers, vector, scalar), body))
    a, b = np.zeros(n, result.numpy), np.zeros(n, result.numpy)
    kernel(*(x for _, x in inputs), a, b, N=n)
    nan = a != a
    np.testing.assert_array_equal(nan, b != b)
    np.testing.assert_array_equal(np.where(nan, 0, a).view(np.uint8), np.where(nan, 0, b).view(np.uint8))
    return a


def check(got: Any, want: Any) -> None:
    """Equal, NaN to NaN and zero to zero of its sign."""
    assert got.dtype == want.dtype or want.dtype == bool
    if want.dtype.kind in "fV" or want.dtype.name == "bfloat16":
        with np.errstate(invalid="ignore"):  # signalling NaNs
            got, want = got.astype("f8"), want.astype("f8")
        zero = (want == 0) & (got == 0)
        np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(want)[zero])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "min", "max"])
def test_float_and_integer_arithmetic_is_numpys_and_total(compiled: Any, op: Any, dtype: DType) -> None:
    x, y = samples(dtype, seed=1), samples(dtype, seed=2)
    got = run(compiled, dtype, [(dtype, x), (dtype, y)], lambda a, b: Binary(op, a, b))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if op == "div" and dtype.is_integer:
            want = np.array(
                [truncated(int(a), int(b), dtype)[0] for a, b in zip(x, y, strict=True)], dtype.numpy
            )
        else:
            function = {
                "add": np.add,
                "sub": np.subtract,
                "mul": np.multiply,
                "div": np.divide,
                "min": np.minimum,
                "max": np.maximum,
            }[op]
            want = function(x, y)
    if op in ("min", "max"):
        np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))
    else:
        check(got, want)


def truncated(a: int, b: int, dtype: DType) -> tuple[int, int]:
    """a / b and a % b towards zero; 0 for b = 0, wrapped to the type."""
    if b == 0:
        return 0, 0
    q = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    r = a - q * b
    bits = dtype.bits
    if dtype.kind == "int" and q == 1 << (bits - 1):
        q = -(1 << (bits - 1))
    return q, r


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("op", ["rem", "floordiv", "mod", "and", "or", "xor", "shl", "shr"])
def test_integer_division_logic_and_shifts_are_total(compiled: Any, op: Any, dtype: DType) -> None:
    x, y = samples(dtype, seed=3), samples(dtype, seed=4)
    if op in ("shl", "shr"):
        y = np.abs(y.astype(np.int64) % 80).astype(dtype.numpy)
    got = run(compiled, dtype, [(dtype, x), (dtype, y)], lambda a, b: Binary(op, a, b))
    mask = (1 << dtype.bits) - 1

    def want(a: int, b: int) -> int:
        match op:
            case "rem":
                value = truncated(a, b, dtype)[1]
            case "floordiv":
                value = a // b if b else 0
            case "mod":
                value = a % b if b else 0
            case "and":
                value = a & b
            case "or":
                value = a | b
            case "xor":
                value = a ^ b
            case "shl":
                value = a << b if b < dtype.bits else 0
            case _:
                value = a >> b if b < dtype.bits else 0
        value &= mask
        return value - (mask + 1) if dtype.kind == "int" and value >> (dtype.bits - 1) else value

    check(got, np.array([want(int(a), int(b)) for a, b in zip(x, y, strict=True)], dtype.numpy))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("op", ["neg", "abs", "sqrt", "floor", "ceil", "round_even"])
def test_unary_functions_of_floats_are_numpys(compiled: Any, op: Any, dtype: DType) -> None:
    x = samples(dtype)
    got = run(compiled, dtype, [(dtype, x)], lambda a: Unary(op, a))
    function = {
        "neg": np.negative,
        "abs": np.abs,
        "sqrt": np.sqrt,
        "floor": np.floor,
        "ceil": np.ceil,
        "round_even": np.rint,
    }[op]
    with np.errstate(all="ignore"):
        check(got, function(x))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_unary_functions_of_integers_wrap(compiled: Any, dtype: DType) -> None:
    x = samples(dtype)
    with np.errstate(all="ignore"):
        check(run(compiled, dtype, [(dtype, x)], lambda a: Unary("neg", a)), np.negative(x))
        check(run(compiled, dtype, [(dtype, x)], lambda a: Unary("abs", a)), np.abs(x))
        check(run(compiled, dtype, [(dtype, x)], lambda a: Unary("not", a)), np.invert(x))


@pytest.mark.parametrize("dtype", [*NUMBERS, bool_], ids=str)
def test_comparisons_are_ordered_except_ne(compiled: Any, dtype: DType) -> None:
    x, y = samples(dtype, seed=5), samples(dtype, seed=6)
    y[:40] = x[:40]
    names = {
        "eq": np.equal,
        "ne": np.not_equal,
        "lt": np.less,
        "le": np.less_equal,
        "gt": np.greater,
        "ge": np.greater_equal,
    }
    for op, function in names.items():
        got = run(compiled, bool_, [(dtype, x), (dtype, y)], lambda a, b, op=op: Compare(op, a, b))
        with np.errstate(all="ignore"):
            check(got, function(x, y))


@pytest.mark.parametrize("target", [*NUMBERS, bool_], ids=str)
@pytest.mark.parametrize("source", [*NUMBERS, bool_], ids=str)
def test_casts_truncate_saturate_and_take_nan_to_zero(compiled: Any, source: DType, target: DType) -> None:
    x = samples(source)
    got = run(compiled, target, [(source, x)], lambda a: Cast(a, target))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source.is_float and target.is_integer:
            info = np.iinfo(target.numpy)
            exact = [
                0 if v != v else info.max if v == np.inf else info.min if v == -np.inf else int(v)
                for v in x.astype(np.float64)
            ]
            want = np.array([min(max(v, info.min), info.max) for v in exact], target.numpy)
        elif target == bool_:
            want = x != 0
        else:
            want = x.astype(target.numpy)
    check(got, want)


def test_every_f16_and_bf16_survives_the_way_to_f32_and_back(compiled: Any) -> None:
    for name in ("f16", "bf16"):
        dtype = DTYPES[name]
        x = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
        wide = run(compiled, f32, [(dtype, x)], lambda a: Cast(a, f32))
        check(wide, x.astype(np.float32))
        back = run(compiled, dtype, [(f32, wide)], lambda a, dtype=dtype: Cast(a, dtype))
        nan = wide != wide
        np.testing.assert_array_equal(back.view(np.uint16)[~nan], x.view(np.uint16)[~nan])
        assert np.isnan(back.astype(np.float32))[nan].all()


def test_f64_to_f16_rounds_once(compiled: Any) -> None:
    f16 = DTYPES["f16"]
    bits = np.random.default_rng(1).integers(0, 0x7C00, 5000).astype(np.uint16)
    low = bits.view(np.float16).astype(np.float64)
    high = np.minimum(bits + 1, 0x7C00).astype(np.uint16).view(np.float16).astype(np.float64)
    middle = np.where(np.isfinite(high), (low + high) / 2, 65520.0)
    x = np.concatenate(
        [middle, np.nextafter(middle, 0), np.nextafter(middle, 1e9), middle * (1 + 2.0**-40), -middle]
    )
    got = run(compiled, f16, [(f64, x)], lambda a: Cast(a, f16))
    with np.errstate(over="ignore"):
        check(got, x.astype(np.float16))


def test_fma_rounds_once(compiled: Any) -> None:
    rng = np.random.default_rng(7)
    x, y = (
        (1 + rng.integers(0, 1 << 12, 500) * 2.0**-23).astype("f4"),
        (1 + rng.integers(0, 1 << 12, 500) * 2.0**-23).astype("f4"),
    )
    z = -(x * y)
    got = run(compiled, f32, [(f32, x), (f32, y), (f32, z)], Fma)
    check(got, (x.astype("f8") * y.astype("f8") + z.astype("f8")).astype("f4"))
    assert (got != 0).any()


@pytest.mark.parametrize("cpu", ["host", "x86-64"])
def test_fma_rounds_once_where_a_sum_in_f64_is_halfway(compiled: Any, cpu: str) -> None:
    """The product lies between two floats; what f64 loses of z decides."""
    from nervure.backends.llvm.target import make_target

    x = np.array([1 + 2.0**-12, -1 - 2.0**-12] * 4, "f4")
    z = np.array([2.0**-60, 2.0**-60, -(2.0**-60), -(2.0**-60), 0, 0, np.inf, np.nan], "f4")
    buffers = [Buffer(name, f32, (8,)) for name in "xyzo"]
    i = Var("i")
    store = buffers[3].store(i, Fma(*(b[i] for b in buffers[:3])))
    kernel = compiled(Kernel("k", tuple(buffers), (For(i, 8, (store,), "vector"),)), make_target(cpu))
    got = np.empty_like(x)
    kernel(x, np.abs(x), z, got)
    low, high = np.float32(1 + 2.0**-11), np.float32(1 + 2.0**-11 + 2.0**-23)
    np.testing.assert_array_equal(got, [high, -low, low, -high, low, -low, np.inf, np.nan])


def test_select_and_bits_move_values(compiled: Any) -> None:
    c, x, y = samples(bool_), samples(f32, seed=8), samples(f32, seed=9)
    check(run(compiled, f32, [(bool_, c), (f32, x), (f32, y)], Select), np.where(c, x, y))
    check(run(compiled, i32, [(f32, x)], lambda a: Bits(a, i32)), x.view(np.int32))


@pytest.mark.parametrize("dtype", [f32, f64, DTYPES["f16"], DTYPES["bf16"]], ids=str)
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf"])
def test_functions_of_mathematics_hold_their_bound(compiled: Any, name: Any, dtype: DType) -> None:
    from math import erf

    x = samples(dtype)
    x = np.where(np.abs(x.astype("f8")) > 1e4, x * dtype.numpy.type(0.001), x).astype(dtype.numpy)
    got = run(compiled, dtype, [(dtype, x)], lambda a: Call(name, (a,))).astype("f8")
    wide = x.astype("f8")
    with np.errstate(all="ignore"):
        reference = {
            "sigmoid": lambda v: np.where(v >= 0, 1 / (1 + np.exp(-v)), np.exp(v) / (1 + np.exp(v))),
            "erf": np.vectorize(erf),
        }.get(name, getattr(np, name, None))
        want = reference(wide)  # pyright: ignore[reportOptionalCall]
        want = np.where(np.isneginf(wide) & (name == "sigmoid"), 0.0, want)
        narrow = want.astype(dtype.numpy).astype("f8")
    np.testing.assert_array_equal(got != got, narrow != narrow)
    np.testing.assert_array_equal(np.isinf(got), np.isinf(narrow))
    ok = np.isfinite(narrow)
    np.testing.assert_allclose(
        got[ok], want[ok], rtol=4 * dtype.eps, atol=1e-37 if dtype == f32 else 1e-7 if dtype.bits == 16 else 0
    )


def test_pow_atan2_and_rem_are_cs(compiled: Any) -> None:
    x, y = np.abs(samples(f64, seed=1)), samples(f64, seed=2)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            run(compiled, f64, [(f64, x), (f64, y)], lambda a, b: Call("pow", (a, b))),
            np.power(x, y),
            rtol=1e-15,
        )
        np.testing.assert_allclose(
            run(compiled, f64, [(f64, x), (f64, y)], lambda a, b: Call("atan2", (a, b))),
            np.arctan2(x, y),
            rtol=1e-15,
        )
        check(run(compiled, f64, [(f64, x), (f64, y)], lambda a, b: Binary("rem", a, b)), np.fmod(x, y))


def test_an_expression_that_is_shared_is_computed_once(compiled: Any) -> None:
    x, y = Buffer("x", f32, (64,)), Buffer("y", f32, (64,))
    i = Var("i")
    e: Expr = x[i]
    for _ in range(40):
        e = e * e
    text = compiled(Kernel("k", (x, y), (For(i, 64, (y.store(i, e),), "vector"),))).text
    assert text.count("fmul") == 40


@pytest.mark.parametrize("shape", [(40, 1024), (5, 8, 300), (3, 40, 130), (33, 257)])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_long_rows_are_reduced_row_by_row_in_the_order_of_one_column_after_another(
    shape: tuple[int, ...], dtype: str
) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype({"f32": "f4", "f64": "f8"}[dtype])
    axes = tuple(range(len(shape) - 1)) if shape[0] != 3 else (1,)
    spec = f"{dtype}[{','.join(map(str, shape))}]"
    total = nv.compile(lambda v: v.sum(axes), spec, threads=1)(x)
    flat = x.reshape(3, 40, 130) if shape[0] == 3 else x.reshape(1, -1, shape[-1])
    wanted = np.zeros((flat.shape[0], flat.shape[2]), x.dtype)
    for row in range(flat.shape[1]):
        wanted += flat[:, row]
    np.testing.assert_array_equal(total.reshape(wanted.shape), wanted)
    np.testing.assert_array_equal(nv.compile(lambda v: v.sum(axes), spec, threads=2)(x), total)
    np.testing.assert_array_equal(nv.compile(lambda v: v.max(axes), spec)(x), x.max(axes))
