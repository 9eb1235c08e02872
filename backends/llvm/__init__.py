"""The LLVM backend: from graphs to kernels, from kernels to machine code."""

from __future__ import annotations

from .backend import LLVMBackend

__all__ = ["LLVMBackend"]
