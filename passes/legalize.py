"""Bring a program into what a backend can run, or say what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.errors import UnsupportedError
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Level, Op
from ..ir.types import DType
from .base import Pass, Remarks
from .decompose import decomposed
from .regions import map_regions

__all__ = ["Legalize", "Supports"]

Supports = Callable[[Op, tuple[DType, ...]], "str | None"]


@dataclass(frozen=True)
class Legalize(Pass):
    """Decompose the composites that a backend lacks, and refuse what is left that it cannot run.

    Args:
        backend:  its name, for the message and the text form
        supports: the backend's answer for an op and the element types of its operands and results
    """

    name: ClassVar[str] = "legalize"
    backend: str = "reference"
    supports: Supports | None = field(default=None, compare=False, repr=False)

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        supports = self.supports
        if supports is None:
            return graph
        problems: list[tuple[Node, str]] = []

        def legal(g: Graph) -> Graph:
            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                reason = supports(node.op, dtypes_of(node))
                if reason is not None and node.op.level is Level.NN:
                    return decomposed(node, operands)
                return None

            for _ in range(8):
                after = rebuild(g, rewrite)
                if after is g:
                    break
                g = after
            for node in g.nodes:
                reason = supports(node.op, dtypes_of(node))
                if reason is not None:
                    problems.append((node, reason))
            return g

        result = map_regions(graph, legal)
        if problems:
            details = [f"{node.op.mnemonic} {', '.join(str(o.type) for o in node.operands)}: {reason}" for node, reason in problems]
            where = [str(o) for node, _ in problems for o in node.origins]
            raise UnsupportedError(
                f"backend {self.backend} cannot run {len(problems)} of the program's nodes",
                details=list(dict.fromkeys(details)),
                where=list(dict.fromkeys(where)),
            )
        return result


def dtypes_of(node: Node) -> tuple[DType, ...]:
    """The element types of operands, then of results."""
    return tuple(v.type.dtype for v in (*node.operands, *node.results))
