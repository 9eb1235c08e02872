"""The stages of a compiled program, as text or bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..ir.errors import InputError
from ..runtime.executable import Executable

if TYPE_CHECKING:
    from ..backends.llvm.executable import LLVMExecutable
    from ..ir.program import Program

__all__ = ["stage", "translated_stage"]


def stage(executable: Executable, name: str, sizes: Mapping[str, int] | None = None) -> str | bytes:
    """One stage.

    Args:
        name:  ir, kernels, plan, llvm, asm (text); obj, onnx (bytes)
        sizes: of the symbols, for the plan

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
            from ..backends.llvm.target import host_target
            from ..backends.llvm.tuning import with_schedules

            return str(with_schedules(native.assembled.program, host_target()))
        case "plan":
            from .plan import plan_text

            return plan_text(native, sizes)
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


def translated_stage(
    program: Program, target: str, level: int, name: str, winograd: bool = True
) -> tuple[str | bytes, str]:
    """One stage of the code for a machine that need not be this one; nothing of it is loaded or run.

    Args:
        target: see `backends.llvm.target.target_for`
        name:   ir, kernels, llvm, asm (text); obj (bytes)
        winograd: whether convolutions may take its transforms

    Returns:
        the stage, and the machine's triple and CPU

    Raises:
        BackendError: there is no such target
        InputError: the stage is none of a translation
    """
    from ..backends.base import find_backend
    from ..backends.llvm.target import target_for
    from ..backends.llvm.translate import translate
    from ..passes.manager import run_pipeline

    chosen = replace(target_for(target), winograd=winograd)
    legal = run_pipeline(program, find_backend("llvm").pipeline(level), verify=False).program
    machine = f"{chosen.triple}:{chosen.cpu}"
    if name == "ir":
        return str(legal), machine
    found = translate(legal, chosen)
    match name:
        case "kernels":
            from ..backends.llvm.tuning import with_schedules

            return str(with_schedules(found.assembled.program, chosen)), machine
        case "llvm":
            return found.text, machine
        case "asm":
            return found.assembly(), machine
        case "obj":
            return found.object(), machine
        case _:
            raise InputError(f"stage {name} is made by running on this machine", hint="leave --target out")


def _native(executable: Executable, name: str) -> LLVMExecutable:
    from ..backends.llvm.executable import LLVMExecutable

    if not isinstance(executable, LLVMExecutable):
        raise InputError(f"backend {executable.backend} has no stage {name}", hint="choose --backend llvm")
    return executable
