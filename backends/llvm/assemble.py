"""From lowered launches to a program of kernels: memories get their places, packed weights their prepare steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.dims import Dim
from ...ir.program import Program
from ...ir.types import Array
from ..signatures import signature_of
from .grain import program_cost
from .lower import memory as lower
from .lower.whole import Lowered, lower_program
from .program import Arg, Branch, KernelProgram, Launch, Loop, Memory, Step, While
from .reuse import reused
from .target import Target
from .together import loops_together

__all__ = ["Assembled", "assemble"]


@dataclass(frozen=True)
class Assembled:
    """A program of kernels, and what its store slots are.

    Args:
        program:   for `program_text`
        entries:   the store entries in slot order
        constants: the data of the slots behind them
    """

    program: KernelProgram
    entries: tuple[str, ...]
    constants: tuple[Array, ...]


def assemble(program: Program, target: Target) -> Assembled:
    """Lower a program and give every memory its place."""
    lowered = lower_program(program, target)
    used = _used(lowered)
    entries = tuple(name for name, memory in lowered.entries.items() if memory in used)
    slots = [lowered.entries[name] for name in entries] + list(lowered.constants)
    memories: dict[lower.Memory, Memory] = {}
    for k, memory in enumerate(lowered.inputs):
        memories[memory] = Memory(f"input{k}", _bytes(memory), "input", k)
    for k, memory in enumerate(lowered.outputs):
        memories[memory] = Memory(f"output{k}", _bytes(memory), "output", k)
    for k, memory in enumerate(slots):
        memories[memory] = Memory(f"slot{k}", _bytes(memory), "store", k)

    def place(memory: lower.Memory) -> Arg:
        whole = memory.whole
        if whole not in memories:
            kind = "prepared" if whole.kind == "prepared" else "arena"
            memories[whole] = Memory(f"{kind[0]}{len(memories)}", _bytes(whole), kind)
        return Arg(memories[whole], memory.offset * memory.dtype.bytes)

    def steps(given: Sequence[lower.Step]) -> tuple[Step, ...]:
        return tuple(map(step, given))

    def step(s: lower.Step) -> Step:
        match s:
            case lower.Launch():
                return Launch(s.kernel, tuple(map(place, s.arguments)), s.symbols)
            case lower.Loop():
                return Loop(s.symbol, s.extent, steps(s.body))
            case lower.While():
                return While(place(s.cond), steps(s.body), s.limit)
            case lower.Branch():
                cond = place(s.cond) if isinstance(s.cond, lower.Memory) else s.cond
                return Branch(cond, steps(s.then), steps(s.otherwise))

    found = KernelProgram(
        tuple(s.name for s in program.symbols),
        tuple(memories[m] for m in lowered.inputs),
        tuple(memories[m] for m in lowered.outputs),
        tuple(memories[m] for m in slots),
        steps(lowered.prepare),
        run := loops_together(reused(steps(lowered.run)), target),
        (program_cost(run, target), *signature_of(program).extents),
    )
    data = tuple(m.data for m in lowered.constants if m.data is not None)
    return Assembled(found, entries, data)


def _bytes(memory: lower.Memory) -> Dim:
    return memory.size * memory.dtype.bytes


def _used(lowered: Lowered) -> set[lower.Memory]:
    return {m for step in (*lowered.prepare, *lowered.run) for m in lower.memories_of(step)}
