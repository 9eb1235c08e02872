"""Where weights and state live: entries that module, program and executable share by reference.

An entry's array never moves: `assign` copies into it, so that native code may keep its address. Entries that are
used together share one ledger, whose version changes with every write; an executable that prepared something from
weights (packed them, folded a batch norm) compares one integer a call to know whether to prepare again.
"""

from __future__ import annotations

import threading
from array import array as integers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np

from .errors import InputError, NervureError
from .types import Array, TensorType

__all__ = ["Entry", "EntryKind", "Ledger", "Store", "aligned_empty"]

EntryKind = Literal["param", "state", "derived"]
"""A weight; what a step or a forward pass carries on (moments, running means, rng keys); what `prepare` computes."""

ALIGNMENT = 64


class Ledger:
    """The version and the lock of all entries that are used together.

    The version is one integer in memory, `cell`, which machine code reads and counts up as Python does.
    """

    __slots__ = ("cell", "entries", "lock")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.lock = threading.RLock()
        self.cell = integers("q", [0])

    @property
    def version(self) -> int:
        return self.cell[0]

    @version.setter
    def version(self, number: int) -> None:
        self.cell[0] = number


class Entry:
    """One named tensor of a store.

    Args:
        name:      for messages, and in stores that give no other
        type:      its static type
        kind:      param, state or derived
        trainable: whether a training step changes it; params only
        data:      its content, copied into an aligned array; None where a dump came without its data
    """

    __slots__ = ("_data", "kind", "ledger", "name", "trainable", "type")

    def __init__(
        self,
        name: str,
        type: TensorType,
        kind: EntryKind = "param",
        trainable: bool = False,
        data: Any = None,
    ) -> None:
        if not type.is_static:
            raise NervureError(f"store entry {name}: {type} is not static")
        self.name = name
        self.type = type
        self.kind: EntryKind = kind
        self.trainable = trainable
        self._data: Array | None = None
        self.ledger = Ledger()
        self.ledger.entries.append(self)
        if data is not None:
            self.assign(data)

    @property
    def has_data(self) -> bool:
        return self._data is not None

    @property
    def data(self) -> Array:
        """The content itself, not a copy; whoever writes to it calls `touch`."""
        if self._data is None:
            raise InputError(
                f"store entry @{self.name} has no data",
                hint="put the .safetensors file beside the .nv, or make data up: --init random, in Python init='random'",
                code="NV0302",
            )
        return self._data

    def assign(self, value: Any) -> None:
        """Copy an array of the same shape and element type into the entry."""
        array = np.asarray(value)
        shape, dtype = self.type.static_shape(), self.type.dtype.numpy
        if array.shape != shape or array.dtype != dtype:
            raise InputError(
                f"store entry @{self.name} is {self.type}, got an array of {array.dtype}{list(array.shape)}"
            )
        with self.ledger.lock:
            if self._data is None:
                self._data = aligned_empty(shape, dtype)
            self._data[...] = array
            self.touch()

    def adopt(self, array: Array) -> None:
        """Let an array of the entry's type be its content from now on, where it lies; nothing is copied."""
        assert array.shape == self.type.static_shape() and array.dtype == self.type.dtype.numpy
        with self.ledger.lock:
            self._data = array
            self.touch()

    def touch(self) -> None:
        """Say that the content changed."""
        ledger = self.ledger
        with ledger.lock:
            ledger.version += 1

    def __repr__(self) -> str:
        return f"<{self.kind} @{self.name}: {self.type}>"


class Store(Mapping[str, Entry]):
    """The entries of a program by name, in a fixed order.

    A name belongs to the store: a layer's weight may be ``weight`` in one program and ``fc1.weight`` in another.
    """

    def __init__(self, entries: Mapping[str, Entry] | Iterable[Entry] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        if isinstance(entries, Mapping):
            listed = list(cast(Mapping[str, Entry], entries).items())
        else:
            listed = [(e.name, e) for e in entries]
        for name, entry in listed:
            if name in self._entries:
                raise NervureError(f"two store entries are named @{name}")
            self._entries[name] = entry
        _join([e.ledger for e in self._entries.values()])

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ledger(self) -> Ledger:
        """The ledger that the entries share; fetch it anew when its version moved."""
        for entry in self._entries.values():
            return entry.ledger
        return Ledger()

    def assign(self, updates: Mapping[str, Array]) -> None:
        """Write several entries at once; an array may be a view of the content of another."""
        kept = {name: np.array(array) for name, array in updates.items()}
        for name, array in kept.items():
            self[name].assign(array)

    def with_entries(self, entries: Iterable[Entry]) -> Store:
        """A store of these entries and the given ones."""
        return Store({**self._entries, **Store(entries)})

    def only(self, names: Iterable[str]) -> Store:
        """A store of some of the entries, in this store's order."""
        wanted = set(names)
        return Store({n: e for n, e in self._entries.items() if n in wanted})


def _join(ledgers: Iterable[Ledger]) -> None:
    """Make one ledger of several; holders of an absorbed one see its version move and look again."""
    unique = list(dict.fromkeys(ledgers))
    if len(unique) < 2:
        return
    survivor = max(unique, key=lambda ledger: len(ledger.entries))
    for ledger in unique:
        if ledger is not survivor:
            for entry in ledger.entries:
                entry.ledger = survivor
            survivor.entries += ledger.entries
            ledger.version += 1
    survivor.version = max(ledger.version for ledger in unique) + 1


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An uninitialised C-contiguous array whose first element lies on a 64-byte boundary."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
