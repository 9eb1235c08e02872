"""Write composites in core ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Level
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["Decompose", "decomposed"]


@dataclass(frozen=True)
class Decompose(Pass):
    """Replace `nn` composites by their decompositions.

    Args:
        keep: mnemonics that stay whole
    """

    name: ClassVar[str] = "decompose"
    keep: tuple[str, ...] = ()

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def expand(g: Graph) -> Graph:
            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                whole = node.op.level is not Level.NN or node.op.mnemonic in self.keep
                if whole or not remarks.allow(f"decompose-{node.op.mnemonic}"):
                    return None
                return decomposed(node, operands)

            for _ in range(8):  # a decomposition may hold composites itself
                after = rebuild(g, rewrite)
                if after is g:
                    break
                g = after
            return g

        return map_regions(graph, expand)


def decomposed(node: Node, operands: Sequence[Value]) -> tuple[Value, ...]:
    """What stands for the node's results in simpler ops."""
    found = node.op.decompose(*operands)
    return found if isinstance(found, tuple) else (found,)
