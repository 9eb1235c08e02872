"""Memory for large results: NumPy's, on 64-byte boundaries; what machine code needs to know for it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from .interpreter import array_functions, new_array_address

__all__ = ["ALLOCATOR", "LEAST", "MemoryTable", "memory_table"]

LEAST = 16 << 10
"""Bytes of a result from which on it lies on a 64-byte boundary; smaller ones stay in the first cache."""
ALLOCATOR = ("nv_malloc", "nv_calloc", "nv_realloc", "nv_free")
"""Machine code of an allocator, in the order of NumPy's structure."""

_WORD, _INT = ctypes.c_void_p, ctypes.c_int64
_GET_HANDLER, _DEFAULT_HANDLER = 305, 306
_OWNER = 88
"""The offset of an array's handler."""
_NEVER = (1 << 63) - 1


class MemoryTable(ctypes.Structure):
    """%memory of the machine code: how to make arrays."""

    _fields_ = (
        ("array", _WORD),
        ("new", _WORD),
        ("least", _INT),
        ("get", _WORD),
        ("usual", _WORD),
        ("plain", _WORD),
        ("handler", _WORD),
    )


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of NumPy 1.22 and later."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", _WORD),
        ("malloc", _WORD),
        ("calloc", _WORD),
        ("realloc", _WORD),
        ("free", _WORD),
    )


def memory_table(allocator: Mapping[str, int]) -> MemoryTable:
    """The table for an allocator's functions; one that leaves all arrays to NumPy where its structures are not those known here.

    What it names is never freed: arrays may outlive every module.
    """
    table = MemoryTable(id(np.ndarray), new_array_address(), _NEVER)
    functions = array_functions(_DEFAULT_HANDLER + 1)
    get, place = functions[_GET_HANDLER], functions[_DEFAULT_HANDLER]
    if not get or not place:
        return table
    usual = _INT.from_address(place).value
    owned = np.empty(4)
    owners = [_INT.from_address(id(a) + _OWNER).value for a in (owned, owned[1:])]
    pointer: Any = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = _WORD, [ctypes.py_object, ctypes.c_char_p]
    current: Any = ctypes.PYFUNCTYPE(ctypes.py_object)(get)()
    if id(current) != usual or owners != [usual, 0]:
        return table
    plain = pointer(current, b"mem_handler")
    if _Handler.from_address(plain).version != 1:
        return table
    handler = _Handler(b"nervure_lines_of_64_bytes", 1, plain, *(allocator[name] for name in ALLOCATOR))
    make: Any = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [_WORD, ctypes.c_char_p, _WORD]
    capsule = make(ctypes.addressof(handler), _NAME, None)
    for kept in (handler, capsule, _NAME):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    table.get, table.usual, table.plain, table.handler, table.least = get, usual, plain, id(capsule), LEAST
    return table


_NAME = b"mem_handler"
"""The capsule's name; it keeps the address."""
