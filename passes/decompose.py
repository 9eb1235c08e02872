"""Write composites in core ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Level, Op
from ..ir.ops.recurrent import Recurrence
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["Decompose", "apart", "decomposed", "until_stable"]

MAX_ROUNDS = 16
"""A decomposition may hold composites itself; so many levels of it are taken apart."""


@dataclass(frozen=True)
class Decompose(Pass):
    """Replace `nn` composites by their decompositions.

    Args:
        keep: mnemonics that stay whole, such as ``relu+softmax`` in the text form
        only: those that are taken apart, all if not given
    """

    name: ClassVar[str] = "decompose"
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            name = node.op.mnemonic
            whole = (
                node.op.level is not Level.NN or name in self.keep or (self.only and name not in self.only)
            )
            if whole or not remarks.allow(f"decompose-{node.op.mnemonic}"):
                return None
            return decomposed(node, operands)

        # a composite may become a loop whose body holds composites, so regions are gone through each time
        return until_stable(graph, lambda g: map_regions(g, lambda h: rebuild(h, rewrite)))


def apart(values: Sequence[Value], kind: type[Op]) -> list[Value]:
    """The values with composites of a kind taken apart for a derivative, inside regions too; what they need else stays as it is."""

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        return decomposed(node, operands, derived=True) if isinstance(node.op, kind) else None

    graph = Graph("apart", [], list(values))
    return list(map_regions(graph, lambda g: rebuild(g, rewrite)).outputs)


def decomposed(node: Node, operands: Sequence[Value], *, derived: bool = False) -> tuple[Value, ...]:
    """What stands for the node's results in simpler ops.

    Args:
        derived: whether a derivative is taken of it; else what concerns that alone is left out
    """
    op = node.op.forward() if isinstance(node.op, Recurrence) and not derived else node.op
    found = op.decompose(*operands)
    return found if isinstance(found, tuple) else (found,)


def until_stable(graph: Graph, step: Callable[[Graph], Graph]) -> Graph:
    """Apply a step until it changes nothing, at most MAX_ROUNDS times."""
    for _ in range(MAX_ROUNDS):
        after = step(graph)
        if after is graph:
            break
        graph = after
    return graph
