"""What the LLVM backend made, for a page: kernels, LLVM text and assembly by function, and the memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..backends.llvm.executable import LLVMExecutable
from ..backends.llvm.objects import assembly
from ..backends.llvm.program import (
    Launch,
    arena_uses,
    kernel_names,
    kernels_of,
    prepared_offsets,
)
from ..backends.llvm.structure import structure
from ..backends.llvm.target import host_target
from ..inspect.plan import plan_text
from ..ir.dims import dim_text
from .escape import visible
from .pool import Budget, Pool

__all__ = ["code_json", "memory_json"]

Block = tuple[str, str, str]
"""Of a function: its name, its kernel's name, its text."""


def code_json(
    executable: LLVMExecutable, pool: Pool, origins: Pool, budget: Budget, left_out: list[str]
) -> list[dict[str, Any]]:
    """Kernels, LLVM text and assembly in blocks of one function each: name, the user's lines, text."""
    program = executable.assembled.program
    names = kernel_names(program)
    lines: dict[str, dict[str, None]] = {name: {} for name, _ in names.values()}
    for kernel in kernels_of((*program.prepare, *program.run)):
        if kernel.origin:
            lines[names[structure(kernel)][0]].update(dict.fromkeys(kernel.origin.split(", ")))
    kernels = [(n, n, str(replace(k, name=n, origin=""))) for n, k in names.values()]
    text = assembly(executable.text, host_target())
    kinds: list[tuple[str, str, list[Block]]] = [
        ("kernels", "Kernels", [*kernels, ("steps", "", _steps_text(str(program)))]),
        ("llvm", "LLVM", list(_llvm_functions(executable.text))),
        ("asm", "Assembly", list(_asm_functions(text))),
    ]
    found: list[dict[str, Any]] = []
    for key, title, blocks in kinds:
        kept: list[list[Any]] = []
        for k, (name, kernel, body) in enumerate(blocks):
            # a block is one string; its lines are not shared with others
            block = [pool(name), [origins(line) for line in lines.get(kernel, ())], _visible_lines(body)]
            if not budget.spend(block):
                left_out.append(f"{len(blocks) - k} of {len(blocks)} functions of {title}")
                break
            kept.append(block)
        found.append({"key": key, "title": title, "blocks": kept})
    return found


def _visible_lines(text: str) -> str:
    return "\n".join(visible(line.expandtabs(4)) for line in text.splitlines())


def _steps_text(text: str) -> str:
    """Memory and steps of a program of kernels: what stands before its first kernel."""
    return re.split(r"\n\n(?:#[^\n]*\n)?kernel ", text, maxsplit=1)[0]


def _kernel_of(name: str) -> str:
    return re.sub(r"_p\d+$", "", name)


def _llvm_functions(text: str) -> Iterator[Block]:
    for match in re.finditer(r"^define [^@]*@([\w.]+)\(.*?^}$", text, re.MULTILINE | re.DOTALL):
        yield match.group(1), _kernel_of(match.group(1)), match.group(0)


def _asm_functions(text: str) -> Iterator[Block]:
    """Functions of an assembly, with their constants behind them, without the assembler's own marks."""
    lines: list[str] = []
    constants: list[str] = []
    name = ""
    for line in text.splitlines():
        word = line.strip().split("\t")[0].split(" ")[0]
        if word in (".file", ".p2align", ".text", ".section", ".ident", ".globl", ".type"):
            continue
        if word == ".size":
            if name:
                yield name, _kernel_of(name), "\n".join([*lines, *constants])
            lines, constants, name = [], [], ""
            continue
        if not name and re.match(r"^[A-Za-z_][\w.$]*:", line):
            name = line.partition(":")[0]
        if line and not word.startswith(".Lfunc_end"):
            (lines if name else constants).append(line)


def memory_json(executable: LLVMExecutable, pool: Pool) -> dict[str, Any]:
    """Buffers with place, bytes and name; of scratch memory, the steps between which it is used."""
    program = executable.assembled.program
    signature = executable.signature
    rows: list[list[Any]] = []
    given = (
        ("input", program.inputs, [name for name, _ in signature.inputs]),
        ("output", program.outputs, [name for name, _ in signature.outputs]),
        ("store", program.store, [f"@{name}" for name in executable.assembled.entries]),
    )
    for place, memories, names in given:
        for k, memory in enumerate(memories):
            name = names[k] if k < len(names) else memory.name
            rows.append([place, pool(name), pool(dim_text(memory.nbytes)), -1, -1])
    _, prepared = prepared_offsets(program)
    if prepared:
        rows.append(["prepared", pool("packed weights"), pool(str(prepared)), -1, -1])
    for memory, first, last in arena_uses(program.run):
        rows.append(["scratch", pool(memory.name), pool(dim_text(memory.nbytes)), first, last])
    known = kernel_names(program)
    steps = [
        pool(known[structure(s.kernel)][0] if isinstance(s, Launch) else type(s).__name__.lower())
        for s in program.run
    ]
    totals = [pool(t) for t in plan_text(executable).splitlines() if t.startswith("total")]
    return {"rows": rows, "steps": steps, "totals": totals}
