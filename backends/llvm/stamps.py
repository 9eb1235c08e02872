"""Times of the steps of a run, taken by machine code: a clock read a step costs some 25 ns, a call of Python a microsecond.

`nv_run` calls the hook of its context when it begins, with -1, and after each step; the hook here writes the monotonic clock
into an array.
"""

from __future__ import annotations

import ctypes
import sys
from time import perf_counter_ns
from typing import Any

import numpy as np

from ...ir.types import Array
from .jit import load_object
from .objects import CodegenOptions, compile_object
from .target import host_target

__all__ = ["Stamps"]

_CLOCK_MONOTONIC = 1


class Stamps:
    """A hook and the array that it fills; for one run at a time. Where the system's clock is not known, the hook is Python.

    Args:
        steps: of the program
    """

    def __init__(self, steps: int) -> None:
        self._cells = np.zeros((steps + 1, 2), np.int64)
        self.hook: int
        self._keep: Any
        if sys.platform.startswith("linux"):
            text = hook_text(self._cells.ctypes.data)
            self._keep = load_object(
                compile_object(text, host_target(), CodegenOptions(1), cached=False), ("nv_stamp",)
            )
            self.hook = self._keep.address("nv_stamp")
        else:
            self._keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self._stamp)
            self.hook = ctypes.cast(self._keep, ctypes.c_void_p).value or 0

    def _stamp(self, context: int, step: int) -> None:
        del context
        self._cells[step + 1] = divmod(perf_counter_ns(), 1_000_000_000)

    def times(self) -> Array:
        """Seconds from the beginning of the last run to itself and to the end of each of its steps."""
        return (self._cells - self._cells[0]) @ np.array([1.0, 1e-9])


def hook_text(cells: int) -> str:
    """LLVM text of the hook that writes seconds and nanoseconds into an array of pairs at that address."""
    return f"""
define void @nv_stamp(ptr %ctx, i64 %step) nounwind {{
  %next = add i64 %step, 1
  %slot = getelementptr [2 x i64], ptr inttoptr (i64 {cells} to ptr), i64 %next
  %code = call i32 @clock_gettime(i32 {_CLOCK_MONOTONIC}, ptr %slot)
  ret void
}}
declare i32 @clock_gettime(i32, ptr)
"""
