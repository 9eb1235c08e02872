"""A program as machine code, called through ctypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from ...ir.program import Program
from ...ir.store import aligned_empty
from ...ir.types import Array
from ...runtime.executable import Executable
from ...runtime.native import NativeProgram
from ..signatures import signature_of
from .assemble import Assembled
from .program import kernel_names

__all__ = ["LLVMExecutable"]


class LLVMExecutable(Executable):
    """Runs an object. Weights are read where the store keeps them; what is made of them is made again when they moved.

    Attributes:
        assembled: the program of kernels, printable
        text:      its LLVM text
        object:    the object's bytes
    """

    def __init__(
        self, program: Program, assembled: Assembled, text: str, data: bytes, native: NativeProgram
    ) -> None:
        super().__init__(program.name, signature_of(program), program.store, "llvm")
        self.assembled = assembled
        self.text = text
        self.object = data
        self.kernels = tuple(kernel for _, kernel in kernel_names(assembled.program).values())
        self._native = native
        self._symbols = tuple(s.name for s in program.symbols)
        self._updates = bool(program.main.updates)
        self._updated = [program.store[name] for name, _ in program.main.updates]
        self._entries = [program.store[name] for name in assembled.entries]
        self._constants = [_placed(array) for array in assembled.constants]
        self._ledger: Any = None
        self._version = -1

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        dims = [env[name] for name in self._symbols]
        sources = [x.ctypes.data for x in inputs]
        targets = [y.ctypes.data for y in outputs]
        if not self._updates:
            self._refresh()
            self._native.run(sources, targets, dims)
            return
        with self._updated[0].ledger.lock:
            self._refresh()
            self._native.run(sources, targets, dims)
            for entry in self._updated:
                entry.touch()
            # what is prepared depends on entries that the program itself does not change
            self._version = self._ledger.version

    def timed(self, inputs: Sequence[Array], env: dict[str, int]) -> list[float]:
        """Run on checked inputs; the seconds of each step of the program. Updates are made, results are dropped."""
        results = [np.empty(t.concrete(env), t.dtype.numpy) for _, t in self.signature.outputs]
        stamps: list[float] = []
        sources, targets = [x.ctypes.data for x in inputs], [y.ctypes.data for y in results]
        self._refresh()
        start = perf_counter()
        self._native.run_traced(
            sources, targets, [env[n] for n in self._symbols], lambda _: stamps.append(perf_counter())
        )
        for entry in self._updated:
            entry.touch()
        return [end - begin for begin, end in pairwise([start, *stamps])]

    def memory(self, env: Mapping[str, int]) -> tuple[int, int]:
        """Bytes of the arena and of prepared weights for given sizes of the symbols."""
        return self._native.plan([env[name] for name in self._symbols])

    def _refresh(self) -> None:
        """Hand the store to the code, and prepare again, where the ledger's version moved."""
        ledger = self._ledger
        if ledger is not None and ledger.version == self._version:
            return
        if not self._entries:
            if self._version < 0:
                self._native.prepare([x.ctypes.data for x in self._constants])
                self._version = 0
            return
        ledger = self._entries[0].ledger
        with ledger.lock:
            for entry in self._entries:
                if entry.kind == "derived" and not entry.has_data:
                    entry.assign(np.zeros(entry.type.static_shape(), entry.type.dtype.numpy))
            addresses = [e.data.ctypes.data for e in self._entries] + [x.ctypes.data for x in self._constants]
            self._native.prepare(addresses)
            self._ledger, self._version = ledger, ledger.version


def _placed(array: Array) -> Array:
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy
