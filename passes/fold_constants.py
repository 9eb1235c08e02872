"""Evaluate at compile time what depends on constants only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Accuracy, Level
from ..ir.ops.constant import Constant
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["FoldConstants"]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace values that depend on constants only, with the reference evaluator.

    Only ops whose result has one right answer are folded (moves, comparisons, single IEEE operations): numpy's exp is
    not the compiled one.

    Args:
        max_bytes: larger results stay computed
    """

    name: ClassVar[str] = "fold-constants"
    max_bytes: int = 1 << 16

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        return map_regions(graph, lambda g: self._fold(g, remarks))

    def _fold(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if node.op.level is not Level.CORE or isinstance(node.op, Constant) or len(node.results) != 1:
                return None
            result = node.results[0].type
            exact = node.op.accuracy in (Accuracy.EXACT, Accuracy.ROUNDED)
            if not exact or not operands or not result.is_static or result.dtype.bits == 16:
                return None
            arrays = [o.node.op.value.array for o in operands if o.node is not None and isinstance(o.node.op, Constant)]
            nbytes = result.nbytes
            assert isinstance(nbytes, int)
            grows = node.op.mnemonic == "broadcast_in_dim"
            if len(arrays) != len(operands) or nbytes > self.max_bytes or grows or not remarks.allow("fold-constants"):
                return None
            value = node.op.evaluate(*arrays, types=(result,), env={})
            assert not isinstance(value, tuple)
            return [b.constant(value, result.dtype)]

        return rebuild(graph, rewrite)
