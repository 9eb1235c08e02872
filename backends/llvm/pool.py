"""The thread pool of this process: pool_text.py's code in an LLJIT that is never disposed, and its page of memory."""

from __future__ import annotations

import atexit
import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from ...runtime.threads import Team, shared_team
from .pool_text import PAGE_BYTES, pool_text
from .target import host_target

if TYPE_CHECKING:
    from .elf import LoadedElf
    from .jit import LoadedObject

__all__ = ["Pool", "join_pool", "pool"]

_ENTRY_POINTS = ("nv_pool_for", "nv_pool_rest", "nv_pool_stop")
_WIPEONFORK = 18


class Pool:
    """The loaded pool of this process.

    Attributes:
        function: the address of nv_pool_for
        rest:     that of nv_pool_rest
        page:     the address of its page, which a fork wipes
    """

    def __init__(self, loaded: LoadedObject | LoadedElf) -> None:
        self._loaded = loaded.keep()
        self._memory = mmap.mmap(-1, PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(_WIPEONFORK)
        self._view = ctypes.c_char.from_buffer(self._memory)
        self.page = ctypes.addressof(self._view)
        self.function: int = loaded.address("nv_pool_for")
        self.rest: int = loaded.address("nv_pool_rest")
        stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("nv_pool_stop"))
        self._stop: Callable[[], None] = lambda: stop(self.page)
        atexit.register(self._stop)


def join_pool(threads: int | None) -> tuple[int, Team | None]:
    """The function that shares out work, and the team to be found in the context: all executables' where threads is None.

    0 and None where there is no pool.
    """
    found = pool()
    if found is None:
        return 0, None
    team = shared_team() if threads is None else Team(None, threads, None)
    team.page, team.rest = found.page, found.rest
    return found.function, team


@cache
def pool() -> Pool | None:
    """The pool of this process; None where the platform has none."""
    text = pool_text(host_target())
    if text is None or not sys.platform.startswith("linux"):
        return None
    from .jit import load_object
    from .objects import compile_object

    try:
        return Pool(load_object(compile_object(text, host_target()), _ENTRY_POINTS))
    except OSError:  # a kernel that cannot wipe on fork
        return None
