"""From a user's line to its nodes, the rewrites that touched them, the kernels and their instructions; and so back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..backends.base import find_backend
from ..backends.llvm.executable import LLVMExecutable
from ..backends.llvm.program import KernelProgram, kernel_names, kernels_of
from ..backends.llvm.structure import structure
from ..ir.errors import InputError
from ..ir.graph import Graph, Node
from ..ir.program import Program
from ..ir.text.printer import value_names
from ..passes.manager import run_pipeline
from .stages import stage

__all__ = ["Why", "lines_of", "why"]


@dataclass(frozen=True)
class Why:
    """What became of a user's line.

    Args:
        line:     as ``file.py:12``
        nodes:    of the program as it was traced, one text each
        rewrites: pass, rewrite and count, for those that had a part of the line in hand
        final:    nodes of the program after the passes
        kernels:  name and text of each kernel that computes a part of it
        code:     LLVM instructions of those kernels, by name
    """

    line: str
    nodes: tuple[str, ...]
    rewrites: tuple[tuple[str, str], ...]
    final: tuple[str, ...]
    kernels: tuple[tuple[str, str], ...]
    code: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "nodes": list(self.nodes),
            "rewrites": [{"pass": p, "rewrite": r} for p, r in self.rewrites],
            "final": list(self.final),
            "kernels": dict(self.kernels),
            "code": dict(self.code),
        }

    def __str__(self) -> str:
        parts = [f"line {self.line}", "", "traced as", *_indented(self.nodes)]
        parts += ["", "rewritten by", *(_indented(f"{p}: {r}" for p, r in self.rewrites) or ["  nothing"])]
        parts += ["", "after the passes", *(_indented(self.final) or ["  nothing is left of it"])]
        for name, text in self.kernels:
            parts += ["", f"kernel {name}", *_indented(text.splitlines())]
        for name, text in self.code:
            parts += ["", f"instructions of {name}", *_indented(text.splitlines())]
        return "\n".join(parts)


def why(program: Program, line: str, backend: str = "llvm", level: int = 2) -> Why:
    """What became of a line.

    Args:
        line: ``file.py:12``; the path may be shortened from the left

    Raises:
        InputError: no node comes from there; it lists the lines there are
    """
    full = _full(program, line)
    nodes = _nodes_at(program, full)
    chosen = find_backend(backend)
    result = run_pipeline(program, chosen.pipeline(level), verify=False)
    rewrites = [
        (record.pass_, name)
        for record in result.records
        for name, lines in record.touched.items()
        if full in lines
    ]
    executable = chosen.compile(result.program)
    executable.program = result.program
    kernels: list[tuple[str, str]] = []
    if isinstance(executable, LLVMExecutable):
        kernels = _kernels_at(executable.assembled.program, full)
    code = functions(str(stage(executable, "llvm")), [name for name, _ in kernels]) if kernels else []
    return Why(full, nodes, tuple(rewrites), _nodes_at(result.program, full), tuple(kernels), tuple(code))


def lines_of(program: Program) -> list[str]:
    """Every user's line that a node comes from, sorted."""
    found = {
        f"{o.file}:{o.line}"
        for graph in program.graphs.values()
        for node in graph.walk()
        for o in node.origins
    }
    return sorted(found, key=lambda text: (text.rpartition(":")[0], int(text.rpartition(":")[2])))


def functions(text: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """The LLVM functions of kernels, by the kernel's name."""
    wanted = list(names)
    found: list[tuple[str, str]] = []
    for match in re.finditer(r"^define [^@]*@(\w+)\(.*?^}$", text, re.MULTILINE | re.DOTALL):
        if re.sub(r"_p\d+$", "", match.group(1)) in wanted:
            found.append((match.group(1), match.group(0)))
    return found


def _kernels_at(program: KernelProgram, line: str) -> list[tuple[str, str]]:
    """Kernels with a launch that computes a part of the line; equal kernels of several lines are one."""
    names = kernel_names(program)
    found: dict[str, str] = {}
    for kernel in kernels_of((*program.prepare, *program.run)):
        if line in kernel.origin.split(", "):
            name, same = names[structure(kernel)]
            found[name] = str(same)
    return list(found.items())


def _full(program: Program, line: str) -> str:
    lines = lines_of(program)
    if line in lines:
        return line
    close = [found for found in lines if found.endswith(f"/{line}")]
    if len(close) == 1:
        return close[0]
    shown = ", ".join(lines[:12]) + (", ..." if len(lines) > 12 else "")
    raise InputError(f"no op comes from line {line}", hint=f"lines with ops: {shown or 'none'}")


def _nodes_at(program: Program, line: str) -> tuple[str, ...]:
    return tuple(
        text
        for graph in program.graphs.values()
        for node, text in _texts(graph)
        if any(f"{o.file}:{o.line}" == line for o in node.origins)
    )


def _texts(graph: Graph) -> Iterable[tuple[Node, str]]:
    """Each node of a graph, regions apart, as one short line."""
    names = value_names(graph)
    for node in graph.nodes:
        results = ", ".join(names[r] for r in node.results)
        operands = ", ".join(names[o] for o in node.operands)
        types = ", ".join(str(r.type) for r in node.results)
        mnemonic = getattr(node.op, "label", "") or node.op.mnemonic
        yield node, f"{results} = {mnemonic} {operands} : {types}".replace("  ", " ")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
