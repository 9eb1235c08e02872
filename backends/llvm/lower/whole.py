"""A whole program: the launches of `prepare` and of the main graph, results and updates put where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ....ir.graph import Graph, Value
from ....ir.program import Program
from .. import kernel_ir as k
from ..target import Target
from ..walk import all_exprs, stmts
from . import BARRIERS, BLOCKED, TAILED
from .afar import afar
from .layouts import choose_layouts
from .lowering import VIEWS, VIRTUAL, Lowering
from .memory import Launch, Memory, Step, exchanged, memories_of, writes_of

__all__ = ["Lowered", "lower_program"]


@dataclass(frozen=True)
class Lowered:
    """A program as kernel launches.

    Attributes:
        prepare, run: steps in order
        inputs, outputs: the memory of each
        entries:   store entries by name
        constants: data that the code reads, by digest
    """

    prepare: tuple[Step, ...]
    run: tuple[Step, ...]
    inputs: tuple[Memory, ...]
    outputs: tuple[Memory, ...]
    entries: Mapping[str, Memory]
    constants: tuple[Memory, ...]


def lower_program(program: Program, target: Target) -> Lowered:
    """Lower the main graph, and `prepare` where there is one.

    Raises:
        UnsupportedError: an op has no kernel; legalize should have found it
    """
    entries = {n: Memory("store", e.type.dtype, e.type.size, name=n) for n, e in program.store.items()}
    graph = program.main
    inputs = tuple(Memory("input", v.type.dtype, v.type.size, index=k) for k, v in enumerate(graph.inputs))
    outputs = tuple(Memory("output", v.type.dtype, v.type.size, index=k) for k, v in enumerate(graph.outputs))
    run = _lower(graph, entries, inputs, outputs, "k", target)
    prepare = None if program.prepare is None else _lower(program.prepare, entries, (), (), "p", target)
    constants: dict[str, Memory] = dict(run.constants)
    steps = afar(_in_place(run.steps, graph, run), target)
    packing = tuple(run.prepared)
    if prepare is None:
        return Lowered(packing, steps, inputs, outputs, entries, tuple(constants.values()))
    shared = {m: constants.setdefault(m.name, m) for m in prepare.constants.values()}
    before = tuple(exchanged(step, shared) for step in (*prepare.prepared, *prepare.steps))
    return Lowered((*before, *packing), steps, inputs, outputs, entries, tuple(constants.values()))


def _viewed(value: Value) -> Value:
    """What an output is a view of: computed in the caller's memory, it needs no copy."""
    node = value.node
    while node is not None and node.op.mnemonic == "reshape":
        source = node.operands[0]
        if source.node is None or source.node.op.mnemonic in VIRTUAL:
            break
        value, node = source, source.node
    return value


def _lower(
    graph: Graph,
    entries: dict[str, Memory],
    inputs: tuple[Memory, ...],
    outputs: tuple[Memory, ...],
    prefix: str,
    target: Target,
) -> Lowering:
    """Kernels of the nodes, then copies: to outputs that could not be computed in place, and to updated entries."""
    changing = {name for name, _ in graph.updates}
    updated = {v for _, v in graph.updates}
    sources = [_viewed(value) for value in graph.outputs]
    layouts, pulled, rims = choose_layouts(graph, target, {*graph.outputs, *sources, *updated})
    fixed = frozenset(set(entries) - changing)
    lowering = Lowering(BARRIERS, TAILED, BLOCKED, prefix, entries, fixed, target, layouts, pulled, rims)
    lowering.memory.update(zip(graph.inputs, inputs, strict=True))
    for value, memory in zip(sources, outputs, strict=True):
        own = value.node is not None and value.node.op.mnemonic not in (*VIEWS, "constant")
        if own and value not in updated:
            lowering.wanted.setdefault(value, memory)
    lowering.lower(graph)
    for value, memory in zip(graph.outputs, outputs, strict=True):
        if lowering.memory_of(value) is not memory:
            lowering.map_kernel(value, memory, source=value)
    # every update is computed before the first entry is written: another update may read the old content
    written = {entries[name] for name, _ in graph.updates}
    after = {name: _source(lowering, value, written - {entries[name]}) for name, value in graph.updates}
    for name, value in after.items():
        lowering.map_kernel(value, entries[name], source=value)
    return lowering


def _source(lowering: Lowering, value: Value, written: set[Memory]) -> Value:
    """What the entry is copied from: the value, or a copy of it where its memory is overwritten or it has none."""
    held = lowering.memory_of(value)
    if held is not None and held not in written:
        return value
    memory = Memory("arena", value.type.dtype, value.type.size)
    lowering.map_kernel(value, memory, source=value)
    copy = value if held is None else Value(value.type)
    lowering.memory[copy] = memory
    return copy


def _in_place(steps: list[Step], graph: Graph, lowering: Lowering) -> tuple[Step, ...]:
    """Let the kernel of an update write to the entry itself where nothing reads the old content after it.

    The kernel's own reads of the entry must be of the very element that it writes.
    """
    kept = list(steps)
    for name, value in graph.updates:
        entry, source = lowering.entries[name], lowering.memory_of(value)
        copies = [i for i, step in enumerate(kept) if writes_of(step) == (entry,)]
        writers = [i for i, step in enumerate(kept) if source in writes_of(step)]
        if source is None or source.kind != "arena" or len(copies) != 1 or len(writers) != 1:
            continue
        (copy,), (writer,) = copies, writers
        made = kept[writer]
        later = any(entry in memories_of(step) for step in kept[writer + 1 : copy])
        if later or not isinstance(made, Launch) or not _reads_what_it_writes(made, entry, source):
            continue
        kept[:copy] = [exchanged(step, {source: entry}) for step in kept[:copy]]
        kept[copy + 1 :] = [exchanged(step, {source: entry}) for step in kept[copy + 1 :]]
        del kept[copy]
    return tuple(kept)


def _reads_what_it_writes(launch: Launch, entry: Memory, target: Memory) -> bool:
    """Whether each load of the entry has the index of the kernel's only store to the target."""
    pairs = list(zip(launch.kernel.buffers, launch.arguments, strict=True))
    loads = [e for e in all_exprs(launch.kernel.body) if isinstance(e, k.Load)]
    stores = [s for s in stmts(launch.kernel.body) if isinstance(s, k.Store)]
    read = [e for e in loads if any(e.buffer is b and m is entry for b, m in pairs)]
    wrote = [s for s in stores if any(s.buffer is b and m is target for b, m in pairs)]
    same = all(e.index == s.index and e.buffer.shape == s.buffer.shape for e in read for s in wrote)
    return not read or (len(wrote) == 1 and same)
