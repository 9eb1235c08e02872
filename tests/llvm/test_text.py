"""Kernels print in the grammar of kernel_ir.py."""

from __future__ import annotations

from nervure.backends.llvm.contract import expand_contracts
from nervure.backends.llvm.kernel_ir import Buffer, Contract, For, Kernel, LoopDim, Var, call, reduction
from nervure.backends.llvm.target import make_target
from nervure.ir.dims import symbol
from nervure.ir.types import f32

B = symbol("B")


def test_a_softmax_prints_as_loops() -> None:
    x, y = Buffer("x", f32, (B, 10)), Buffer("y", f32, (B, 10))
    i, j, top, total = Var("i"), Var("j"), Var("top", f32), Var("total", f32)
    body = (
        reduction("max", top, [LoopDim(j, 10)], x[i, j]),
        reduction("add", total, [LoopDim(j, 10)], call("exp", x[i, j] - top)),
        For(j, 10, (y.store((i, j), call("exp", x[i, j] - top) / total),), "vector"),
    )
    assert (
        str(Kernel("softmax", (x, y), (For(i, B, body, "parallel"),), origin="softmax"))
        == """\
# softmax
kernel softmax(x: f32[B,10], y: f32[B,10]) {
  for parallel i in B {
    top = max over j in 10 of x[i, j]
    total = add over j in 10 of exp(x[i, j] - top)
    for vector j in 10 {
      y[i, j] = exp(x[i, j] - top) / total
    }
  }
}"""
    )


def test_a_contraction_prints_before_and_after_its_schedule() -> None:
    a, b, c = Buffer("a", f32, (B, 20)), Buffer("b", f32, (20, 8)), Buffer("c", f32, (B, 8))
    i, j, k, acc = Var("i"), Var("j"), Var("k"), Var("acc", f32)
    s = Contract(
        (LoopDim(i, B),), LoopDim(j, 8), (LoopDim(k, 20),), a[i, k], b[k, j], acc, (c.store((i, j), acc),)
    )
    kernel = Kernel("mm", (a, b, c), (s,))
    assert "contract m i in B n j in 8 {" in str(
        kernel
    ) and "acc = sum over k in 20 of a[i, k] * b[k, j]" in str(kernel)
    expanded = str(expand_contracts(kernel, make_target("haswell")))
    assert "tile 12x1x8 f32" in expanded and "scratch c0: f32[" in expanded
    assert str(expand_contracts(kernel, make_target("haswell"))) == expanded
