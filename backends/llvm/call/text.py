"""The call as LLVM text: from Python objects to nv_run without a Python frame.

`nv_call` is the vectorcall function of an executable, `nv_call_raw` that of a prepared call. What a call has to look like
stands in a table (`%call`, runtime/calls.py's CallTable): a call that fits it runs here; any other, and any that a check refuses, goes to
the Python function `slow` with the same arguments, which runs it or says what is wrong. Nothing is written before all
checks are done.

Fields of objects are read at the offsets of CPython 3.11 to 3.13 and NumPy 1 and 2, which runtime/interpreter.py
probes at start-up: ob_type 8; of an array data 16, nd 24, dimensions 32, descr 56, flags 64, and the owner of its memory 88 (runtime/placing.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from .entry import ENTRY
from .inputs import INPUTS
from .memory import MEMORY
from .outputs import OUTPUTS
from .running import RUNNING

__all__ = ["CALL_ENTRY_POINTS", "PYTHON_API", "call_text"]

CALL_ENTRY_POINTS = (
    "nv_call", "nv_call_raw", "nv_pop", "nv_push", "nv_malloc", "nv_calloc", "nv_realloc", "nv_free", "nv_new_array",
)  # fmt: skip

PYTHON_API = (
    "PyErr_Clear", "PyEval_RestoreThread", "PyEval_SaveThread", "PyObject_CallNoArgs", "PyObject_Vectorcall", "PyTuple_GetItem",
    "PyTraceMalloc_Track", "PyTuple_New", "PyTuple_SetItem", "PyTuple_Size", "Py_DecRef", "Py_IncRef",
)  # fmt: skip
"""What the text calls of Python; all but PyTraceMalloc_Track stand in the stable interface."""

_TYPES = """
; 0 ready, 1 version's address, 2 version, 3 free contexts, 4 nv_run, 5 nv_plan, 6 nv_sizes, 7 inputs, 8 outputs, 9 symbols,
; 10 input ports, 11 output ports, 12 ranges, 13 dims, 14 values, 15 arena, 16 patience, 17 slow, 18 updates, 19 acquire,
; 20 release, 21 array type, 22 tuple type, 23 "out", 24 None, 25 number of values, 26 memory
%call = type { i64, ptr, i64, ptr, ptr, ptr, ptr, i64, i64, i64, ptr, ptr, ptr, ptr, ptr, i64, i64, ptr, i64, ptr, ptr, ptr, ptr, ptr, ptr, i64, ptr }
; 0 descr, 1 rank, 2 axes, 3 bytes of an element, 4 bytes of an element whose range is checked, 5 lowest, 6 how many
%port = type { ptr, i64, ptr, i64, i64, i64, i64 }
; 0 constant, 1 binds symbol, 2 is symbol, 3 is value; and the number; of a symbol how often the axis holds it, and what is added
%axis = type { i64, i64, i64, i64 }
; the least and the largest that a symbol may be
%range = type { i64, i64 }
; nv_context, 6 next, 7 bytes of arena
%context = type { ptr, ptr, ptr, ptr, ptr, ptr, ptr, i64 }
; 0 the call's table, 1 inputs, 2 outputs, 3 dims, 4 arena, 5 cost, 6 slow
%raw = type { ptr, ptr, ptr, ptr, i64, i64, ptr }
; 0 array type, 1 new array, 2 bytes of the least on a boundary, 3 get handler, 4 the usual handler, 5 its structure, 6 ours
%memory = type { ptr, ptr, i64, ptr, ptr, ptr, ptr }

declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @PyErr_Clear()
declare i32 @PyTraceMalloc_Track(i32, i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""


def call_text(offsets: Mapping[str, int]) -> str:
    """The text; offsets say where an executable (CALL) and a raw call (RAW) hold the address of their table."""
    text = "\n".join((_TYPES, INPUTS, MEMORY, OUTPUTS, RUNNING, ENTRY))
    for name, offset in offsets.items():
        text = text.replace(f"<{name}>", str(offset))
    return text
