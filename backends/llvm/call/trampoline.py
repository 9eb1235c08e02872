"""The call's machine code, loaded once, and the types whose instances are called through it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ....ir.types import Array
from ....runtime import interpreter
from ....runtime.native import FreeList
from ....runtime.placing import ALLOCATOR, memory_table
from ..jit import load_object
from ..objects import compile_object
from ..target import host_target
from .text import CALL_ENTRY_POINTS, PYTHON_API, call_text

__all__ = ["SharedFreeList", "Trampoline", "trampoline"]


class Trampoline:
    """The loaded code.

    Attributes:
        executable, raw: subclasses whose instances it calls
        memory: how results are made
    """

    def __init__(self, executable: type, raw: type) -> None:
        text = call_text({"CALL": executable.__basicsize__ + 8, "RAW": raw.__basicsize__ + 8})
        data = compile_object(text, host_target())
        imports = {name: interpreter.address_of(name) for name in PYTHON_API}
        self._loaded = load_object(data, CALL_ENTRY_POINTS, imports).keep()
        self._bases = (executable, raw)
        self._functions = [self._loaded.address(name) for name in ("nv_call", "nv_call_raw")]
        self.executable, self.raw = interpreter.subtype(executable), interpreter.subtype(raw)
        self.pop: Callable[[int], int | None] = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
            self._loaded.address("nv_pop")
        )
        self.push: Callable[[int, int], None] = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(
            self._loaded.address("nv_push")
        )

        self.memory = memory_table({name: self._loaded.address(name) for name in ALLOCATOR})
        self._new: Callable[[int, Any, int, int, int], Array] = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_int, ctypes.c_void_p, ctypes.c_int64
        )(self._loaded.address("nv_new_array"))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A new array as a call makes it.

        Raises:
            MemoryError: as NumPy does
        """
        dims = (ctypes.c_int64 * len(shape))(*shape)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))
        bytes_ = prod(shape) * dtype.itemsize
        return self._new(ctypes.addressof(self.memory), dtype, len(shape), ctypes.addressof(dims), bytes_)

    def attach(self, instance: Any, table: ctypes.Structure) -> None:
        """Let calls of an instance of `executable` or `raw` go through the table, which the instance keeps."""
        which = 0 if isinstance(instance, self.executable) else 1
        interpreter.set_words(instance, self._bases[which], self._functions[which], ctypes.addressof(table))


class SharedFreeList(FreeList):
    """The free contexts of a call table, which machine code takes from too. Under the interpreter's lock each step is whole."""

    def __init__(self, trampoline: Trampoline, table: ctypes.Structure) -> None:
        self._trampoline = trampoline
        self._table = table

    def pop(self) -> int:
        return self._trampoline.pop(ctypes.addressof(self._table)) or 0

    def push(self, address: int) -> None:
        self._trampoline.push(ctypes.addressof(self._table), address)


@cache
def trampoline() -> Trampoline | None:
    """The trampoline of this process; None where the interpreter is not known, and calls go through ctypes."""
    if interpreter.refusal() is not None:
        return None
    from ....runtime.executable import RawCall
    from ..executable import LLVMExecutable

    return Trampoline(LLVMExecutable, RawCall)
