"""A program to LLVM text for a target, this machine or another; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...ir.program import Program
from .assemble import Assembled, assemble
from .choices import load_choices
from .emit_program import program_text
from .objects import CodegenOptions, assembly, compile_object
from .target import Target
from .tuning import with_choices

__all__ = ["Translation", "translate"]


@dataclass(frozen=True)
class Translation:
    """What the backend makes of a program before anything runs.

    Args:
        assembled: the program of kernels, printable
        text:      its LLVM text, with the entry points of context.py
        target:    the machine it is for
    """

    assembled: Assembled
    text: str
    target: Target

    def object(self, codegen: int = 1, *, cached: bool = True) -> bytes:
        """The object's bytes, of the target's format."""
        return compile_object(self.text, self.target, CodegenOptions(codegen), cached=cached)

    def assembly(self, codegen: int = 1) -> str:
        """The target's assembly."""
        return assembly(self.text, self.target, CodegenOptions(codegen))


def translate(program: Program, target: Target, schedules: Mapping[str, str] | None = None) -> Translation:
    """Lower and emit a program that has gone through the backend's pipeline.

    Args:
        schedules: by the digests of kernels, as tuning.py records them; those of the target's record if not given
    """
    assembled = assemble(program, target)
    choices = load_choices(target) if schedules is None else schedules
    assembled = replace(assembled, program=with_choices(assembled.program, target, choices))
    return Translation(assembled, program_text(assembled.program, target), target)
