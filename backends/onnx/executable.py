"""A program as an onnxruntime session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.errors import BackendError
from ...ir.interpret import run_prepare
from ...ir.program import Program
from ...ir.types import Array
from ...runtime.executable import Executable
from ..signatures import signature_of
from .export import onnx_model, reads_of

__all__ = ["OnnxExecutable"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxExecutable(Executable):
    """Runs a model with onnxruntime. Store entries are inputs of the model, so that new weights need no new session.

    Attributes:
        model: the ModelProto
    """

    def __init__(self, program: Program, device: str, threads: int) -> None:
        super().__init__(program.name, signature_of(program), program.store, "onnx")
        self.model = onnx_model(program, weights="inputs")
        self._session = open_session(self.model.SerializeToString(deterministic=True), device, threads)
        self._source = program
        given = [i.name for i in self.model.graph.input]
        self._inputs = given[: len(program.main.inputs)]
        self._reads = list(zip(reads_of(program.main), given[len(program.main.inputs) :], strict=True))
        self._updates = [name for name, _ in program.main.updates]
        self._prepared: tuple[Any, int] | None = None

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        store = self._source.store
        with store.ledger.lock:
            if self._source.prepare is not None and self._prepared != (store.ledger, store.ledger.version):
                run_prepare(self._source)
                self._prepared = (store.ledger, store.ledger.version)
            feeds = dict(zip(self._inputs, inputs, strict=True))
            feeds.update((name, store[entry].data) for entry, name in self._reads)
            try:
                found = self._session.run(None, feeds)
            except Exception as error:
                raise BackendError(f"onnxruntime failed in {self.name}: {first_line(error)}") from error
            for out, array in zip(outputs, found, strict=False):
                out[...] = array
            for name, array in zip(self._updates, found[len(outputs) :], strict=True):
                store[name].assign(array)


def open_session(model: bytes, device: str, threads: int) -> Any:
    """An onnxruntime session on the device that was asked for.

    Raises:
        BackendError: onnxruntime lacks the provider here, or refuses the model
    """
    import onnxruntime as untyped

    onnxruntime: Any = untyped
    wanted = PROVIDERS[device]
    if wanted not in onnxruntime.get_available_providers():
        raise _missing(device, wanted)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails raises; onnxruntime would say it on stderr too
    options.use_deterministic_compute = True
    if threads:
        options.intra_op_num_threads = threads
    providers = [wanted] if device == "cpu" else [wanted, PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        raise BackendError(f"onnxruntime refuses the model: {first_line(error)}") from error
    if wanted not in session.get_providers():
        raise _missing(device, wanted)
    return session


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _missing(device: str, provider: str) -> BackendError:
    return BackendError(
        f"onnx: device {device} needs {provider}, which this onnxruntime has not",
        hint="install the package onnxruntime-gpu in place of onnxruntime" if device == "cuda" else None,
    )
