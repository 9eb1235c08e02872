"""LLVM text to object bytes, through the cache. The module pass pipeline is not run: what it would find is written out."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...ir.errors import BackendError
from ...runtime import cache as disk
from .host import library
from .target import Target, llvm

__all__ = ["CodegenOptions", "assembly", "compile_object", "llvm_version", "undefined_symbols"]


SWITCHES = range(18, 23)
"""Versions of LLVM that are known to have the switch: it ends the process for one that it does not know."""


@dataclass(frozen=True, slots=True)
class CodegenOptions:
    """How LLVM's code generator runs.

    Args:
        level:    0 to 3; 1 is as fast as 3 for the code we emit, and quicker to make
        reloc:    `pic` for what is linked or loaded anywhere
        strength: whether LLVM looks for cheaper induction variables; our loops are written so that it gains nothing, and it would be a
                  quarter of the time
    """

    level: int = 1
    reloc: str = "pic"
    strength: bool = False


@cache
def llvm_version() -> str:
    """The versions of llvmlite and LLVM."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__} llvm {'.'.join(map(str, llvm().llvm_version_info))}"


@cache
def _machine(target: Target, options: CodegenOptions) -> Any:
    binding = llvm()
    chosen = binding.Target.from_triple(target.triple)
    return chosen.create_target_machine(
        cpu=target.cpu, features=target.features, opt=options.level, reloc=options.reloc, codemodel="default"
    )


_EMITTING = threading.Lock()


@contextmanager
def _emitting(options: CodegenOptions) -> Generator[None]:
    """While code is made: what only LLVM's command line can set, which holds for the process, is set and put back."""
    switch = not options.strength and llvm().llvm_version_info[0] in SWITCHES
    with _EMITTING:
        if switch:
            llvm().set_option("nervure", "-disable-lsr=true")
        try:
            yield
        finally:
            if switch:
                llvm().set_option("nervure", "-disable-lsr=false")


def compile_object(
    text: str, target: Target, options: CodegenOptions | None = None, *, cached: bool = True
) -> bytes:
    """The object of a module's text; equal texts give equal bytes.

    Raises:
        BackendError: LLVM refuses the text, or it needs a symbol outside ALLOWED_EXTERNALS
    """
    options = options or CodegenOptions()
    key = disk.cache_key("object", text, library(), repr(target), repr(options)) if cached else ""
    found = disk.load(key) if cached else None
    if found is not None:
        return found
    binding = llvm()
    machine = _machine(target, options)
    try:
        module = binding.parse_assembly(text)
    except RuntimeError as error:
        raise BackendError(f"llvm refuses a module: {str(error).strip()}") from None
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    with _emitting(options):
        data = bytes(machine.emit_object(module))
    module.close()
    if cached:
        disk.save(key, data)
    return data


def assembly(text: str, target: Target, options: CodegenOptions | None = None) -> str:
    """The assembly of a module's text, as the object's code generator would write it."""
    options = options or CodegenOptions()
    machine = _machine(target, options)
    module = llvm().parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    with _emitting(options):
        found = str(machine.emit_assembly(module))
    module.close()
    return found


def undefined_symbols(text: str) -> tuple[str, ...]:
    """The symbols that a module's text declares and that LLVM does not define itself."""
    from .emit import ALLOWED_EXTERNALS

    names = re.findall(r"^declare [^@]*@([\w.]+)\(", text, re.MULTILINE)
    unknown = sorted({n for n in names if not n.startswith("llvm.")})
    foreign = [n for n in unknown if n not in ALLOWED_EXTERNALS]
    assert not foreign, f"foreign symbols: {foreign}"
    return tuple(unknown)
