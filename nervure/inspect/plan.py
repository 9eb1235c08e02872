"""The memory plan of a compiled program: each buffer with its bytes, its place and how long it lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..backends.llvm.program import Launch, Memory, arena_uses, args_of, prepared_offsets
from ..ir.dims import dim_text, evaluate_dim
from ..ir.errors import InputError

if TYPE_CHECKING:
    from ..backends.llvm.executable import LLVMExecutable

__all__ = ["plan_text"]


def plan_text(executable: LLVMExecutable, sizes: Mapping[str, int] | None = None) -> str:
    """Buffers in order of first use, then the bytes of all for a few sizes of the symbols, or for the given ones.

    Raises:
        InputError: a symbol has no size, or one outside its range
    """
    program = executable.assembled.program
    env = _complete(executable, sizes) if sizes else None

    def nbytes(memory: Memory) -> str:
        return dim_text(memory.nbytes) if env is None else str(evaluate_dim(memory.nbytes, env))

    lines: list[str] = []
    signature = executable.signature
    named = (
        ("input", program.inputs, [name for name, _ in signature.inputs]),
        ("output", program.outputs, [name for name, _ in signature.outputs]),
        ("store", program.store, [f"@{name}" for name in executable.assembled.entries]),
    )
    for place, memories, names in named:
        given = [*names, *(m.name for m in memories[len(names) :])]
        lines += [f"{place:9} {nbytes(m):>16}  {name}" for m, name in zip(memories, given, strict=True)]
    offsets, _ = prepared_offsets(program)
    known = {id(a.memory): a.memory for s in (*program.prepare, *program.run) for a in args_of(s)}
    for key, offset in offsets.items():
        lines.append(f"{'prepared':9} {nbytes(known[key]):>16}  {known[key].name} at {offset}")
    for memory, first, last in arena_uses(program.run):
        both = [n for n, s in enumerate(program.run) if sum(a.memory is memory for a in args_of(s)) > 1]
        within = [n for n in both if isinstance(program.run[n], Launch)]
        note = f", in place at {', '.join(map(str, within))}" if within else ""
        lines.append(f"{'arena':9} {nbytes(memory):>16}  {memory.name}, steps {first} to {last}{note}")
    return "\n".join([*lines, *_totals(executable, env)]) + "\n"


def _complete(executable: LLVMExecutable, sizes: Mapping[str, int]) -> dict[str, int]:
    for s in executable.program.symbols:
        size = sizes.get(s.name)
        if size is None or not s.lo <= size <= s.hi:
            found = "none" if size is None else str(size)
            raise InputError(f"the plan needs a size of {s.name} in {s.lo}..{s.hi}, got {found}")
    return dict(sizes)


def _totals(executable: LLVMExecutable, given: dict[str, int] | None) -> list[str]:
    """The bytes of arena and prepared weights: once where nothing is symbolic, else for small and usual sizes."""
    symbols = executable.program.symbols
    sizes = [{s.name: min(max(n, s.lo), s.hi) for s in symbols} for n in ((1, 16, 64) if symbols else (1,))]
    if given is not None:
        sizes = [given]
    lines: list[str] = []
    for env in sizes:
        arena, prepared = executable.memory(env)
        named = ", ".join(f"{name}={size}" for name, size in env.items())
        lines.append(
            f"total{' for ' + named if named else ''}: arena {arena} bytes, prepared weights {prepared} bytes"
        )
    return list(dict.fromkeys(lines))
