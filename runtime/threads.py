"""How many threads a call may use: a number for the process, and one an executable may have for itself."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from ..ir.errors import InputError

__all__ = ["MAX_THREADS", "Team", "checked_threads", "get_num_threads", "set_num_threads", "shared_team"]

MAX_THREADS = 256
VARIABLE = "NERVURE_NUM_THREADS"


class Team(ctypes.Structure):
    """What a call's thread pool is told: the pool's page, the threads that may work, the caller among them, and the function
    that gives way to others for a moment."""

    _fields_ = (("page", ctypes.c_void_p), ("threads", ctypes.c_int64), ("rest", ctypes.c_void_p))
    page: int | None
    threads: int
    rest: int | None


_TEAM = Team(None, 0, None)


def shared_team() -> Team:
    """The team of all executables that were compiled without a number of threads."""
    if _TEAM.threads == 0:
        _TEAM.threads = _default()
    return _TEAM


def get_num_threads() -> int:
    """The threads that a call may use: set_num_threads's, NERVURE_NUM_THREADS's, or one a processor of this process."""
    return shared_team().threads


def set_num_threads(count: int) -> None:
    """Let calls use that many threads, the caller's own among them; results are the same bits for any number.

    Executables that were compiled with `threads=` keep their own number.

    Raises:
        InputError: no integer in 1..256
    """
    shared_team().threads = checked_threads(count, "set_num_threads")


def checked_threads(count: Any, where: str) -> int:
    """A number of threads, or an error that names where it came from."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_THREADS:
        raise InputError(f"{where}: threads is {count!r}, expected an integer in 1..{MAX_THREADS}")
    return count


def _default() -> int:
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return checked_threads(int(given) if given.isascii() and given.isdigit() else given, VARIABLE)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, MAX_THREADS))
