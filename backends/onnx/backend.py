"""The ONNX backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...ir.errors import BackendError
from ...ir.op import Op
from ...ir.program import Program
from ...ir.types import DType
from ...runtime.executable import Executable, check_device
from ..base import KernelError
from .table import reason_against

if TYPE_CHECKING:
    from ...passes.manager import Pipeline

__all__ = ["OnnxBackend"]


class OnnxBackend:
    """Programs as ONNX models of standard ops, run by onnxruntime."""

    name = "onnx"

    @property
    def errors(self) -> Mapping[str, KernelError]:
        """How far kernels of onnxruntime are off; see `docs/onnx-deviations.md`."""
        from .deviations import ERRORS

        return ERRORS

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        return reason_against(op, dtypes)

    def pipeline(self, level: int) -> Pipeline:
        from ...passes.levels import CLEAN, standard_pipeline
        from ...passes.manager import Pipeline

        legal = Pipeline.parse("legalize{backend=onnx}")
        return (
            legal
            if level == 0
            else standard_pipeline(level) + Pipeline.parse("recognize,dce") + legal + Pipeline.parse(CLEAN)
        )

    def compile(
        self, program: Program, *, device: str = "cpu", threads: int = 0, **options: Any
    ) -> Executable:
        """An onnxruntime session.

        Args:
            device:  "cpu" or "cuda"; an error where onnxruntime has no such provider here
            threads: of onnxruntime; 0 lets it choose
        """
        from .executable import OnnxExecutable

        check_device(device, ["cpu", "cuda"], self.name)
        if options:
            raise BackendError(f"onnx: unknown option {sorted(options)[0]}", hint="it has threads")
        return OnnxExecutable(program, device, threads)
