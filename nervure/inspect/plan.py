"""The memory plan of a compiled program: each buffer with its bytes, its place and how long it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends.llvm.program import arena_uses, args_of, prepared_offsets
from ..ir.dims import dim_text

if TYPE_CHECKING:
    from ..backends.llvm.executable import LLVMExecutable

__all__ = ["plan_text"]


def plan_text(executable: LLVMExecutable) -> str:
    """Buffers in order of first use, then the bytes of all for a few sizes of the symbols."""
    program = executable.assembled.program
    lines: list[str] = []
    signature = executable.signature
    named = (
        ("input", program.inputs, [name for name, _ in signature.inputs]),
        ("output", program.outputs, [name for name, _ in signature.outputs]),
        ("store", program.store, [f"@{name}" for name in executable.assembled.entries]),
    )
    for place, memories, names in named:
        given = [*names, *(m.name for m in memories[len(names) :])]
        lines += [
            f"{place:9} {dim_text(m.nbytes):>16}  {name}" for m, name in zip(memories, given, strict=True)
        ]
    offsets, _ = prepared_offsets(program)
    known = {id(a.memory): a.memory for s in (*program.prepare, *program.run) for a in args_of(s)}
    for key, offset in offsets.items():
        lines.append(f"{'prepared':9} {dim_text(known[key].nbytes):>16}  {known[key].name} at {offset}")
    for memory, first, last in arena_uses(program.run):
        lines.append(f"{'arena':9} {dim_text(memory.nbytes):>16}  {memory.name}, steps {first} to {last}")
    return "\n".join([*lines, *_totals(executable)]) + "\n"


def _totals(executable: LLVMExecutable) -> list[str]:
    """The bytes of arena and prepared weights: once where nothing is symbolic, else for small and usual sizes."""
    symbols = executable.program.symbols
    sizes = [{s.name: min(max(n, s.lo), s.hi) for s in symbols} for n in ((1, 16, 64) if symbols else (1,))]
    lines: list[str] = []
    for env in sizes:
        arena, prepared = executable.memory(env)
        given = ", ".join(f"{name}={size}" for name, size in env.items())
        lines.append(
            f"total{' for ' + given if given else ''}: arena {arena} bytes, prepared weights {prepared} bytes"
        )
    return list(dict.fromkeys(lines))
