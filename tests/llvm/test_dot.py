"""The dot tile against numpy in f64: rests in every direction, pieces of k, element types, machines, and whole programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.dot_schedule import DotSchedule, choose_dot, covering, dot_variants
from nervure.backends.llvm.kernel_ir import Buffer, Contract, Kernel, LoopDim, Var
from nervure.backends.llvm.target import host_target, make_target
from nervure.ir.dims import Dim, symbol
from nervure.ir.types import DTYPES, DType, f32, f64

M, N = symbol("M", 0), symbol("N", 0)


def product(m: Dim, n: Dim, k: int, dtype: DType, schedule: DotSchedule) -> Kernel:
    """c = a b^T + bias."""
    a, b = Buffer("a", dtype, (m, k)), Buffer("b", dtype, (n, k))
    bias, c = Buffer("bias", dtype, (n,)), Buffer("c", dtype, (m, n))
    i, j, p, acc = Var("i"), Var("j"), Var("p"), Var("acc", dtype)
    s = Contract(
        (LoopDim(i, m),),
        LoopDim(j, n),
        (LoopDim(p, k),),
        a[i, p],
        b[j, p],
        acc,
        (c.store((i, j), acc + bias[j]),),
        schedule=schedule,
    )
    return Kernel("mm", (a, b, bias, c), (s,))


def check(run: Any, m: int, n: int, k: int, dtype: DType, **symbols: int) -> Any:
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    a, b, bias = (rng.standard_normal(s).astype(dtype.numpy) for s in ((m, k), (n, k), (n,)))
    c = np.full((m + 1, n), 77, dtype.numpy)
    run(a, b, bias, c[:m], **symbols)
    want = a.astype("f8") @ b.astype("f8").T + bias
    np.testing.assert_allclose(c[:m], want, rtol=0, atol=dtype.eps * (16 * (k + 1) ** 0.5 + k / 2))
    assert (c[m] == 77).all()
    return c[:m]


@pytest.mark.parametrize("cpu", ["host", "haswell", "x86-64"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_rests_of_rows_columns_and_k(compiled: Any, dtype: DType, cpu: str) -> None:
    target = make_target(cpu)
    lanes = target.lanes(dtype.bytes)
    for m, n, k in ((1, 1, 1), (7, 5, 3), (5, 3, 31), (3, 2, 64), (2, 7, 100), (9, 17, 33)):
        columns = min(lanes, 3, n)
        s = DotSchedule(2, columns, 2, lanes, 4, columns * 2, k)
        check(compiled(product(m, n, k, dtype, s), target), m, n, k, dtype)


def test_sizes_that_a_run_brings_and_pieces_of_k(compiled: Any) -> None:
    s = DotSchedule(3, 4, 2, host_target().lanes(4), 6, 8, 32)
    rows = compiled(product(M, 5, 100, f32, s))
    both = compiled(product(M, N, 100, f32, s))
    for m in (0, 1, 2, 3, 4, 7, 13):
        check(rows, m, 5, 100, f32, M=m)
        for n in (0, 1, 4, 7, 17):
            check(both, m, n, 100, f32, M=m, N=n)


@pytest.mark.parametrize(
    "shape", [(64, 10, 784), (1, 10, 784), (29, 3, 130), (64, 1, 300), (3, 1, 9), (40, 20, 784)]
)
def test_what_the_target_chooses_and_its_variants_agree(compiled: Any, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    target = host_target()
    chosen = choose_dot(target, f32, m, n, k) or choose_dot(target, f32, m, n, k, turned=True)
    assert chosen is not None or target.vector_bytes < 64
    for s in () if chosen is None else dot_variants(chosen, target):
        rows, columns = (1, m) if n == 1 else (m, n)
        check(compiled(product(rows, columns, k, f32, s)), rows, columns, k, f32)


def test_a_sum_does_not_depend_on_where_its_tile_stands(compiled: Any) -> None:
    k = 200
    s = DotSchedule(4, 5, 1, host_target().lanes(4), 8, 10, 112)
    a = np.tile(np.random.default_rng(3).standard_normal(k).astype("f4"), (19, 1))
    b = np.tile(np.random.default_rng(4).standard_normal(k).astype("f4"), (13, 1))
    c = np.empty((19, 13), "f4")
    for schedule in (
        s,
        replace(s, rows=1, columns=2, mc=3, nc=4),
        replace(s, rows=3, columns=8, mc=12, nc=16),
    ):
        compiled(product(19, 13, k, f32, schedule))(a, b, np.zeros(13, "f4"), c)
        assert (c == c[0, 0]).all()
        assert c[0, 0] == c.flat[-1]


def test_few_columns_take_it_and_many_or_a_short_k_do_not() -> None:
    target = make_target("znver4")
    for m, n, k in ((1, 10, 784), (64, 10, 784), (None, 10, 784), (64, 1, 32), (None, 1, 500), (64, 17, 784)):
        assert choose_dot(target, f32, m, n, k), (m, n, k)
    for m, n, k in (
        (64, 16, 784),
        (64, 10, 9),
        (64, 64, 784),
        (1, 512, 784),
        (None, 512, 784),
        (64, 10, None),
    ):
        assert choose_dot(target, f32, m, n, k) is None, (m, n, k)
    assert choose_dot(target, f32, 1, 512, 784, turned=True), "one row, and B would have to be turned"
    assert choose_dot(target, f32, 512, 512, 784, turned=True) is None


def test_tiles_cover_a_block_and_its_rest() -> None:
    assert covering(3, 9, 20) == (3, 2)
    assert covering(3, 9, 2) == (2,)
    assert covering(10, 10, None) == (10, 8, 4, 2, 1)
    assert covering(5, 10, 17) == (5, 2)


@pytest.mark.parametrize("spec", ["f32[64,784]", "f32[1,784]", "f32[B,784]", "f64[7,784]"])
@pytest.mark.parametrize("outputs", [10, 1])
def test_a_linear_layer_runs_in_it_with_the_same_bits_on_any_threads(spec: str, outputs: int) -> None:
    dtype = DTYPES[spec[:3]].numpy
    model = nn.Linear(784, outputs, dtype=spec[:3])
    sizes = (1, 2, 63, 1000) if "B" in spec else (int(spec[4:].split(",")[0]),)
    weight, bias = (np.asarray(v, "f8") for v in (model.weight, model.bias))
    seen: dict[int, Any] = {}
    for threads in (1, 2, 4, 8):
        run: Any = nv.compile(model, spec, threads=threads, cache=False)
        if host_target().vector_bytes == 64:
            assert "schedule dot" in "\n".join(map(str, run.kernels))
        for size in sizes:
            x = np.random.default_rng(size).standard_normal((size, 784)).astype(dtype)
            y = run(x)
            np.testing.assert_allclose(y, x @ weight.T + bias, rtol=0, atol=1e-4)
            assert (seen.setdefault(size, y) == y).all()


def test_weights_that_change_between_calls_are_packed_again() -> None:
    model = nn.Linear(100, 3)
    run: Any = nv.compile(model, "f32[5,100]", cache=False)
    x = np.random.default_rng(0).standard_normal((5, 100)).astype("f4")
    before = run(x)
    state = run.state_dict()
    run.load_state_dict({name: np.asarray(value) * 2 for name, value in state.items()})
    np.testing.assert_allclose(run(x), 2 * before, rtol=1e-6)


@pytest.mark.parametrize("spec", ["f32[3,5,200]", "f32[B,T,200]", "f32[2,B,3,200]", "f32[200]"])
def test_rows_of_several_axes(spec: str) -> None:
    model = nn.Linear(200, 7)
    run: Any = nv.compile(model, spec, cache=False)
    if host_target().vector_bytes == 64:
        assert "schedule dot" in "\n".join(map(str, run.kernels))
    shape = [int(s) if s.isdigit() else 4 for s in spec[4:-1].split(",")]
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    np.testing.assert_allclose(run(x), x @ np.asarray(model.weight).T + np.asarray(model.bias), atol=1e-5)
