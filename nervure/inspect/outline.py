"""What a program has, in short: for commands that print JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..backends.signatures import signature_of
from ..ir.program import Program

__all__ = ["outline"]


def outline(program: Program) -> dict[str, Any]:
    """Inputs, results, symbols, entries of the store, and how many nodes of each op, as plain dicts and lists."""
    signature = signature_of(program)
    ops = Counter(node.op.mnemonic for graph in program.graphs.values() for node in graph.walk())
    return {
        "name": program.name,
        "inputs": [{"name": name, "type": str(t)} for name, t in signature.inputs],
        "results": [{"name": name, "type": str(t)} for name, t in signature.outputs],
        "symbols": [{"name": s.name, "low": s.lo, "high": s.hi} for s in program.symbols],
        "entries": [
            {"name": name, "kind": e.kind, "type": str(e.type), "trainable": e.trainable}
            for name, e in program.store.items()
        ],
        "ops": dict(sorted(ops.items())),
    }
