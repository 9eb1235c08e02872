"""Runs machine code: the entry points of an object, contexts with their arenas, and the memory limit."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence

import numpy as np

from ..ir.errors import InputError, NervureError
from ..ir.types import Array
from .threads import Team

__all__ = ["ContextStruct", "FreeList", "NativeProgram"]

_WORD = ctypes.c_void_p
_RUN = ctypes.CFUNCTYPE(ctypes.c_int32, _WORD, _WORD, _WORD, _WORD)
_PREPARE = ctypes.CFUNCTYPE(ctypes.c_int32, _WORD)
_PLAN = ctypes.CFUNCTYPE(None, _WORD, _WORD)
_PREPARE_PLAN = ctypes.CFUNCTYPE(None, _WORD)
_TRACE = ctypes.CFUNCTYPE(None, _WORD, ctypes.c_int64)
_ALIGNMENT = 64


class ContextStruct(ctypes.Structure):
    """nv_context, the run context of backends/llvm/context.py."""

    _fields_ = (
        ("parallel_for", _WORD),
        ("store", _WORD),
        ("prepared", _WORD),
        ("arena", _WORD),
        ("user", _WORD),
        ("trace", _WORD),
        ("next", _WORD),  # what follows is not the code's: the next free context, and the bytes of the arena
        ("capacity", ctypes.c_int64),
    )


class _Context:
    """A context and the arena that belongs to it; used by one call at a time."""

    def __init__(self) -> None:
        self.struct = ContextStruct()
        self.address = ctypes.addressof(self.struct)
        self.size = 0
        self.memory: Array | None = None

    def grow(self, size: int) -> None:
        if size > self.size or self.memory is None:
            self.memory, self.struct.arena = _aligned(size)
            self.size = self.struct.capacity = size


class FreeList:
    """Addresses of contexts that no call uses; pop gives 0 where there is none."""

    def __init__(self) -> None:
        self._addresses: list[int] = []

    def pop(self) -> int:
        return self._addresses.pop() if self._addresses else 0

    def push(self, address: int) -> None:
        self._addresses.append(address)


def _aligned(size: int) -> tuple[Array, int]:
    memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    return memory, -(-memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT


class NativeProgram:
    """The entry points of a loaded object.

    Shareable between threads: every call takes a context of its own. `prepare` must not run beside calls.

    Args:
        address:      the address of an entry point by its name
        symbols:      how many dims a call takes
        parallel_for: address of a fork-join function; the object's own serial one where 0
        team:         what that function finds in the context
        max_memory:   bytes of arena and prepared memory that a call may need; None for no limit
        keep:         what must live as long as the code
    """

    def __init__(
        self,
        address: Callable[[str], int],
        symbols: int,
        *,
        parallel_for: int = 0,
        team: Team | None = None,
        max_memory: int | None = None,
        keep: object = None,
    ) -> None:
        self._keep = keep
        self.address = address
        self._run = _RUN(address("nv_run"))
        self._prepare = _PREPARE(address("nv_prepare"))
        self._plan = _PLAN(address("nv_plan"))
        self._prepare_plan = _PREPARE_PLAN(address("nv_prepare_plan"))
        self._sizes_of = _PLAN(address("nv_sizes"))
        self._parallel_for = parallel_for or address("nv_serial")
        self._team = team
        self._user = 0 if team is None else ctypes.addressof(team)
        self._max_memory = max_memory
        self._dims = ctypes.c_int64 * symbols
        self._sizes = ctypes.c_int64 * 2
        self._store = (_WORD * 0)()
        self._prepared: tuple[Array, int] = _aligned(0)
        self._planned: tuple[tuple[int, ...], int] | None = None
        self._contexts: dict[int, _Context] = {}
        self._free = FreeList()
        self._lock = threading.Lock()

    def plan(self, dims: Sequence[int]) -> tuple[int, int]:
        """Bytes of arena and of prepared memory for given dims."""
        given, sizes = self._dims(*dims), self._sizes()
        self._plan(ctypes.addressof(given), ctypes.addressof(sizes))
        return int(sizes[0]), int(sizes[1])

    def sizes(self, dims: Sequence[int], count: int) -> list[int]:
        """What nv_sizes gives for given dims: picoseconds of a run, then extents."""
        given, found = self._dims(*dims), (ctypes.c_int64 * count)()
        self._sizes_of(ctypes.addressof(given), ctypes.addressof(found))
        return list(found)

    def arena_bytes(self, dims: tuple[int, ...]) -> int:
        """Bytes of arena that a call needs.

        Raises:
            InputError: more than max_memory allows
        """
        planned = self._planned
        if planned is not None and planned[0] == dims:
            return planned[1]
        arena, prepared = self.plan(dims)
        if self._max_memory is not None and arena + prepared > self._max_memory:
            raise InputError(
                f"the call needs {arena + prepared} bytes, max_memory is {self._max_memory}",
                details=[f"arena {arena} bytes, prepared weights {prepared} bytes"],
                code="NV0605",
            )
        self._planned = (dims, arena)
        return arena

    def prepare(self, store: Sequence[int]) -> None:
        """Tell where the store's entries lie, in slot order, and make the prepared memory from them.

        Args:
            store: addresses; what they point to must stay there until the next prepare
        """
        sizes = self._sizes()
        self._prepare_plan(ctypes.addressof(sizes))
        arena, prepared = int(sizes[0]), int(sizes[1])
        if self._max_memory is not None and arena + prepared > self._max_memory:
            raise InputError(
                f"preparing the weights needs {arena + prepared} bytes, max_memory is {self._max_memory}",
                code="NV0605",
            )
        if len(self._store) != len(store):
            self._store = (_WORD * len(store))()
        self._store[:] = store  # in place: contexts know where it is
        if self._prepared[0].size < prepared + _ALIGNMENT:
            self._prepared = _aligned(prepared)
        context = self._take(arena)
        try:
            self._check(self._prepare(context.address))
        finally:
            self._give(context)

    def run(self, inputs: Sequence[int], outputs: Sequence[int], dims: Sequence[int] = ()) -> None:
        """Run on addresses of inputs and outputs, C-contiguous, of the sizes that the dims say."""
        self._call(inputs, outputs, tuple(dims), 0)

    def run_traced(
        self, inputs: Sequence[int], outputs: Sequence[int], dims: Sequence[int], after: Callable[[int], None]
    ) -> None:
        """As run; calls `after(-1)` at the beginning and `after(n)` when the n-th top-level step is done."""

        def call(context: int, step: int) -> None:
            del context
            after(step)

        hook = _TRACE(call)
        self.run_hooked(inputs, outputs, dims, ctypes.cast(hook, _WORD).value or 0)  # pyright: ignore[reportArgumentType] -- a CFUNCTYPE object

    def run_hooked(
        self, inputs: Sequence[int], outputs: Sequence[int], dims: Sequence[int], hook: int
    ) -> None:
        """As run; calls the machine code at `hook` with the context and what `run_traced` says; nothing where it is 0."""
        self._call(inputs, outputs, tuple(dims), hook)

    def _call(self, inputs: Sequence[int], outputs: Sequence[int], dims: tuple[int, ...], hook: int) -> None:
        context = self._take(self.arena_bytes(dims))
        try:
            context.struct.trace = hook or None
            a, b, d = (_WORD * len(inputs))(*inputs), (_WORD * len(outputs))(*outputs), self._dims(*dims)
            address = ctypes.addressof
            self._check(self._run(context.address, address(a), address(b), address(d)))
        finally:
            self._give(context)

    def _take(self, arena: int) -> _Context:
        with self._lock:
            address = self._free.pop()
            context = self._contexts[address] if address else _Context()
            self._contexts[context.address] = context
        context.grow(arena)
        s = context.struct
        s.parallel_for, s.user, s.trace = self._parallel_for, self._user, None
        s.store, s.prepared = ctypes.addressof(self._store), self._prepared[1]
        return context

    def _give(self, context: _Context) -> None:
        context.struct.trace = None
        with self._lock:
            self._free.push(context.address)

    def share_contexts(self, free: FreeList) -> None:
        """Keep the free contexts elsewhere from now on."""
        with self._lock:
            while address := self._free.pop():
                free.push(address)
            self._free = free

    def _check(self, code: int) -> None:
        if code:
            raise NervureError(f"the program stopped with code {code}")
