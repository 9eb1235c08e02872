"""From a program's main graph to the signature of its executable."""

from __future__ import annotations

from ..ir.program import Program
from ..runtime.signature import Signature

__all__ = ["signature_of"]


def signature_of(program: Program) -> Signature:
    """Names and types of the main graph's inputs and outputs; nameless ones are numbered."""
    graph = program.main
    inputs = tuple((v.name or f"arg{k}", v.type) for k, v in enumerate(graph.inputs))
    outputs = tuple((v.name or f"result{k}", v.type) for k, v in enumerate(graph.outputs))
    return Signature(inputs, outputs)
