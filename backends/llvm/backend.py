"""The LLVM backend: programs to machine code for this CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...ir.errors import BackendError
from ...ir.op import Level, Op
from ...ir.ops.linalg import REFERENCE_ONLY, Factorization
from ...ir.program import Program
from ...ir.types import DType
from ...runtime.executable import Executable, check_device
from ...runtime.native import NativeProgram
from ...runtime.threads import checked_threads
from ..results import refuse_large_results
from .lower import BARRIERS
from .lower.pull import MAPS

if TYPE_CHECKING:
    from ...passes.manager import Pipeline
    from .target import Target

__all__ = ["LLVMBackend"]


class LLVMBackend:
    """Kernels for the CPU, made by LLVM."""

    name = "llvm"

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        if op.mnemonic in MAPS or op.mnemonic in BARRIERS or op.mnemonic == "fuse":
            return None
        if isinstance(op, Factorization):
            return REFERENCE_ONLY
        if op.level is Level.NN:
            return "it is a composite"
        return "it has no kernel"

    def pipeline(self, level: int) -> Pipeline:
        from ...passes.levels import CLEAN, standard_pipeline
        from ...passes.manager import Pipeline

        legal = Pipeline.parse("decompose{keep=relu},legalize{backend=llvm}")
        if level == 0:
            return legal
        return standard_pipeline(level) + legal + Pipeline.parse(f"{CLEAN},split-prepare,fuse,dce,order")

    def compile(
        self,
        program: Program,
        *,
        device: str = "cpu",
        cache: bool = True,
        max_memory: int | None = None,
        codegen: int = 2,
        target: str | Target | None = None,
        threads: int | None = None,
        winograd: str = "auto",
        schedules: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Executable:
        """Machine code for this CPU.

        Args:
            cache:      whether objects are kept on disk
            max_memory: bytes of scratch memory and prepared weights that a call may take, and its results; refused
                        before allocation, and here where every size of the symbols needs more
            codegen:    LLVM's code generation level, 0 to 3
            target:     a CPU that this machine can stand in for, such as `haswell`; None for this machine
            threads:    how many may work on a call, the caller's own among them; None for nv.set_num_threads's number.
                        Results are the same bits for any number
            winograd:   "auto" lets 3 x 3 convolutions of stride 1 take Winograd's F(4x4, 3x3) where that is faster, with an
                        error of up to about 1e-5 of a result's largest element; "off" never
            schedules:  of kernels, as `nervure tune` records them; the record of this machine if not given, none
                        where cache is False
        """
        from .emit_parallel import TASK
        from .emit_program import ENTRY_POINTS
        from .executable import executable_type
        from .jit import load_object
        from .pool import join_pool
        from .target import runnable_target
        from .translate import translate

        check_device(device, ["cpu"], self.name)
        if options:
            raise BackendError(
                f"llvm: unknown option {sorted(options)[0]}",
                hint="it has cache, max_memory, codegen, target, threads, winograd and schedules",
            )
        if threads is not None:
            checked_threads(threads, "compile")
        if winograd not in ("auto", "off"):
            raise BackendError(f'llvm: winograd is {winograd!r}, expected "auto" or "off"')
        if max_memory is not None:
            refuse_large_results(program.main, max_memory)
        machine = replace(runnable_target(target), winograd=winograd == "auto")
        found = translate(program, machine, schedules if cache or schedules else {})
        data = found.object(codegen, cached=cache)
        loaded = load_object(data, ENTRY_POINTS)
        function, team = join_pool(threads) if TASK in found.text else (0, None)
        native = NativeProgram(
            loaded.address,
            len(program.symbols),
            parallel_for=function,
            team=team,
            max_memory=max_memory,
            keep=loaded,
        )
        made = executable_type()(program, found.assembled, found.text, data, native)
        made.max_memory = max_memory
        return made
