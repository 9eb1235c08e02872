"""Compiles one kernel and calls it on arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from nervure.backends.llvm.builder import Module
from nervure.backends.llvm.emit_program import SERIAL
from nervure.backends.llvm.emit_stmt import emit_kernel
from nervure.backends.llvm.jit import load_object
from nervure.backends.llvm.kernel_ir import Kernel
from nervure.backends.llvm.objects import compile_object
from nervure.backends.llvm.target import Target, host_target
from nervure.backends.llvm.walk import kernel_symbols
from nervure.runtime.native import ContextStruct


class Compiled:
    """A kernel as a Python function of C-contiguous arrays and symbols."""

    def __init__(self, kernel: Kernel, target: Target | None = None) -> None:
        target = target or host_target()
        module = Module(target.fma)
        name = emit_kernel(module, kernel, target)
        module.functions["@nv_serial"] = SERIAL
        self.text = module.text().replace(f"define internal void @{name}(", f"define void @{name}(")
        self.data = compile_object(self.text, target, cached=False)
        self.loaded = load_object(self.data, (name, "nv_serial"))
        self.symbols = kernel_symbols(kernel)
        count = len(kernel.buffers) + 1
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count, *[ctypes.c_int64] * len(self.symbols))
        self.function = kind(self.loaded.address(name))
        self.context = ContextStruct(parallel_for=self.loaded.address("nv_serial"))

    def __call__(self, *arrays: Any, **symbols: int) -> None:
        pointers = [a.ctypes.data for a in arrays]
        assert all(a.flags.c_contiguous for a in arrays)
        self.function(ctypes.addressof(self.context), *pointers, *(symbols[s] for s in self.symbols))


@pytest.fixture(name="compiled")
def compiled_fixture() -> Callable[..., Compiled]:
    return Compiled
