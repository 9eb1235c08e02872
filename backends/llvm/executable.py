"""A program as machine code, called through the trampoline, or through ctypes where the interpreter is not known."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.dims import bounds
from ...ir.program import Program
from ...ir.store import Store, aligned_empty
from ...ir.types import Array
from ...runtime.calls import CallTable, RawTable, ports_of
from ...runtime.executable import Executable, RawCall
from ...runtime.native import NativeProgram
from ...runtime.signature import Signature
from .call.trampoline import SharedFreeList, trampoline
from .recipe import Recipe

if TYPE_CHECKING:
    from .assemble import Assembled

__all__ = ["LLVMExecutable", "Made", "executable_type"]

_WORD, _INT = ctypes.c_void_p, ctypes.c_int64
_STILL = array("q", [0])
"""The version of programs that read no entry."""


@dataclass
class Made:
    """What a compilation went through, for people.

    Args:
        program:   after the passes
        notes:     what they had to say
        assembled: the program of kernels
        text:      its LLVM text
    """

    program: Program
    notes: tuple[str, ...]
    assembled: Assembled
    text: str


class LLVMExecutable(Executable):
    """Runs an object. Weights are read where the store keeps them; what is made of them is made again when they moved.

    Args:
        make: gives what the compilation went through; called when somebody asks for the first time

    Attributes:
        assembled: the program of kernels, printable
        text:      its LLVM text
        object:    the object's bytes
    """

    def __init__(
        self,
        name: str,
        signature: Signature,
        store: Store,
        recipe: Recipe,
        native: NativeProgram,
        make: Callable[[], Made],
    ) -> None:
        self._table = CallTable(
            version_at=_STILL.buffer_info()[0], version=-1, slow=id(LLVMExecutable.__call__), none=id(None)
        )
        self._trampoline = trampoline()
        self._armed = False
        self._kept: list[Any] = []
        super().__init__(name, signature, store, "llvm")
        self.recipe = recipe
        self._make = make
        self._native = native
        self._symbols = recipe.symbols
        self._extents = signature.extents
        self._updates = bool(recipe.updates)
        self._updated = [store[name] for name in recipe.updates]
        self._entries = [store[name] for name in recipe.entries]
        self._constants = [_placed(data) for data in recipe.constants]
        self._ledger: Any = None
        table, self._table.updates = self._table, len(self._updated)
        table.run, table.plan, table.sizes = map(native.address, ("nv_run", "nv_plan", "nv_sizes"))
        if self._trampoline is not None and isinstance(self, self._trampoline.executable):
            native.share_contexts(SharedFreeList(self._trampoline, table))
            self._trampoline.attach(self, table)

    @cached_property
    def _made(self) -> Made:
        return self._make()

    @property
    def object(self) -> bytes:
        """The object's bytes."""
        return self.recipe.object

    @property
    def assembled(self) -> Assembled:
        """The program of kernels, printable."""
        return self._made.assembled

    @property
    def text(self) -> str:
        """The LLVM text of the program of kernels."""
        return self._made.text

    @property
    def kernels(self) -> tuple[Any, ...]:
        """The kernels, each once."""
        from .program import kernel_names

        return tuple(kernel for _, kernel in kernel_names(self.assembled.program).values())

    @property
    def program(self) -> Program:
        """What was compiled, after the passes."""
        return self._made.program

    @program.setter
    def program(self, program: Program) -> None:
        self._made.program = program

    @property
    def notes(self) -> tuple[str, ...]:
        """What the passes had to say."""
        return self._made.notes

    def describe(self, program: Program, notes: tuple[str, ...]) -> None:
        self._made.program, self._made.notes = program, notes

    @property
    def signature(self) -> Signature:
        """What a call checks."""
        return self._signature

    @signature.setter
    def signature(self, signature: Signature) -> None:
        self._table.ready, self._armed = 0, False
        self._signature = signature

    def __call__(self, *inputs: Any, out: Any = None) -> Any:
        result = super().__call__(*inputs, out=out)
        if not self._armed and self.max_memory is None:  # the trampoline makes results without asking
            self._arm()
        return result

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A new array for a result; a large one lies on a 64-byte boundary."""
        return (
            super().empty(shape, dtype) if self._trampoline is None else self._trampoline.empty(shape, dtype)
        )

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        dims = [env[name] for name in self._symbols]
        sources = [x.ctypes.data for x in inputs]
        targets = [y.ctypes.data for y in outputs]
        with self._writing():
            self._native.run(sources, targets, dims)

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Around a run: the code knows the store, and the store learns what the run changed in it."""
        if not self._updates:
            self._refresh()
            yield
            return
        with self._updated[0].ledger.lock:
            self._refresh()
            yield
            for entry in self._updated:
                entry.touch()
            # what is prepared depends on entries that the program itself does not change
            self._table.version = self._ledger.version

    def stamped(self, inputs: Sequence[Array], env: dict[str, int], hook: int) -> None:
        """Run on checked inputs with the machine code at `hook` called before and after each step (none where it is 0).
        Updates are made, results are dropped.
        """
        results = [np.empty(t.concrete(env), t.dtype.numpy) for _, t in self.signature.outputs]
        sources, targets = [x.ctypes.data for x in inputs], [y.ctypes.data for y in results]
        with self._writing():
            self._native.run_hooked(sources, targets, [env[n] for n in self._symbols], hook)

    def memory(self, env: Mapping[str, int]) -> tuple[int, int]:
        """Bytes of the arena and of prepared weights for given sizes of the symbols."""
        return self._native.plan([env[name] for name in self._symbols])

    def _refresh(self) -> None:
        """Hand the store to the code, and prepare again, where the ledger's version moved."""
        ledger, table = self._ledger, self._table
        if ledger is not None and ledger.version == table.version:
            return
        if not self._entries:
            if table.version < 0:
                self._native.prepare([x.ctypes.data for x in self._constants])
                table.version = 0
            return
        ledger = self._entries[0].ledger
        with ledger.lock:
            for entry in self._entries:
                if entry.kind == "derived" and not entry.has_data:
                    entry.assign(np.zeros(entry.type.static_shape(), entry.type.dtype.numpy))
            addresses = [e.data.ctypes.data for e in self._entries] + [x.ctypes.data for x in self._constants]
            self._native.prepare(addresses)
            if ledger is not self._ledger:
                self._watch(ledger)
            table.version = ledger.version

    # -- the call without a Python frame -------------------------------------------------------------------------

    def _watch(self, ledger: Any) -> None:
        """Let the table read this ledger's version, and a program that changes the store take its lock."""
        self._ledger, table = ledger, self._table
        self._kept.append(ledger)
        table.version_at = ledger.cell.buffer_info()[0]
        if self._updated:
            methods = ledger.lock.acquire, ledger.lock.release
            self._kept.append(methods)
            table.acquire, table.release = map(id, methods)

    def _arm(self) -> None:
        """Describe the signature in the table: from now on calls that fit it take no Python frame."""
        extents = {dim: place for place, dim in enumerate(self._extents, 1)}
        ports = ports_of(self.signature, self._symbols, extents)
        self._armed = True
        if self.max_memory is not None:
            most = sum(bounds(t.nbytes)[1] for _, t in self.signature.outputs)
            ports = ports if most <= self.max_memory else None  # results are counted by Python's way alone
        if self._trampoline is not None and ports is not None:
            self._kept.append(ports)
            dims = [0] * len(self._symbols)
            arena, sizes = self._native.plan(dims)[0], self._native.sizes(dims, len(extents) + 1)
            ports.fill(self._table, LLVMExecutable.__call__, arena, sizes)
            self._table.memory = ctypes.addressof(self._trampoline.memory)
            self._table.ready = 1

    def _raw_call(self, inputs: list[Array], env: dict[str, int], outputs: list[Array]) -> RawCall:
        if self._trampoline is None:
            return super()._raw_call(inputs, env, outputs)
        call = self._trampoline.raw(self, inputs, env, outputs)
        dims = [env[name] for name in self._symbols]
        words = [(_WORD * len(xs))(*(x.ctypes.data for x in xs)) for xs in (inputs, outputs)]
        values = (_INT * max(1, len(dims)))(*dims)
        call.table = RawTable(
            ctypes.addressof(self._table),
            ctypes.addressof(words[0]),
            ctypes.addressof(words[1]),
            ctypes.addressof(values),
            self._native.arena_bytes(tuple(dims)),
            self._native.sizes(dims, len(self._extents) + 1)[0],
            id(RawCall.__call__),
        )
        call.kept = (words, values)
        self._trampoline.attach(call, call.table)
        return call


def executable_type() -> type[LLVMExecutable]:
    """The class to make instances of here."""
    found = trampoline()
    return LLVMExecutable if found is None else found.executable


def _placed(data: Array) -> Array:
    copy = aligned_empty(data.shape, data.dtype)
    copy[...] = data
    return copy
