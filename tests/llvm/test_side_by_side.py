"""Loops of functions take two registers at a time: the same bits for every extent, and no change where there are few registers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nervure.backends.llvm.builder import Module
from nervure.backends.llvm.emit_stmt import emit_kernel
from nervure.backends.llvm.kernel_ir import Buffer, Call, Expr, For, Kernel, Var
from nervure.backends.llvm.target import make_target
from nervure.ir.dims import symbol
from nervure.ir.types import f32

N = symbol("N", 0, 4096)


def kernel(function: Any = "tanh", extent: Any = N) -> Kernel:
    i, x, y = Var("i"), Buffer("x", f32, (N,)), Buffer("y", f32, (N,))
    value: Expr = x[i] * x[i] if function is None else Call(function, (x[i],))
    return Kernel("k", (x, y), (For(i, extent, (y.store(i, value),), "vector"),))


def widest(cpu: str, function: Any) -> int:
    target = make_target(cpu)
    module = Module(target.fma)
    emit_kernel(module, kernel(function), target)
    return max(map(int, re.findall(r"<(\d+) x float>", module.text())))


def test_two_registers_are_taken_where_functions_are_and_there_are_32() -> None:
    assert widest("skylake-avx512", "tanh") == 32 and widest("skylake-avx512", None) == 16
    assert widest("haswell", "tanh") == widest("haswell", None) == 8


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "exp"])
def test_bits_do_not_depend_on_where_an_element_stands(compiled: Any, function: Any) -> None:
    run, x = compiled(kernel(function)), np.linspace(-9, 9, 101, dtype="f4")
    whole = np.empty_like(x)
    run(x, whole, N=101)
    for n in (0, 1, 15, 16, 17, 31, 32, 33, 63, 65, 100):
        part = np.full(101, 7, "f4")
        run(x, part, N=n)
        assert part[:n].tobytes() == whole[:n].tobytes() and (part[n:] == 7).all()
    for k in range(101):
        one = np.empty(1, "f4")
        run(x[k : k + 1].copy(), one, N=1)
        assert one[0] == whole[k]
