"""`nv.load_native`: a shared library that `nv.build` made, called from Python like any executable."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.llvm.native_text import Code
from ..backends.llvm.native_weights import HEAD_BYTES
from ..backends.llvm.target import host_target
from ..ir.dims import Dim, symbol
from ..ir.errors import BackendError, InputError, NervureError
from ..ir.store import Entry, Store, aligned_empty
from ..ir.text.parser import parse_type
from ..ir.types import Array
from ..runtime.executable import Executable
from ..runtime.signature import Signature
from ..runtime.threads import checked_threads, get_num_threads
from .header import CODES
from .metadata import METADATA_HEAD, pack_metadata, read_metadata

__all__ = ["NativeLibrary", "load_native"]


class NativeLibrary(Executable):
    """A shared library as an executable. Its weights are its own; the store holds what its runs change.

    Attributes:
        metadata: what `nervure inspect` prints
    """

    def __init__(
        self, path: Path, metadata: dict[str, Any], weights: Array | None, threads: int | None
    ) -> None:
        symbols: dict[str, Dim] = {
            s["name"]: symbol(s["name"], s["lo"], s["hi"]) for s in metadata["symbols"]
        }

        def typed(arrays: Any) -> Any:
            return tuple((a["name"], parse_type(a["type"], symbols)) for a in arrays)

        ranges = tuple((int(a), int(b), int(c)) for a, b, c in metadata["ranges"])
        signature = Signature(typed(metadata["inputs"]), typed(metadata["outputs"]), ranges)
        self.metadata = metadata
        self._symbols = [s["name"] for s in metadata["symbols"]]
        self._arenas: list[Array] = []
        self._lock = threading.Lock()
        self._weights = weights
        self._threads = threads
        self._state = aligned_empty((max(1, metadata["state"]["bytes"]),), np.dtype(np.uint8))
        self._entries = store = Store({e["name"]: self._entry(e) for e in metadata["state"]["entries"]})
        prefix = metadata["prefix"]
        super().__init__(prefix, signature, store, "native")
        try:
            self._library = _opened(path, metadata)
            self._run: Any = self._library[f"{prefix}_run"]
            self._arena_bytes: Any = self._library[f"{prefix}_arena_bytes"]
            self._init: Any = self._library[f"{prefix}_init"] if store else None
        except (OSError, AttributeError, ValueError) as error:
            raise BackendError(f"cannot load {path}: {error}", code="NV0505") from None
        self._run.restype = ctypes.c_int32
        self._arena_bytes.restype = ctypes.c_int64
        if store:
            self._init.restype = ctypes.c_int32
            self._check(self._init(ctypes.c_void_p(self._state.ctypes.data), *self._weight_arguments()))
            store.ledger.version += 1

    def _entry(self, e: dict[str, Any]) -> Entry:
        entry = Entry(e["name"], parse_type(e["type"]), e["kind"], e["trainable"])
        shape, dtype = entry.type.static_shape(), entry.type.dtype.numpy
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        place = self._state[e["offset"] : e["offset"] + size]
        entry.adopt(place.view(dtype).reshape(shape))
        return entry

    def _weight_arguments(self) -> list[Any]:
        if self._weights is None:
            return []
        return [ctypes.c_void_p(self._weights.ctypes.data), ctypes.c_int64(self._weights.nbytes)]

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        dims = [ctypes.c_int64(env[name]) for name in self._symbols]
        arena = self._take(int(self._arena_bytes(*dims)))
        inputs = [x if x.flags.aligned else x.copy() for x in inputs]
        arguments = [
            *(ctypes.c_void_p(a.ctypes.data) for a in (*inputs, *outputs)),
            *dims,
            *self._weight_arguments(),
        ]
        tail: list[Any] = [ctypes.c_void_p(arena.ctypes.data), ctypes.c_int64(arena.nbytes)]
        if self.metadata["threads"]:
            tail.append(ctypes.c_int32(self._threads or get_num_threads()))
        try:
            if not self.store:
                self._check(self._run(*arguments, *tail))
                return
            with self._entries.ledger.lock:
                self._check(self._run(*arguments, ctypes.c_void_p(self._state.ctypes.data), *tail))
                self._entries.ledger.version += 1
        finally:
            with self._lock:
                self._arenas.append(arena)

    def _take(self, size: int) -> Array:
        with self._lock:
            arena = self._arenas.pop() if self._arenas else None
        return arena if arena is not None and arena.nbytes >= size else np.empty(size, np.uint8)

    def _check(self, code: int) -> None:
        if code:
            known = CODES.get(Code(code), "") if code in list(Code) else ""
            raise NervureError(f"{self.name}: the library returned {code}{': ' if known else ''}{known}")


def load_native(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> NativeLibrary:
    """A shared library made by `nervure build`, as an executable.

    Args:
        path:    the library; its code runs in this process, so load what you trust
        weights: the side file of a build with `--weights file`; NAME.weights beside the library if not given
        threads: for a call of a build with `--threads`; nv.set_num_threads's number if not given

    Raises:
        InputError:   it is no library of nervure, or the side file is not the library's
        BackendError: it is for another machine, or does not load
    """
    if threads is not None:
        checked_threads(threads, "load_native")
    place = Path(path)
    metadata = read_metadata(place)
    if threads is not None and not metadata["threads"]:
        raise InputError(f"{path} takes no threads", hint="build it with --threads")
    try:
        _check_machine(metadata["target"], place)
        side = None
        if metadata["weights"]["place"] == "file":
            beside = place.with_name(f"{metadata['prefix']}.weights")
            side = _side_file(beside if weights is None else Path(weights), metadata["weights"]["bytes"])
        return NativeLibrary(place, metadata, side, threads)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} has metadata that cannot be read: {error}", code="NV0505") from error


def _opened(path: Path, metadata: dict[str, Any]) -> ctypes.CDLL:
    """The library in this process. The system gives what it loaded before from that path, even where the file is another now:
    then a copy is loaded.
    """
    head = pack_metadata(metadata)[:METADATA_HEAD]
    symbol = f"{metadata['prefix']}_metadata"
    library = ctypes.CDLL(str(path.resolve()))
    try:
        found = bytes((ctypes.c_char * METADATA_HEAD).in_dll(library, symbol))
    except ValueError:
        found = b""
    if found == head:
        return library
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as copy:
        copy.write(path.read_bytes())
        copy.flush()
        return ctypes.CDLL(copy.name)


def _side_file(path: Path, size: int) -> Array:
    try:
        found = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is empty"
        raise InputError(f"cannot read the weights {path}: {reason}", code="NV0304") from error
    if found.nbytes != size + HEAD_BYTES:
        raise InputError(
            f"{path} has {found.nbytes} bytes, expected {size + HEAD_BYTES}: weights of another build",
            code="NV0505",
        )
    return found


def _check_machine(target: dict[str, Any], path: Path) -> None:
    host = host_target()
    if target["triple"] != host.triple:
        raise BackendError(f"{path.name} is for {target['triple']}, this is {host.triple}", code="NV0505")
    have = set(host.features.split(","))
    missing = [f for f in target["features"].split(",") if f.startswith("+") and f not in have]
    if missing or target["vector_bytes"] > host.vector_bytes or (target["fma"] and not host.fma):
        what = ", ".join(f[1:] for f in missing) or f"vectors of {target['vector_bytes']} bytes or fma"
        raise BackendError(f"{path.name} is for {target['cpu']}; this machine lacks {what}", code="NV0505")
