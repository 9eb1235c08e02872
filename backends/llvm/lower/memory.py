"""Where values live, and one kernel under construction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ....ir.dims import Dim, Symbol, product
from ....ir.graph import Value
from ....ir.ops.window import MaxPool
from ....ir.origin import Origins
from ....ir.types import Array, DType
from .. import kernel_ir as k
from ..layout import Layout

__all__ = [
    "Branch",
    "KernelScope",
    "Launch",
    "Loop",
    "Memory",
    "MemoryKind",
    "Step",
    "Tail",
    "While",
    "exchanged",
    "memories_of",
    "writes_of",
]

MemoryKind = Literal["input", "output", "store", "constant", "prepared", "arena"]


@dataclass(frozen=True, eq=False)
class Memory:
    """A piece of memory, compared by identity.

    Args:
        kind:   input k or output k of the call; a store entry; a constant's data; what `prepare` packs; the arena
        dtype:  the element type
        size:   elements
        index:  which input or output
        name:   the store entry's name, or the constant's digest
        data:   the constant's content
        base:   of a part of another memory, that one; the part begins `offset` elements from its begin, which may use
                the symbols of loops around
        grain:  bytes that the offset is a multiple of, as far as that matters
        layout: of a feature map in blocks of channels; None where it lies as its type says
    """

    kind: MemoryKind
    dtype: DType
    size: Dim
    index: int = 0
    name: str = ""
    data: Array | None = None
    base: Memory | None = None
    offset: Dim = 0
    grain: int = 64
    layout: Layout | None = None

    @property
    def align(self) -> int:
        """Bytes that the address is a multiple of: a user's arrays promise their elements' size only."""
        return min(self.grain, self.dtype.bytes if self.kind in ("input", "output") else 64)

    def part(self, offset: Dim, size: Dim, pitch: Dim) -> Memory:
        """`size` elements of this memory, from an offset that is a multiple of the pitch."""
        nbytes = pitch * self.dtype.bytes
        grain = self.dtype.bytes if not isinstance(nbytes, int) else nbytes & -nbytes or self.grain
        return Memory(
            self.kind, self.dtype, size, self.index, self.name, None,
            self.whole, self.offset + offset, min(self.grain, grain),
        )  # fmt: skip

    @property
    def whole(self) -> Memory:
        """The memory that this is a part of, or itself."""
        return self if self.base is None else self.base


class Tail:
    """What happens to a barrier's result element before it is stored: nothing, or elementwise nodes behind it.

    Args:
        value:  the value to store
        memory: where
        more:   where else
        pool:   the first result of a pool of the value, which is stored in its place
    """

    def __init__(
        self, value: Value, memory: Memory, more: Sequence[Memory] = (), pool: Value | None = None
    ) -> None:
        self.value = value
        self.memory = memory
        self.more = more
        self.pool = pool

    @property
    def stored(self) -> Value:
        """What is in the memory."""
        return self.value if self.pool is None else self.pool

    @property
    def window(self) -> tuple[int, int]:
        """Places of the value for one that is stored, on each of two axes."""
        op = None if self.pool is None or self.pool.node is None else self.pool.node.op
        if not isinstance(op, MaxPool):
            return 1, 1
        down, along = op.window
        return down, along


@dataclass(frozen=True)
class Launch:
    """One kernel call: the kernel and the memory of each of its buffers; `symbols` that are not the program's own."""

    kernel: k.Kernel
    arguments: tuple[Memory, ...]
    writes: tuple[Memory, ...]
    symbols: Mapping[str, Dim] = field(default_factory=dict[str, Dim])


@dataclass(frozen=True)
class Loop:
    """Steps for symbol = 0 .. extent - 1."""

    symbol: Symbol
    extent: Dim
    body: tuple[Step, ...]


@dataclass(frozen=True)
class While:
    """Steps as long as cond holds, tested before each turn; at most `limit` turns."""

    cond: Memory
    body: tuple[Step, ...]
    limit: Dim | None


@dataclass(frozen=True)
class Branch:
    """One of two lists of steps: the first where the byte in memory is not 0, or the dim is positive."""

    cond: Memory | Dim
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


Step = Launch | Loop | While | Branch


def _parts(step: Loop | While | Branch) -> tuple[Step, ...]:
    return (*step.then, *step.otherwise) if isinstance(step, Branch) else step.body


def memories_of(step: Step) -> tuple[Memory, ...]:
    """The whole memories that a step touches, those of inner steps too."""
    return tuple(dict.fromkeys(m.whole for m in _touched(step)))


def _touched(step: Step) -> Iterable[Memory]:
    if isinstance(step, Launch):
        yield from step.arguments
        return
    if not isinstance(step, Loop) and isinstance(step.cond, Memory):
        yield step.cond
    for inner in _parts(step):
        yield from _touched(inner)


def writes_of(step: Step) -> tuple[Memory, ...]:
    """The whole memories that a step writes, those of inner steps too."""
    if isinstance(step, Launch):
        return tuple(dict.fromkeys(m.whole for m in step.writes))
    return tuple(dict.fromkeys(m for inner in _parts(step) for m in writes_of(inner)))


def exchanged(step: Step, other: Mapping[Memory, Memory]) -> Step:
    """The step with other memories, and parts of them, in the place of some."""

    def new(m: Memory) -> Memory:
        if m.base is not None and m.base in other:
            base = other[m.base]
            return replace(m, kind=base.kind, index=base.index, name=base.name, base=base)
        return other.get(m, m)

    def all_of(steps: Sequence[Step]) -> tuple[Step, ...]:
        return tuple(exchanged(s, other) for s in steps)

    match step:
        case Launch():
            return replace(
                step, arguments=tuple(map(new, step.arguments)), writes=tuple(map(new, step.writes))
            )
        case Loop():
            return replace(step, body=all_of(step.body))
        case While():
            return replace(step, cond=new(step.cond), body=all_of(step.body))
        case Branch():
            cond = new(step.cond) if isinstance(step.cond, Memory) else step.cond
            return Branch(cond, all_of(step.then), all_of(step.otherwise))


@dataclass
class KernelScope:
    """The buffers of a kernel while its body is written, one a memory and shape; and the lines that it computes."""

    buffers: dict[tuple[Memory, tuple[Dim, ...]], k.Buffer] = field(
        default_factory=dict[tuple[Memory, tuple[Dim, ...]], k.Buffer]
    )
    written: dict[Memory, None] = field(default_factory=dict[Memory, None])
    computed: dict[Value, None] = field(default_factory=dict[Value, None])

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

    def launch(
        self,
        name: str,
        body: Sequence[k.Stmt],
        origins: Origins,
        scratch: Sequence[k.Buffer] = (),
        does: str = "",
        saved: Dim = 0,
    ) -> Launch:
        """The finished kernel with its arguments; `origins` come before those of the values that it computes."""
        inner = (o for value in self.computed if value.node is not None for o in value.node.origins)
        lines = dict.fromkeys(f"{o.file}:{o.line}" for o in (*origins, *inner))
        origin = ", ".join(lines)
        kernel = k.Kernel(
            name, tuple(self.buffers.values()), tuple(body), tuple(scratch), origin, does, saved
        )
        return Launch(kernel, tuple(memory for memory, _ in self.buffers), tuple(self.written))
