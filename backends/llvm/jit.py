"""Loads object bytes into the process: by elf.py, or by a fresh LLJIT for each; both give their memory back when closed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from typing import Any

from ...ir.errors import BackendError
from .elf import LoadedElf, MissingSymbol, load_elf
from .target import host_target, llvm

__all__ = ["LoadedObject", "load_object"]

_COUNT = itertools.count()


class LoadedObject:
    """Machine code in memory; `address` finds its functions until `close`."""

    def __init__(self, compiler: Any, tracker: Any, name: str) -> None:
        self._compiler: Any = compiler
        self._tracker: Any = tracker
        self.name = name

    def address(self, symbol: str) -> int:
        """Where a function of the object is."""
        return int(self._tracker[symbol])

    def close(self) -> None:
        """Give the memory back; the code must not run any more."""
        # no lock of ours: this may run in the midst of a load, where the collector finds an executable
        compiler, self._compiler = self._compiler, None
        if compiler is not None:
            self._tracker.close()
            compiler.close()

    def keep(self) -> LoadedObject:
        """Never give the memory back: other threads, or objects that outlive LLVM, run the code."""
        for owner in (self._tracker, self._compiler):
            owner.detach()
        self._compiler = None
        return self

    def __del__(self) -> None:
        if getattr(self, "_compiler", None) is None:
            return
        if sys.is_finalizing():
            self.keep()  # the process ends, and LLVM may have ended already
        else:
            self.close()


def load_object(
    data: bytes, symbols: tuple[str, ...], imports: Mapping[str, int] | None = None
) -> LoadedObject | LoadedElf:
    """Link an object into this process.

    Args:
        symbols: the functions that `address` finds
        imports: addresses of functions that the process does not export

    Raises:
        BackendError: a symbol is missing here
    """
    try:
        loaded = load_elf(data, symbols, imports or {})
    except MissingSymbol as error:
        raise BackendError(f"an object does not link: {error}") from None
    return _by_llvm(data, symbols, imports or {}) if loaded is None else loaded


def _by_llvm(data: bytes, symbols: tuple[str, ...], imports: Mapping[str, int]) -> LoadedObject:
    binding = llvm()
    host = host_target()
    machine = binding.Target.from_triple(host.triple).create_target_machine(
        cpu=host.cpu, features=host.features, jit=True
    )
    compiler = binding.create_lljit_compiler(machine)
    builder = binding.JITLibraryBuilder().add_object_img(data).add_current_process()
    for symbol, address in imports.items():
        builder = builder.import_symbol(symbol, address)
    for symbol in symbols:
        builder = builder.export_symbol(symbol)
    name = f"nervure{next(_COUNT)}"
    try:
        tracker = builder.link(compiler, name)
    except RuntimeError as error:
        compiler.close()
        raise BackendError(f"an object does not link: {str(error).strip()}") from None
    return LoadedObject(compiler, tracker, name)
