"""What `nv.compile(..., backend="llvm")` takes beside the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...ir.errors import BackendError, InputError
from ...runtime.executable import check_device
from ...runtime.threads import checked_threads
from .choices import load_choices
from .target import Target, runnable_target

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """The options of a compilation.

    Args:
        device:     "cpu"
        cache:      whether objects are kept on disk
        max_memory: bytes of scratch memory and prepared weights that a call may take, and its results; refused
                    before allocation, and in compilation where every size of the symbols needs more
        codegen:    LLVM's code generation level, 0 to 3
        target:     a CPU that this machine can stand in for, such as `haswell`; None for this machine
        threads:    how many may work on a call, the caller's own among them; None for nv.set_num_threads's number.
                    Results are the same bits for any number
        winograd:   "auto" lets 3 x 3 convolutions of stride 1 take Winograd's F(4x4, 3x3) where that is faster, with an
                    error of up to about 1e-5 of a result's largest element; "off" never
        schedules:  of kernels, as `nervure tune` records them; the record of this machine if not given, none
                    where cache is False
    """

    device: str = "cpu"
    cache: bool = True
    max_memory: int | None = None
    codegen: int = 1
    target: str | Target | None = None
    threads: int | None = None
    winograd: str = "auto"
    schedules: Mapping[str, str] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """The options by name.

        Raises:
            BackendError, InputError: an unknown option, or a value that there is not
        """
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise BackendError(f"llvm: unknown option {unknown[0]}", hint=f"it has {', '.join(known)}")
        found = cls(**given)
        check_device(found.device, ["cpu"], "llvm")
        if found.threads is not None:
            checked_threads(found.threads, "compile")
        if found.max_memory is not None and (type(found.max_memory) is not int or found.max_memory < 0):
            raise InputError(f"llvm: max_memory is {found.max_memory!r}, expected a number of bytes")
        if type(found.codegen) is not int or not 0 <= found.codegen <= 3:
            raise InputError(f"llvm: codegen is {found.codegen!r}, expected an integer in 0..3")
        if found.winograd not in ("auto", "off"):
            raise BackendError(f'llvm: winograd is {found.winograd!r}, expected "auto" or "off"')
        return found

    @property
    def machine(self) -> Target:
        """The machine that code is made for."""
        return replace(runnable_target(self.target), winograd=self.winograd == "auto")

    @property
    def choices(self) -> Mapping[str, str]:
        """The schedules that kernels take instead of the target's, by their digests."""
        if self.schedules is not None or not self.cache:
            return self.schedules or {}
        return load_choices(self.machine)
