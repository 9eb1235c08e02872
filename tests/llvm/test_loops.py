"""Loops, reductions, masks, predicates and memory access of the kernel IR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nervure.backends.llvm.kernel_ir import (
    Buffer,
    Carry,
    For,
    If,
    Kernel,
    Let,
    LoopDim,
    Reduce,
    Select,
    Var,
    argmax,
    as_index,
    const,
    reduction,
    zero,
)
from nervure.backends.llvm.lower.loops import nest_in_parts
from nervure.backends.llvm.target import make_target
from nervure.ir.dims import symbol
from nervure.ir.types import DTYPES, f32, f64, i32, i64

N, M = symbol("N", 0, 4096), symbol("M", 0, 4096)
SIZES = [0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 100]


def partial_sum(x: Any) -> Any:
    """The declared order: 16 interleaved partials, then halves."""
    partials = np.zeros(16, x.dtype)
    for start in range(0, len(x), 16):
        piece = x[start : start + 16]
        partials[: len(piece)] += piece
    while len(partials) > 1:
        half = len(partials) // 2
        partials = partials[:half] + partials[half:]
    return partials[0]


@pytest.mark.parametrize("cpu", ["host", "haswell", "x86-64"])
def test_a_sum_has_the_declared_order_on_every_target(compiled: Any, cpu: str) -> None:
    x, y = Buffer("x", f32, (N,)), Buffer("y", f32, ())
    s, i = Var("s", f32), Var("i")
    run = compiled(
        Kernel("k", (x, y), (reduction("add", s, [LoopDim(i, N)], x[i]), y.store((), s))), make_target(cpu)
    )
    for n in SIZES:
        data, out = np.random.default_rng(n).standard_normal(n).astype("f4"), np.zeros((), "f4")
        run(data, out, N=n)
        assert out == partial_sum(data)


@pytest.mark.parametrize("name", ["f64", "f32", "f16", "i64", "i8", "u32", "bool"])
@pytest.mark.parametrize("op", ["add", "mul", "min", "max"])
def test_reductions_over_two_axes_agree_with_numpy(compiled: Any, op: Any, name: str) -> None:
    dtype = DTYPES[name]
    if name == "bool":
        op = {"add": "or", "mul": "and", "min": "and", "max": "or"}[op]
    x, y = Buffer("x", dtype, (5, 3, N)), Buffer("y", dtype, (5,))
    o, i, j, s = Var("o"), Var("i"), Var("j"), Var("s", dtype)
    body = (reduction(op, s, [LoopDim(i, 3), LoopDim(j, N)], x[o, i, j]), y.store(o, s))
    run = compiled(Kernel("k", (x, y), (For(o, 5, body),)))
    for n in (1, 16, 37):
        data = np.random.default_rng(n).integers(1, 3, (5, 3, n)).astype(dtype.numpy)
        if name == "bool":
            data = np.random.default_rng(n).random((5, 3, n)) < 0.5
        out = np.zeros(5, dtype.numpy)
        run(data, out, N=n)
        with np.errstate(all="ignore"):
            if op in ("add", "mul"):
                want = (np.sum if op == "add" else np.prod)(data, (1, 2), dtype=dtype.numpy)
            else:
                want = {"min": np.min, "max": np.max, "and": np.all, "or": np.any}[op](data, (1, 2))
        np.testing.assert_array_equal(out, want)


def test_argmax_gives_the_first_of_equal_ones_and_the_first_nan(compiled: Any) -> None:
    x, v, p = Buffer("x", f32, (N,)), Buffer("v", f32, ()), Buffer("p", i64, ())
    value, place, i = Var("value", f32), Var("place", i64), Var("i")
    run = compiled(
        Kernel(
            "k",
            (x, v, p),
            (
                Reduce((value, place), argmax(f32), (LoopDim(i, N),), (x[i], i)),
                v.store((), value),
                p.store((), place),
            ),
        )
    )
    rng = np.random.default_rng(0)
    for n in (1, 5, 16, 40, 64):
        for nans in (0, 1, 2):
            data = rng.integers(0, 4, n).astype("f4")
            data[rng.integers(0, n, nans)] = np.nan
            best, where = np.zeros((), "f4"), np.zeros((), "i8")
            run(data, best, where, N=n)
            assert where == np.argmax(data)
    data = np.full(20, -np.inf, "f4")
    run(data, best, where, N=20)
    assert where == 0


def test_maps_of_every_size_touch_nothing_outside(compiled: Any) -> None:
    for name in ("f64", "f32", "bf16", "i8", "bool"):
        dtype = DTYPES[name]
        x, y = Buffer("x", dtype, (N,)), Buffer("y", dtype, (N,))
        i = Var("i")
        run = compiled(Kernel("k", (x, y), (For(i, N, (y.store(i, x[i]),), "vector"),)))
        for n in SIZES:
            data = np.random.default_rng(n).integers(0, 2, n).astype(dtype.numpy)
            out = np.full(n + 64, 1, np.uint8).repeat(dtype.bytes).view(dtype.numpy).copy()
            before = out.copy()
            run(data, out, N=n)
            np.testing.assert_array_equal(out[:n], data)
            np.testing.assert_array_equal(out[n:].view(np.uint8), before[n:].view(np.uint8))


def test_strides_gather_and_reverse_and_broadcast(compiled: Any) -> None:
    x, y = Buffer("x", f32, (N, M)), Buffer("y", f32, (M, N))
    i, j, k = Var("i"), Var("j"), Var("k")
    turned = compiled(Kernel("k", (x, y), (For(i, M, (For(j, N, (y.store((i, j), x[j, i]),), "vector"),)),)))
    data = np.random.default_rng(0).standard_normal((21, 19)).astype("f4")
    out = np.zeros((19, 21), "f4")
    turned(data, out, N=21, M=19)
    np.testing.assert_array_equal(out, data.T)

    z, r = Buffer("z", f32, (N,)), Buffer("r", f32, (N,))
    back = compiled(Kernel("k", (z, r), (For(k, N, (r.store(k, z[as_index(N) - 1 - k] + z[0]),), "vector"),)))
    line, out = np.arange(37, dtype="f4"), np.zeros(37, "f4")
    back(line, out, N=37)
    np.testing.assert_array_equal(out, line[::-1])


def test_a_load_with_a_predicate_touches_no_memory_outside(compiled: Any) -> None:
    x, y = Buffer("x", f32, (N,)), Buffer("y", f32, (as_dim(),))
    i = Var("i")
    for kind in ("vector", "serial"):
        value = x.at(i - 5, inside=(i >= 5) & (i < as_index(N) + 5), otherwise=const(-1.0, f32))
        run = compiled(Kernel("k", (x, y), (For(i, as_dim(), (y.store(i, value),), kind),)))  # type: ignore[arg-type]
        for n in (0, 1, 20):
            data, out = np.arange(n, dtype="f4"), np.zeros(n + 10, "f4")
            run(data, out, N=n)
            np.testing.assert_array_equal(out, np.pad(data, 5, constant_values=-1))


def as_dim() -> Any:
    return N + 10


def test_masked_stores_leave_the_rest_alone(compiled: Any) -> None:
    x, y = Buffer("x", f32, (N,)), Buffer("y", f32, (N,))
    i = Var("i")
    for kind in ("vector", "serial"):
        run = compiled(Kernel("k", (x, y), (For(i, N, (y.store(i, x[i], mask=x[i] > 0.0),), kind),)))  # type: ignore[arg-type]
        data, out = np.random.default_rng(1).standard_normal(45).astype("f4"), np.full(45, 9, "f4")
        run(data, out, N=45)
        np.testing.assert_array_equal(out, np.where(data > 0, data, 9))


def test_a_store_may_add_to_what_is_there_by_a_computed_index(compiled: Any) -> None:
    at, x, y = Buffer("at", i32, (N,)), Buffer("x", f64, (N,)), Buffer("y", f64, (8,))
    i = Var("i")
    run = compiled(Kernel("k", (at, x, y), (For(i, N, (y.store(at[i].cast(i64), x[i], combine="add"),)),)))
    rng = np.random.default_rng(2)
    where, data, out = rng.integers(0, 8, 50).astype("i4"), rng.standard_normal(50), np.zeros(8)
    run(where, data, out, N=50)
    want = np.zeros(8)
    np.add.at(want, where, data)
    np.testing.assert_array_equal(out, want)


def test_carries_fold_in_order_as_scalars_and_in_lanes(compiled: Any) -> None:
    x, y, z = Buffer("x", f32, (N, 20)), Buffer("y", f32, (20,)), Buffer("z", f32, (N,))
    i, j, acc = Var("i"), Var("j"), Var("acc", f32)
    columns = For(
        j,
        20,
        (For(i, N, (), carries=(Carry(acc, zero(f32), acc * 0.5 + x[i, j]),)), y.store(j, acc)),
        "vector",
    )
    k, run_sum, old = Var("k"), Var("run", f32), Var("old", f32)
    prefix = For(
        k,
        N,
        (Let(old, run_sum), z.store(k, old + x[k, 0])),
        carries=(Carry(run_sum, zero(f32), run_sum + x[k, 0]),),
    )
    run = compiled(Kernel("k", (x, y, z), (columns, prefix)))
    for n in (0, 1, 9):
        data = np.random.default_rng(3).standard_normal((n, 20)).astype("f4")
        a, b = np.zeros(20, "f4"), np.zeros(n, "f4")
        run(data, a, b, N=n)
        want = np.zeros(20, "f4")
        for row in data:
            want = want * np.float32(0.5) + row
        np.testing.assert_array_equal(a, want)
        np.testing.assert_array_equal(b, np.cumsum(data[:, 0]))


def test_a_value_read_before_a_store_is_read_again_after_it(compiled: Any) -> None:
    x, y = Buffer("x", f32, (4,)), Buffer("y", f32, (4,))
    i, old = Var("i"), Var("old", f32)
    load = x[i]
    body = (Let(old, load), x.store(i, load + 1.0), y.store(i, load * 10.0 + old))
    run = compiled(Kernel("k", (x, y), (For(i, 4, body),)))
    data, out = np.arange(4, dtype="f4"), np.zeros(4, "f4")
    run(data, out)
    np.testing.assert_array_equal(out, (np.arange(4) + 1) * 10 + np.arange(4))


def test_if_chooses_a_block(compiled: Any) -> None:
    y = Buffer("y", i64, (N,))
    i = Var("i")
    body = If((i % 3).eq(1), (y.store(i, as_index(7)),), (y.store(i, i * 2),))
    run = compiled(Kernel("k", (y,), (For(i, N, (body,)),)))
    out = np.zeros(10, "i8")
    run(out, N=10)
    np.testing.assert_array_equal(out, [7 if n % 3 == 1 else 2 * n for n in range(10)])


def test_parallel_loops_run_every_index_once(compiled: Any) -> None:
    y = Buffer("y", i64, (N, M))
    i, j, s = Var("i"), Var("j"), Var("s", i64)
    body = (Let(s, i * as_index(M)), For(j, M, (y.store((i, j), s + j, combine="add"),), "vector"))
    run = compiled(Kernel("k", (y,), (For(i, N, body, "parallel"),)))
    for n in (0, 1, 5):
        out = np.zeros((n, 9), "i8")
        run(out, N=n, M=9)
        np.testing.assert_array_equal(out, np.arange(n * 9).reshape(n, 9))


def test_dims_are_evaluated_as_integers(compiled: Any) -> None:
    from nervure.ir.dims import ceildiv, evaluate_dim, floordiv, maximum, minimum, mod

    dims = [
        N * 3 - M,
        floordiv(N - 50, 7),
        mod(N - 50, 7),
        ceildiv(N * M - 60, 5),
        minimum(N, M + 2),
        maximum(N * N, M),
        N * N * M,
    ]
    y = Buffer("y", i64, (len(dims),))
    run = compiled(Kernel("k", (y,), tuple(y.store(n, as_index(d)) for n, d in enumerate(dims))))
    for n, m in ((1, 1), (17, 40), (4096, 3)):
        out = np.zeros(len(dims), "i8")
        run(out, N=n, M=m)
        np.testing.assert_array_equal(out, [evaluate_dim(d, {"N": n, "M": m}) for d in dims])


def test_an_object_does_not_depend_on_when_it_is_made(compiled: Any) -> None:
    def make() -> Any:
        x, y = Buffer("x", f32, (N, 10)), Buffer("y", f32, (N, 10))
        i, j, s = Var("i"), Var("j"), Var("s", f32)
        other = For(j, 10, (y.store((i, j), Select(x[i, j] > s, x[i, j], s)),), "vector")
        return compiled(
            Kernel("k", (x, y), (For(i, N, (reduction("max", s, [LoopDim(j, 10)], x[i, j]), other)),))
        )

    a, b = make(), make()
    assert a.text == b.text and a.data == b.data


@pytest.mark.parametrize("source", ["f64", "f32", "i64", "i32", "i16"])
@pytest.mark.parametrize("target", ["f32", "f16", "bf16", "i32", "i16", "i8", "u8", "bool"])
def test_a_last_lone_element_is_stored_without_what_lies_behind_it(
    compiled: Any, source: str, target: str
) -> None:
    """LLVM makes a store as wide as the source of a narrowing store under a mask that is known to be of one lane."""
    x, y, i = Buffer("x", DTYPES[source], (64,)), Buffer("y", DTYPES[target], (64,)), Var("i")
    for size in (5, 9, 17, 33):
        run = compiled(Kernel("k", (x, y), (For(i, size, (y.store(i, x[i].cast(y.dtype)),), "vector"),)))
        data, out = np.ones(64, x.dtype.numpy), np.zeros(64, y.dtype.numpy)
        behind = out.view("u1")[size * y.dtype.bytes :]
        behind[:] = 1
        run(data, out)
        np.testing.assert_array_equal(out[:size].astype(float), 1)
        np.testing.assert_array_equal(behind, 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 13, 28, 57, 113, N])
@pytest.mark.parametrize("inner", [0, 5])
def test_parts_of_a_map_have_every_row_once(compiled: Any, rows: Any, inner: int) -> None:
    shape = (2, 3, rows, inner or 1)
    y = Buffer("y", f32, shape)
    image, block, row, j = Var("n"), Var("cb"), Var("row"), Var("j")
    add = y.store(
        (image, block, row, j if inner else as_index(0)), y[image, block, row, j if inner else 0] + 1.0
    )
    loops = [(image, 2), (block, 3), (row, rows), *([(j, inner)] if inner else [])]
    kernel = Kernel("k", (y,), tuple(nest_in_parts([add], loops, vector=bool(inner))))
    assert ("part" in str(kernel)) == (isinstance(rows, int) and rows > 1)
    got = np.zeros((2, 3, 113 if rows is N else rows, inner or 1), "f4")
    compiled(kernel)(got, **({"N": 113} if rows is N else {}))
    np.testing.assert_array_equal(got, np.ones_like(got))
