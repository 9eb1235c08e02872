# long file: one grid of shapes and operand sources for one statement
"""Contractions against numpy in f64: shapes around tile sizes, every kind of operand, epilogues, and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.contract import expand_contracts
from nervure.backends.llvm.kernel_ir import (
    Buffer,
    Call,
    Cast,
    Contract,
    Finish,
    Kernel,
    Load,
    LoopDim,
    Packed,
    Select,
    Tile,
    Var,
    as_index,
    zero,
)
from nervure.backends.llvm.schedule import ContractSchedule, choose_schedule
from nervure.backends.llvm.target import host_target, make_target
from nervure.backends.llvm.walk import stmts
from nervure.ir.dims import Dim, symbol
from nervure.ir.types import DTYPES, DType, bf16, f32, f64, i32

M, N, K, B = symbol("M", 0), symbol("N", 0), symbol("K", 0, 1 << 20), symbol("B", 0)


def matmul(
    m: Dim,
    n: Dim,
    k: Dim,
    dtype: DType = f32,
    *,
    turned: str = "",
    schedule: Any = None,
    parallel: bool = False,
) -> Kernel:
    """c = a b; `turned` says which of a and b lie transposed in memory."""
    a = Buffer("a", dtype, (k, m) if "a" in turned else (m, k))
    b = Buffer("b", dtype, (n, k) if "b" in turned else (k, n))
    c = Buffer("c", dtype, (m, n))
    i, j, p, acc = Var("i"), Var("j"), Var("p"), Var("acc", dtype)
    left = a[p, i] if "a" in turned else a[i, p]
    right = b[j, p] if "b" in turned else b[p, j]
    s = Contract(
        (LoopDim(i, m),),
        LoopDim(j, n),
        (LoopDim(p, k),),
        left,
        right,
        acc,
        (c.store((i, j), acc),),
        parallel=parallel,
        schedule=schedule,
    )
    return Kernel("mm", (a, b, c), (s,))


def operands(m: int, n: int, k: int, dtype: DType, turned: str = "") -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    if dtype.is_float:
        a, b = (
            rng.standard_normal((m, k)).astype(dtype.numpy),
            rng.standard_normal((k, n)).astype(dtype.numpy),
        )
    else:
        a, b = rng.integers(0, 9, (m, k)).astype(dtype.numpy), rng.integers(0, 9, (k, n)).astype(dtype.numpy)
    want = a.astype("f8") @ b.astype("f8")
    lay = np.ascontiguousarray
    return (
        lay(a.T if "a" in turned else a),
        lay(b.T if "b" in turned else b),
        np.full((m, n), 77, dtype.numpy),
        want,
    )


def close(got: Any, want: Any, k: int, dtype: DType) -> None:
    np.testing.assert_allclose(got.astype("f8"), want, rtol=0, atol=dtype.eps * (20 * (k + 1) ** 0.5 + k / 2))


@pytest.mark.parametrize("cpu", ["host", "haswell", "x86-64"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_one_compilation_serves_every_size(compiled: Any, dtype: DType, cpu: str) -> None:
    run = compiled(matmul(M, N, K, dtype), make_target(cpu))
    sizes = [(m, n, k) for m in (1, 6, 13, 14, 29) for n in (1, 15, 33) for k in (0, 1, 17)]
    sizes += [(0, 5, 5), (5, 0, 5), (130, 40, 5), (3, 70, 600), (127, 64, 257)]
    for m, n, k in sizes:
        a, b, c, want = operands(m, n, k, dtype)
        run(a, b, c, M=m, N=n, K=k)
        close(c, want, k, dtype)


@pytest.mark.parametrize(
    "dims",
    [
        (1, 10, 784),
        (5, 7, 3),
        (14, 32, 16),
        (15, 33, 17),
        (64, 1, 40),
        (130, 70, 600),
        (3, 3, 0),
        (0, 4, 4),
        (4, 0, 4),
        (27, 8, 9),
    ],
)
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_static_shapes_and_transposed_operands(
    compiled: Any, dims: tuple[int, int, int], turned: str
) -> None:
    a, b, c, want = operands(*dims, f32, turned)
    compiled(matmul(*dims, turned=turned))(a, b, c)
    close(c, want, dims[2], f32)


@pytest.mark.parametrize("cpu", ["host", "haswell"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_a_transposed_operand_of_any_size_is_turned_in_registers(
    compiled: Any, dtype: DType, cpu: str
) -> None:
    run = compiled(matmul(M, N, K, dtype, turned="b"), make_target(cpu))
    for m, n, k in ((1, 1, 1), (3, 17, 15), (2, 31, 33), (5, 40, 300), (0, 3, 3), (3, 0, 3), (3, 3, 0)):
        a, b, c, want = operands(m, n, k, dtype, "b")
        run(a, b, c, M=m, N=n, K=k)
        close(c, want, k, dtype)


@pytest.mark.parametrize("name", ["i64", "i32", "i8", "u8"])
def test_integers_go_through_a_plain_loop_nest_and_wrap(compiled: Any, name: str) -> None:
    dtype = DTYPES[name]
    a, b, c, want = operands(5, 19, 33, dtype)
    compiled(matmul(5, 19, K, dtype))(a, b, c, K=33)
    np.testing.assert_array_equal(c, want.astype("i8").astype(dtype.numpy))


def test_bf16_operands_are_summed_in_f32(compiled: Any) -> None:
    a, b, c = Buffer("a", bf16, (9, 50)), Buffer("b", bf16, (50, 20)), Buffer("c", bf16, (9, 20))
    i, j, p, acc = Var("i"), Var("j"), Var("p"), Var("acc", f32)
    s = Contract(
        (LoopDim(i, 9),),
        LoopDim(j, 20),
        (LoopDim(p, 50),),
        Cast(a[i, p], f32),
        Cast(b[p, j], f32),
        acc,
        (c.store((i, j), Cast(acc, bf16)),),
    )
    x, y, z, want = operands(9, 20, 50, bf16)
    compiled(Kernel("mm", (a, b, c), (s,)))(x, y, z)
    np.testing.assert_allclose(z.astype("f8"), want, rtol=2**-8, atol=1e-3)


def test_rows_that_share_cache_sets_are_packed_and_right(compiled: Any) -> None:
    a, b, c, want = operands(40, 33, 1024, f32)
    run = compiled(matmul(40, 33, 1024))
    run(a, b, c)
    close(c, want, 1024, f32)


@pytest.mark.parametrize("m", [1, 2, 14, 50])
def test_packed_weights_and_an_epilogue(compiled: Any, m: int) -> None:
    n, k = 45, 100
    schedule = choose_schedule(host_target(), f32, m, n, k, in_place=True)
    width = schedule.columns
    a, p = Buffer("a", f32, (m, k)), Buffer("p", f32, (2, -(-n // width), k, width), align=64)
    bias, rest, c = Buffer("bias", f32, (n,)), Buffer("rest", f32, (m, n)), Buffer("c", f32, (m, n))
    i, j, q, acc = Var("i"), Var("j"), Var("q"), Var("acc", f32)
    total = acc + bias[j] + rest[i, j]
    relu = Select(total < 0.0, zero(f32), total)
    s = Contract(
        (LoopDim(i, m),),
        LoopDim(j, n),
        (LoopDim(q, k),),
        a[i, q],
        Packed(p, (as_index(1),)),
        acc,
        (c.store((i, j), relu),),
    )
    x, y, z, want = operands(m, n, k, f32)
    packed = np.zeros((2, -(-n // width), k, width), "f4")
    for panel in range(-(-n // width)):
        piece = y[:, panel * width : (panel + 1) * width]
        packed[1, panel, :, : piece.shape[1]] = piece
    rng = np.random.default_rng(1)
    add, more = rng.standard_normal(n).astype("f4"), rng.standard_normal((m, n)).astype("f4")
    compiled(Kernel("mm", (a, p, bias, rest, c), (s,)))(x, packed, add, more, z)
    close(z, np.maximum(want + add + more, 0), k, f32)


@pytest.mark.parametrize("n", [64, 70, 31])
def test_sums_that_are_whole_are_finished_in_registers(compiled: Any, n: int) -> None:
    """One store and two, the same bits as by way of scratch memory, which exp takes; none is left where all panels are full."""
    m, k = 50, 40
    a, b = Buffer("a", f32, (m, k)), Buffer("b", f32, (k, n))
    old, twice = Buffer("old", f32, (m, n)), Buffer("twice", f32, (m, n))
    i, j, q, acc = Var("i"), Var("j"), Var("q"), Var("acc", f32)
    step = old.store((i, j), old[i, j] * 0.5 + acc)

    def kernel(*epilogue: Any, more: tuple[Buffer, ...] = ()) -> Kernel:
        dims = ((LoopDim(i, m),), LoopDim(j, n), (LoopDim(q, k),))
        s = Contract(*dims, a[i, q], b[q, j], acc, epilogue)
        return Kernel("mm", (a, b, old, *more), (s,))

    def more(value: Any) -> Kernel:
        return kernel(step, twice.store((i, j), value), more=(twice,))

    one, two, exp = kernel(step), more(acc * 2.0), more(Call("exp", (acc,)))
    scratch = [
        [x.name[0] for x in expand_contracts(t, make_target("znver4")).scratch] for t in (one, two, exp)
    ]
    assert ["c" in names for names in scratch] == [n % 32 != 0] * 2 + [True]
    x, y, _, sums = operands(m, n, k, f32)
    before = np.random.default_rng(3).standard_normal((m, n)).astype("f4")
    got, both, want, second = (before.copy() for _ in range(4))
    compiled(one)(x, y, got)
    compiled(two)(x, y, both, second)
    compiled(exp)(x, y, want, np.empty_like(want))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(both, want)
    close(second, 2 * sums, k, f32)


def test_batches_and_parallel_blocks_give_the_same_bits(compiled: Any) -> None:
    def kernel(parallel: bool) -> Kernel:
        a, b, c = Buffer("a", f32, (B, 30, 20)), Buffer("b", f32, (B, 20, 40)), Buffer("c", f32, (B, 30, 40))
        t, i, j, p, acc = Var("t"), Var("i"), Var("j"), Var("p"), Var("acc", f32)
        s = Contract(
            (LoopDim(i, 30),),
            LoopDim(j, 40),
            (LoopDim(p, 20),),
            a[t, i, p],
            b[t, p, j],
            acc,
            (c.store((t, i, j), acc),),
            (LoopDim(t, B),),
            parallel,
        )
        return Kernel("mm", (a, b, c), (s,))

    serial, parallel = compiled(kernel(False)), compiled(kernel(True))
    for count in (0, 1, 3):
        rng = np.random.default_rng(count)
        a, b = (
            rng.standard_normal((count, 30, 20)).astype("f4"),
            rng.standard_normal((count, 20, 40)).astype("f4"),
        )
        c, d = np.zeros((count, 30, 40), "f4"), np.ones((count, 30, 40), "f4")
        serial(a, b, c, B=count)
        parallel(a, b, d, B=count)
        np.testing.assert_array_equal(c, d)
        close(c, a.astype("f8") @ b.astype("f8"), 20, f32)


@pytest.mark.parametrize(
    "schedule",
    [
        ContractSchedule(4, 1, 4, 8, 1, 16),
        ContractSchedule(14, 2, 16, 14, 2, 64),
        ContractSchedule(1, 1, 1, 3, 3, 7),
    ],
    ids=str,
)
def test_a_schedule_changes_no_result_beyond_rounding(compiled: Any, schedule: ContractSchedule) -> None:
    a, b, c, want = operands(21, 37, 90, f32)
    compiled(matmul(21, 37, 90, schedule=schedule))(a, b, c)
    close(c, want, 90, f32)


def test_a_long_sum_is_formed_in_pieces(compiled: Any) -> None:
    run = compiled(matmul(3, 5, K, turned="a"))
    k = 50_000
    a, b, c, want = operands(3, 5, k, f32, "a")
    run(a, b, c, K=k)
    np.testing.assert_allclose(c, want, atol=2e-3)


# -- convolutions ----------------------------------------------------------------------------------------------------


def conv(
    dtype: DType,
    n: Dim,
    c: int,
    h: Dim,
    w: Dim,
    o: int,
    kh: int,
    kw: int,
    stride: int,
    pad: int,
    dilation: int,
    groups: int,
    lhs: int,
) -> Kernel:
    """y[n, g, o, oy, ox] = sum over c, ky, kx of w * the padded, dilated image."""
    oh = ((h - 1) * lhs + 1 + 2 * pad - ((kh - 1) * dilation + 1)) // stride + 1
    ow = ((w - 1) * lhs + 1 + 2 * pad - ((kw - 1) * dilation + 1)) // stride + 1
    cg, og = c // groups, o // groups
    x, y = Buffer("x", dtype, (n, c, h, w)), Buffer("y", dtype, (n, groups, og, oh, ow))
    weight = Buffer("w", dtype, (groups, og, cg * kh * kw))
    b, g, oy, m, ox = Var("b"), Var("g"), Var("oy"), Var("m"), Var("ox")
    ci, ky, kx, acc = Var("c"), Var("ky"), Var("kx"), Var("acc", dtype)
    iy, ix = oy * stride + ky * dilation - pad, ox * stride + kx * dilation - pad
    inside = (iy >= 0) & (iy < (as_index(h) - 1) * lhs + 1) & (ix >= 0) & (ix < (as_index(w) - 1) * lhs + 1)
    if lhs > 1:
        inside = inside & (iy % lhs).eq(0) & (ix % lhs).eq(0)
        iy, ix = iy // lhs, ix // lhs
    patch = x.at(b, g * cg + ci, iy, ix, inside=inside if pad or lhs > 1 else None)
    batch = (LoopDim(b, n), LoopDim(g, groups), LoopDim(oy, oh))
    k = (LoopDim(ci, cg), LoopDim(ky, kh), LoopDim(kx, kw))
    s = Contract(
        (LoopDim(m, og),),
        LoopDim(ox, ow),
        k,
        weight[g, m, ci * (kh * kw) + ky * kw + kx],
        patch,
        acc,
        (y.store((b, g, m, oy, ox), acc),),
        batch,
    )
    return Kernel("conv", (x, weight, y), (s,))


def flat_conv(n: Dim, c: int, h: int, w: int, o: int, size: int, pad: int) -> Kernel:
    """The same with all pixels of an image as one n."""
    oh, ow = h + 2 * pad - size + 1, w + 2 * pad - size + 1
    x, y = Buffer("x", f32, (n, c, h, w)), Buffer("y", f32, (n, o, oh * ow))
    weight = Buffer("w", f32, (o, c, size, size))
    b, m, pixel, acc = Var("b"), Var("m"), Var("pixel"), Var("acc", f32)
    ci, ky, kx = Var("c"), Var("ky"), Var("kx")
    iy, ix = pixel // ow + ky - pad, pixel % ow + kx - pad
    inside = (iy >= 0) & (iy < h) & (ix >= 0) & (ix < w)
    patch = x.at(b, ci, iy, ix, inside=inside if pad else None)
    k = (LoopDim(ci, c), LoopDim(ky, size), LoopDim(kx, size))
    s = Contract(
        (LoopDim(m, o),),
        LoopDim(pixel, oh * ow),
        k,
        weight[m, ci, ky, kx],
        patch,
        acc,
        (y.store((b, m, pixel), acc),),
        (LoopDim(b, n),),
    )
    return Kernel("conv", (x, weight, y), (s,))


@pytest.mark.parametrize(
    "case",
    [
        (1, 28, 28, 6, 5, 2),
        (6, 14, 14, 16, 5, 0),
        (3, 5, 4, 2, 3, 1),
        (2, 40, 3, 5, 3, 1),
        (2, 3, 70, 5, 3, 1),
    ],
)
def test_pixels_of_an_image_may_be_one_dimension(compiled: Any, case: tuple[int, ...]) -> None:
    c, h, w, o, size, pad = case
    rng = np.random.default_rng(5)
    x, f = (
        rng.standard_normal((2, c, h, w)).astype("f4"),
        rng.standard_normal((o, c, size, size)).astype("f4"),
    )
    want = conv_oracle(x, f, 1, pad, 1, 1, 1)
    y = np.full(want.shape, 77, "f4")
    compiled(flat_conv(B, *case))(x, f, y, B=2)
    np.testing.assert_allclose(y, want, rtol=0, atol=2e-4)


def conv_oracle(x: Any, w: Any, stride: int, pad: int, dilation: int, groups: int, lhs: int) -> Any:
    n, c, h, wd = x.shape
    o, cg, kh, kw = w.shape
    z = np.zeros((n, c, (h - 1) * lhs + 1 + 2 * pad, (wd - 1) * lhs + 1 + 2 * pad))
    z[:, :, pad : pad + (h - 1) * lhs + 1 : lhs, pad : pad + (wd - 1) * lhs + 1 : lhs] = x
    oh = (z.shape[2] - ((kh - 1) * dilation + 1)) // stride + 1
    ow = (z.shape[3] - ((kw - 1) * dilation + 1)) // stride + 1
    y = np.zeros((n, o, oh, ow))
    for g in range(groups):
        rows, image = slice(g * (o // groups), (g + 1) * (o // groups)), z[:, g * cg : (g + 1) * cg]
        for ky in range(kh):
            for kx in range(kw):
                part = image[:, :, ky * dilation :, kx * dilation :][
                    :, :, : (oh - 1) * stride + 1 : stride, : (ow - 1) * stride + 1 : stride
                ]
                y[:, rows] += np.einsum("nchw,oc->nohw", part, w[rows, :, ky, kx].astype("f8"))
    return y


CONVOLUTIONS = [  # n c h w o kh kw stride pad dilation groups lhs
    (2, 1, 12, 12, 6, 5, 5, 1, 2, 1, 1, 1),
    (2, 6, 14, 14, 16, 5, 5, 1, 0, 1, 1, 1),
    (1, 8, 9, 11, 4, 3, 3, 2, 1, 1, 1, 1),
    (1, 6, 9, 9, 6, 3, 3, 1, 2, 2, 3, 1),
    (1, 4, 5, 7, 3, 3, 3, 1, 2, 1, 1, 2),
    (1, 5, 7, 7, 5, 3, 3, 2, 1, 1, 5, 1),
    (1, 40, 6, 20, 18, 1, 3, 1, 1, 1, 1, 1),
    (1, 3, 4, 4, 2, 4, 4, 3, 3, 1, 1, 3),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("dtype", [f32, f64, i32], ids=str)
def test_convolutions_with_stride_pads_dilation_and_groups(compiled: Any, case: Any, dtype: DType) -> None:
    n, c, h, w, o, kh, kw, *rest = case
    rng = np.random.default_rng(5)
    if dtype.is_float:
        x, f = (
            rng.standard_normal((n, c, h, w)).astype(dtype.numpy),
            rng.standard_normal((o, c // rest[3], kh, kw)).astype(dtype.numpy),
        )
    else:
        x, f = (
            rng.integers(-9, 9, (n, c, h, w)).astype(dtype.numpy),
            rng.integers(-9, 9, (o, c // rest[3], kh, kw)).astype(dtype.numpy),
        )
    want = conv_oracle(x, f, *rest)
    y = np.full(want.shape, 77, dtype.numpy)
    compiled(conv(dtype, n, c, h, w, o, kh, kw, *rest))(x, f, y)
    np.testing.assert_allclose(y, want, rtol=0, atol=dtype.eps * 200)


def test_one_convolution_serves_every_batch_and_image_size(compiled: Any) -> None:
    h, w = symbol("H", 3, 64), symbol("W", 3, 64)
    run = compiled(conv(f32, B, 3, h, w, 5, 3, 3, 1, 1, 1, 1, 1))
    rng = np.random.default_rng(6)
    f = rng.standard_normal((5, 3, 3, 3)).astype("f4")
    for n, height, width in ((0, 5, 5), (1, 3, 3), (2, 7, 40), (1, 33, 17)):
        x = rng.standard_normal((n, 3, height, width)).astype("f4")
        want = conv_oracle(x, f, 1, 1, 1, 1, 1)
        y = np.full(want.shape, 77, "f4")
        run(x, f, y, B=n, H=height, W=width)
        np.testing.assert_allclose(y, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("pad", [0, 2])
def test_the_weight_gradient_sums_over_batch_and_pixels(compiled: Any, pad: int) -> None:
    c, o, size, kernel = 3, 6, 12, 5
    out = size + 2 * pad - kernel + 1
    x, dy, dw = (
        Buffer("x", f32, (B, c, size, size)),
        Buffer("dy", f32, (B, o, out, out)),
        Buffer("dw", f32, (o, c, kernel, kernel)),
    )
    ci, ky, kx, m = Var("c"), Var("ky"), Var("kx"), Var("o")
    b, oy, ox, acc = Var("b"), Var("oy"), Var("ox"), Var("acc", f32)
    iy, ix = oy + ky - pad, ox + kx - pad
    inside = (iy >= 0) & (iy < size) & (ix >= 0) & (ix < size) if pad else None
    patch: Load = x.at(b, ci, iy, ix, inside=inside)
    rows = (LoopDim(ci, c), LoopDim(ky, kernel), LoopDim(kx, kernel))
    over = (LoopDim(b, B), LoopDim(oy, out), LoopDim(ox, out))
    s = Contract(rows, LoopDim(m, o), over, patch, dy[b, m, oy, ox], acc, (dw.store((m, ci, ky, kx), acc),))
    run = compiled(Kernel("dw", (x, dy, dw), (s,)))
    for n in (0, 1, 9):
        rng = np.random.default_rng(n)
        image, gradient = (
            rng.standard_normal((n, c, size, size)).astype("f4"),
            rng.standard_normal((n, o, out, out)).astype("f4"),
        )
        padded = np.pad(image, ((0, 0), (0, 0), (pad, pad), (pad, pad))).astype("f8")
        want = np.zeros((o, c, kernel, kernel))
        for y in range(kernel):
            for z in range(kernel):
                want[:, :, y, z] = np.einsum(
                    "nchw,nohw->oc", padded[:, :, y : y + out, z : z + out], gradient
                )
        got = np.full(want.shape, 77, "f4")
        run(image, gradient, got, B=n)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("m", "n", "k"), [(300, 65, 70), (1024, 33, 600), (257, 64, 33), (300, 1, 40)])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows_that_lie_side_by_side_are_gathered_as_they_lie(m: int, n: int, k: int, dtype: str) -> None:
    def product(x: Any, y: Any) -> Any:
        return np.transpose(x, (1, 0)) @ y

    rng = np.random.default_rng(m)
    x, y = (rng.standard_normal((k, columns)).astype({"f32": "f4", "f64": "f8"}[dtype]) for columns in (m, n))
    specs = (f"{dtype}[{k},{m}]", f"{dtype}[{k},{n}]")
    one, two = (nv.compile(product, *specs, threads=threads)(x, y) for threads in (1, 2))
    np.testing.assert_allclose(one, x.T @ y, rtol=1e-4, atol=1e-3 if dtype == "f32" else 1e-10)
    np.testing.assert_array_equal(one, two)


def test_what_follows_the_sums_is_fetched_when_a_tile_begins() -> None:
    nv.seed(0)
    model = nn.Linear(40, 64)
    forms: dict[bool, Any] = {True: lambda x, y: model(x) + y, False: lambda x, y: model(x)}
    for reads, form in forms.items():
        text: str = nv.compile(form, "f32[28,40]", "f32[28,64]").text  # type: ignore[attr-defined]
        tiles = [part for part in text.split("\ndefine ") if part.startswith("internal void @nv_tile_f32_")]
        assert tiles
        assert all(("@llvm.prefetch" in tile.split(" phi ")[0]) is reads for tile in tiles)


@pytest.mark.parametrize("k", [40, 53, 128, 300])
def test_a_long_tile_fetches_row_by_row_what_two_results_read_once(k: int) -> None:
    rng = np.random.default_rng(k)
    w, v = (rng.standard_normal((45, 96)).astype("f4") for _ in range(2))
    x, y = rng.standard_normal((k, 45)).astype("f4"), rng.standard_normal((k, 96)).astype("f4")

    def update(x: Any, y: Any, w: Any, v: Any) -> Any:
        v = v * 0.5 + np.transpose(x) @ y
        return v, w - v * 0.25

    specs = (f"f32[{k},45]", f"f32[{k},96]", "f32[45,96]", "f32[45,96]")
    run = nv.compile(update, *specs)
    got_v, got_w = run(x, y, w, v)
    want = v * 0.5 + x.T.astype("f8") @ y
    np.testing.assert_allclose(got_v, want, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got_w, w - want * 0.25, rtol=0, atol=1e-4)
    text: str = run.text  # type: ignore[attr-defined]
    tiles = [part for part in text.split("\ndefine ") if part.startswith("internal void @nv_tile_f32_")]
    assert tiles
    for tile in tiles:
        rows = int(tile.split("@nv_tile_f32_")[1].split("x")[0])
        begin, loop = tile.split("\nh:", 1)
        assert ("@llvm.prefetch" in loop) is (k > 2 * rows + 24)
        assert ("@llvm.prefetch" in begin) is not ("@llvm.prefetch" in loop)
        read = [
            line.split("ptr ")[1].split(",")[0]
            for line in loop.split("\nq:")[1].splitlines()
            if " load " in line
        ]
        assert read and len(read) == len(set(read))


@pytest.mark.parametrize("turned", ["", "b"])
def test_tiles_fetch_what_the_next_panel_is_packed_from(compiled: Any, turned: str) -> None:
    a, b, c, want = operands(96, 160, 250, f32, turned)
    expanded = expand_contracts(matmul(96, 160, 250, turned=turned), host_target())
    coming = [
        s.c.coming
        for s in stmts(expanded.body)
        if isinstance(s, Tile) and isinstance(s.c, Finish) and s.c.coming
    ]
    assert len(coming) == 1
    reached = {row * coming[0].step + line for row in range(96) for line in coming[0].lines}
    panel = choose_schedule(host_target(), f32, 96, 160, 250).columns
    lines = {(p * 160 + x) // 16 for p in range(250) for x in range(panel)}
    if turned:
        lines = set(range(250 * panel // 16))
    assert lines <= {x // 16 for x in reached} | {x // 16 + 1 for x in reached}
    compiled(matmul(96, 160, 250, turned=turned))(a, b, c)
    close(c, want, 250, f32)


@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize("n", [48, 80, 112, 784])
def test_a_last_panel_of_whole_vectors_has_a_narrower_tile(compiled: Any, n: int, turned: str) -> None:
    a, b, c, want = operands(45, n, 130, f32, turned)
    kernel = matmul(45, n, 130, turned=turned)
    compiled(kernel)(a, b, c)
    close(c, want, 130, f32)
    schedule = choose_schedule(host_target(), f32, 45, n, 130)
    rest = n % schedule.columns
    if rest and rest % schedule.lanes == 0:
        tiles = [s for s in stmts(expand_contracts(kernel, host_target()).body) if isinstance(s, Tile)]
        assert sorted({t.vectors for t in tiles}) == [rest // schedule.lanes, schedule.vectors]
        assert all(isinstance(t.c, Finish) for t in tiles)
