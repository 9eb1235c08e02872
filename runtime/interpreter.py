"""What the call's machine code relies on of CPython and NumPy: checked here once, or the call goes through ctypes."""

from __future__ import annotations

import ctypes
import struct
import sys
import sysconfig
from functools import cache
from typing import Any

import numpy as np

__all__ = ["address_of", "array_functions", "new_array_address", "refusal", "set_words", "subtype"]

KNOWN = ((3, 11), (3, 12), (3, 13))
"""The versions whose structures were looked at and whose calls are tested."""
TYPE, DATA, RANK, SHAPE, DESCR, FLAGS = 8, 16, 24, 32, 56, 64
"""Offsets in bytes: of an object's type; in an array."""

_NEW_FROM_DESCR = 94
"""The place of PyArray_NewFromDescr in NumPy's table."""
_VECTORCALL = 1 << 11
_SLOT_CALL, _SLOT_MEMBERS = 50, 72
_SSIZE, _READONLY = 19, 1


@cache
def refusal() -> str | None:
    """Why calls take the way through ctypes; None where they need not."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sys.version_info[:2] not in KNOWN:
        return f"CPython {sys.version_info[0]}.{sys.version_info[1]} is not known"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sysconfig.get_config_var("Py_TRACE_REFS"):
        return "this build of CPython has objects of another layout"
    if struct.calcsize("P") != 8 or sys.byteorder != "little" or sys.platform == "win32":
        return "this platform is not known"
    if array_functions() is None:
        return "numpy has no table of functions"
    arrays = [
        np.zeros((3, 5), "f4"),
        np.zeros((3, 5), "i8").T,
        np.zeros(()),
        np.zeros((2, 0), "?"),
        np.zeros(7, "f8")[::2],
    ]
    arrays.append(np.zeros(17, "u1")[1:].view("f8"))
    locked = np.ones(4, "f4")
    locked.flags.writeable = False
    if not all(map(_looks_as_thought, [*arrays, locked])):
        return "numpy's arrays have another layout"
    return None


def _looks_as_thought(a: np.ndarray[Any, Any]) -> bool:
    def word(offset: int) -> int:
        return ctypes.c_int64.from_address(id(a) + offset).value

    def half(offset: int) -> int:
        return ctypes.c_int32.from_address(id(a) + offset).value

    shape = tuple((ctypes.c_int64 * a.ndim).from_address(word(SHAPE))) if a.ndim else ()
    return (
        word(TYPE) == id(np.ndarray)
        and word(DATA) == a.ctypes.data
        and half(RANK) == a.ndim
        and shape == a.shape
        and word(DESCR) == id(a.dtype)
        and half(FLAGS) == a.flags.num
    )


def array_functions(count: int = _NEW_FROM_DESCR + 1) -> Any:
    """The first so many addresses of NumPy's table of functions; None where it has none."""
    module: Any = sys.modules.get("numpy._core._multiarray_umath") or sys.modules.get(
        "numpy.core._multiarray_umath"
    )
    capsule = getattr(module, "_ARRAY_API", None)
    if capsule is None:
        return None
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = (ctypes.c_void_p * count).from_address(pointer(capsule, None))
    return table if table[2] == id(np.ndarray) else None


def new_array_address() -> int:
    """The address of PyArray_NewFromDescr."""
    return int(array_functions()[_NEW_FROM_DESCR])


def address_of(name: str) -> int:
    """The address of one of Python's own C functions."""
    found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert found is not None
    return found


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


_KEPT: list[Any] = []


def subtype(base: type) -> type:
    """A subclass whose instances hold two words of their own behind the base's: a vectorcall function, and what that reads.

    Through PyType_FromSpecWithBases and `__vectorcalloffset__`, both in the stable interface.
    """
    offset = base.__basicsize__
    members = (_Member * 2)(_Member(b"__vectorcalloffset__", _SSIZE, offset, _READONLY, None), _Member())
    slots = (_Slot * 3)(
        _Slot(_SLOT_CALL, address_of("PyVectorcall_Call")),
        _Slot(_SLOT_MEMBERS, ctypes.addressof(members)),
        _Slot(0, None),
    )
    name = f"{base.__module__}.{base.__qualname__}".encode()
    spec = _Spec(name, offset + 16, 0, _VECTORCALL, slots)
    _KEPT.extend((members, slots, spec, name))
    make = ctypes.pythonapi.PyType_FromSpecWithBases
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object]
    made = make(ctypes.addressof(spec), (base,))
    assert isinstance(made, type)
    made.__doc__ = base.__doc__
    return made


def set_words(instance: object, base: type, function: int, table: int) -> None:
    """Fill the two words of an instance of a subtype."""
    words = (ctypes.c_void_p * 2).from_address(id(instance) + base.__basicsize__)
    words[0], words[1] = function, table
