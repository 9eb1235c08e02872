"""The reference backend: the meaning of the IR, evaluated node by node with numpy. Always there, never fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir.errors import InputError
from ..ir.interpret import evaluate_graph, run_prepare
from ..ir.op import Op
from ..ir.program import Program
from ..ir.types import Array, DType
from ..runtime.executable import Executable, check_device
from .signatures import signature_of

if TYPE_CHECKING:
    from ..passes.manager import Pipeline

__all__ = ["ReferenceBackend", "ReferenceExecutable"]


class ReferenceExecutable(Executable):
    """Runs a program with the interpreter; prepares again when the store's version moved."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.name, signature_of(program), program.store, "reference")
        self.program = program
        self._prepared: tuple[Any, int] | None = None

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        graph, store = self.program.main, self.program.store
        with store.ledger.lock:
            seen = (store.ledger, store.ledger.version)
            if self._prepared != seen:
                run_prepare(self.program)
                self._prepared = (store.ledger, store.ledger.version)
            reads = {v.entry: store[v.entry].data for v in graph.reads() if v.entry is not None}
            try:
                results, updates = evaluate_graph(graph, inputs, reads, env=env)
            except MemoryError as error:
                raise InputError(f"reference: no memory: {error}", code="NV0605") from error
            for out, result in zip(outputs, results, strict=True):
                out[...] = result
            store.assign(updates)


class ReferenceBackend:
    """numpy, one node at a time."""

    name = "reference"

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        return None

    def pipeline(self, level: int) -> Pipeline:
        from ..passes.levels import standard_pipeline

        return standard_pipeline(level)

    def compile(self, program: Program, *, device: str = "cpu", **options: Any) -> Executable:
        check_device(device, ["cpu"], self.name)
        return ReferenceExecutable(program)
