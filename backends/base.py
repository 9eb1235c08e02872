"""What a backend is, and how one is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..ir.errors import BackendError
from ..ir.op import Op
from ..ir.program import Program
from ..ir.types import DType
from ..passes.legalize import find_supports_with
from ..runtime.executable import Executable

if TYPE_CHECKING:
    from ..passes.manager import Pipeline

__all__ = ["Backend", "Inexact", "KernelError", "Remembering", "backend_names", "errors_of", "find_backend"]

GROUP = "nervure.backends"


class Backend(Protocol):
    """How programs become something that runs.

    A third party offers one by an entry point of the group ``nervure.backends``: a class without arguments.
    """

    name: str

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        """Why the backend cannot run the op on operands of these element types; None if it can."""
        ...

    def pipeline(self, level: int) -> Pipeline:
        """The passes that bring a traced program into the form that `compile` takes, for ``-O0`` to ``-O3``."""
        ...

    def compile(self, program: Program, *, device: str = "cpu", **options: Any) -> Executable:
        """An executable for a program that went through the pipeline."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A backend that can skip the passes for a program that it compiled before."""

    def recall(self, program: Program, level: int, **options: Any) -> Executable | None:
        """The executable of a program before the passes; None where it was not compiled before."""
        ...

    def remember(self, program: Program, level: int, executable: Executable, **options: Any) -> None:
        """Keep what `recall` needs of a compilation."""
        ...


@dataclass(frozen=True)
class KernelError:
    """How far a kernel's result y in f32 may be off: relative * |y| + absolute."""

    relative: float = 0.0
    absolute: float = 0.0


@runtime_checkable
class Inexact(Protocol):
    """A backend some of whose kernels are less exact than their ops say, by a bound that it states and tests.

    Attributes:
        errors: the bound by mnemonic, of core ops with one result; of a composite: that of such ops within it
    """

    errors: Mapping[str, KernelError]


def errors_of(name: str) -> Mapping[str, KernelError]:
    """How far the kernels of a backend are off, by mnemonic; empty where all are as exact as the ops say."""
    backend = find_backend(name)
    return backend.errors if isinstance(backend, Inexact) else {}


def backend_names() -> tuple[str, ...]:
    """The names of all installed backends, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({e.name for e in entry_points(group=GROUP)} | set(_OWN)))


_OWN = {
    "reference": "nervure.backends.reference:ReferenceBackend",
    "onnx": "nervure.backends.onnx:OnnxBackend",
    "llvm": "nervure.backends.llvm:LLVMBackend",
}
"""The backends that come with nervure; found without installed metadata, as in a bare checkout."""


def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        BackendError: there is none; it lists those there are
    """
    from importlib import import_module

    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        return getattr(import_module(module), attribute)()
    from importlib.metadata import entry_points  # takes longer to import than a small program to compile

    for entry in entry_points(group=GROUP, name=name):
        return entry.load()()
    raise BackendError(f"no backend is named {name}", hint=f"installed are {', '.join(backend_names())}")


find_supports_with(lambda name: find_backend(name).supports)
