"""The weights of a native build: one block of bytes, made once, in the layout that the target's kernels read.

What `prepare` computes and packs is made here and now, by this machine; of the store only what `run` reads is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from ...ir.program import Program
from ...ir.store import aligned_empty
from ...ir.types import Array
from ...runtime.native import NativeProgram
from .assemble import Assembled
from .context import ALIGNMENT, ENTRY_POINTS
from .emit_program import program_text
from .jit import load_object
from .objects import compile_object
from .program import Arg, KernelProgram, Memory, args_of, prepared_offsets, with_args
from .target import Target, host_target

__all__ = ["HEAD_BYTES", "Slot", "Weights", "freeze_weights"]

HEAD_BYTES = 64
_MAGIC = b"NERVURE WEIGHTS\n"


@dataclass(frozen=True)
class Slot:
    """Where a store slot lies.

    Args:
        state:  whether in the caller's state, else in the weights
        offset: bytes from the start of that block
    """

    state: bool
    offset: int


@dataclass(frozen=True)
class Weights:
    """The weights of a build.

    Args:
        block:       prepared memory at 0, then slots that are only read, then the first content of the state
        slots:       by the store's slots; None where nothing reads one
        state_at:    where the state's first content begins in the block
        state_bytes: how long it is
        state:       the entries in the state, with their offsets
    """

    block: Array
    slots: tuple[Slot | None, ...]
    state_at: int
    state_bytes: int
    state: tuple[tuple[str, int], ...]

    @property
    def head(self) -> bytes:
        """64 bytes that stand before the block: a magic, the digest of the block, its length."""
        data = self.block.tobytes()
        digest = hashlib.blake2b(data, digest_size=32).digest()
        return (_MAGIC + digest + len(data).to_bytes(8, "little")).ljust(HEAD_BYTES, b"\0")

    @property
    def digest(self) -> str:
        """What tells these weights from others."""
        return self.head[len(_MAGIC) :][:32].hex()


def freeze_weights(program: Program, assembled: Assembled, target: Target) -> Weights:
    """The weights of a program as they are now.

    Raises:
        InputError: an entry has no data
    """
    kernels = assembled.program
    arrays: list[Array] = []
    for name in assembled.entries:
        entry = program.store[name]
        shape, dtype = entry.type.static_shape(), entry.type.dtype.numpy
        array = aligned_empty(shape, dtype)
        array[...] = 0 if entry.kind == "derived" and not entry.has_data else entry.data
        arrays.append(array)
    for constant in assembled.constants:
        array = aligned_empty(constant.shape, constant.dtype)
        array[...] = constant
        arrays.append(array)
    prepared = _prepare(kernels, arrays, target)
    parts: list[tuple[int, Array]] = [(0, prepared)]
    end = _up(prepared.size)
    updated = {name for name, _ in program.main.updates}
    names = [*assembled.entries, *([""] * len(assembled.constants))]
    read = {a.memory.index for s in kernels.run for a in args_of(s) if a.memory.place == "store"}
    slots: list[Slot | None] = [None] * len(names)
    state: list[tuple[str, int]] = []
    first: list[tuple[int, Array]] = []
    state_end = 0
    for k, (name, array) in enumerate(zip(names, arrays, strict=True)):
        if name in updated:
            slots[k] = Slot(True, state_end)
            state.append((name, state_end))
            first.append((state_end, array))
            state_end += _up(array.nbytes)
        elif k in read:
            slots[k] = Slot(False, end)
            parts.append((end, array))
            end += _up(array.nbytes)
    parts += [(end + at, array) for at, array in first]
    block = np.zeros(end + state_end, np.uint8)
    for at, array in parts:
        block[at : at + array.nbytes] = array.reshape(-1).view(np.uint8)
    return Weights(block, tuple(slots), end, state_end, tuple(state))


def _up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _prepare(kernels: KernelProgram, arrays: list[Array], target: Target) -> Array:
    """Run the prepare steps here, over zeros; derived entries among the arrays are filled, the prepared memory is given.

    The steps are emitted for this machine with the target's registers, as those decide the layout.
    """
    offsets, end = prepared_offsets(replace(kernels, prepare=()))
    total = end
    for step in kernels.prepare:
        for arg in args_of(step):
            if arg.memory.place == "prepared" and id(arg.memory) not in offsets:
                assert isinstance(arg.memory.nbytes, int)
                offsets[id(arg.memory)] = total
                total += _up(arg.memory.nbytes)
    block = aligned_empty((total,), np.dtype(np.uint8))
    block[...] = 0
    if kernels.prepare:
        output = Memory("prepared", total, "output", 0)

        def moved(arg: Arg) -> Arg:
            if arg.memory.place != "prepared":
                return arg
            return Arg(output, arg.offset + offsets[id(arg.memory)])

        steps = tuple(with_args(s, moved) for s in kernels.prepare)
        packer = KernelProgram((), (), (output,), kernels.store, (), steps)
        host = host_target()
        machine = replace(target, triple=host.triple, cpu=host.cpu, features=host.features)
        loaded = load_object(compile_object(program_text(packer, machine), machine), ENTRY_POINTS)
        native = NativeProgram(loaded.address, 0, keep=loaded)
        native.prepare([a.ctypes.data for a in arrays])
        native.run([], [block.ctypes.data])
    return block[:end]
