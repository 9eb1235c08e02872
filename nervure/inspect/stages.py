"""The stages of a compiled program, as text or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.errors import InputError
from ..runtime.executable import Executable

if TYPE_CHECKING:
    from ..backends.llvm.executable import LLVMExecutable

__all__ = ["stage"]


def stage(executable: Executable, name: str) -> str | bytes:
    """One stage.

    Args:
        name: ir, kernels, plan, llvm, asm (text); obj, onnx (bytes)

    Raises:
        InputError: the executable's backend has no such stage
    """
    if name == "ir":
        return str(executable.program)
    if name == "onnx":
        from ..backends.onnx.executable import OnnxExecutable

        if not isinstance(executable, OnnxExecutable):
            raise InputError(f"backend {executable.backend} has no stage onnx", hint="choose --backend onnx")
        return executable.model.SerializeToString(deterministic=True)
    native = _native(executable, name)
    match name:
        case "kernels":
            return str(native.assembled.program)
        case "plan":
            from .plan import plan_text

            return plan_text(native)
        case "llvm":
            return native.text
        case "asm":
            from ..backends.llvm.objects import assembly
            from ..backends.llvm.target import host_target

            return assembly(native.text, host_target())
        case "obj":
            return native.object
        case _:
            raise InputError(f"no stage is named {name}")


def _native(executable: Executable, name: str) -> LLVMExecutable:
    from ..backends.llvm.executable import LLVMExecutable

    if not isinstance(executable, LLVMExecutable):
        raise InputError(f"backend {executable.backend} has no stage {name}", hint="choose --backend llvm")
    return executable
