"""Where values live, and one kernel under construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ....ir.dims import Dim, product
from ....ir.origin import Origin, Origins
from ....ir.types import Array, DType
from .. import kernel_ir as k

__all__ = ["KernelScope", "Launch", "Memory", "MemoryKind"]

MemoryKind = Literal["input", "output", "store", "constant", "prepared", "arena"]


@dataclass(frozen=True, eq=False)
class Memory:
    """A piece of memory, compared by identity.

    Args:
        kind:  input k or output k of the call; a store entry; a constant's data; what `prepare` packs; the arena
        dtype: the element type
        size:  elements
        index: which input or output
        name:  the store entry's name, or the constant's digest
        data:  the constant's content
    """

    kind: MemoryKind
    dtype: DType
    size: Dim
    index: int = 0
    name: str = ""
    data: Array | None = None

    @property
    def align(self) -> int:
        """Bytes that the address is a multiple of: a user's arrays promise their elements' size only."""
        return self.dtype.bytes if self.kind in ("input", "output") else 64


@dataclass(frozen=True)
class Launch:
    """One kernel call: the kernel and the memory of each of its buffers."""

    kernel: k.Kernel
    arguments: tuple[Memory, ...]
    writes: tuple[Memory, ...]


@dataclass
class KernelScope:
    """The buffers of a kernel while its body is written, one a memory and shape; and the lines that it computes."""

    buffers: dict[tuple[Memory, tuple[Dim, ...]], k.Buffer] = field(
        default_factory=dict[tuple[Memory, tuple[Dim, ...]], k.Buffer]
    )
    written: dict[Memory, None] = field(default_factory=dict[Memory, None])
    origins: dict[Origin, None] = field(default_factory=dict[Origin, None])

    def view(self, memory: Memory, shape: Sequence[Dim]) -> k.Buffer:
        """The memory under a shape of as many elements."""
        key = (memory, tuple(shape))
        assert product(tuple(shape)) == memory.size, f"{shape} of {memory}"
        if key not in self.buffers:
            self.buffers[key] = k.Buffer(
                f"b{len(self.buffers)}", memory.dtype, tuple(shape), None, memory.align
            )
        return self.buffers[key]

    def output(self, memory: Memory, shape: Sequence[Dim]) -> k.Buffer:
        """The same, for writing."""
        self.written[memory] = None
        return self.view(memory, shape)

    def launch(self, name: str, body: Sequence[k.Stmt], origins: Origins) -> Launch:
        """The finished kernel with its arguments; `origins` come before those of the values that it computes."""
        lines = dict.fromkeys(f"{o.file}:{o.line}" for o in (*origins, *self.origins))
        origin = ", ".join(lines)
        kernel = k.Kernel(name, tuple(self.buffers.values()), tuple(body), origin=origin)
        return Launch(kernel, tuple(memory for memory, _ in self.buffers), tuple(self.written))
