"""Evaluate at compile time what depends on constants only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Accuracy, Level
from ..ir.ops.barrier import OptBarrier
from ..ir.ops.constant import Constant
from ..ir.ops.move import BroadcastInDim
from ..ir.types import Array
from .base import Pass, Remarks
from .closed import folded_factorization
from .regions import map_regions

__all__ = ["FoldConstants"]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace values that depend on constants only, with the reference evaluator.

    Only what has one right answer is folded: moves, comparisons, single IEEE operations, and sums of integers. numpy's
    exp is not the compiled one. Factorizations, which no backend has, are folded with all that leads to them. A result whose elements are all equal becomes a scalar and a broadcast.

    Args:
        max_bytes: larger results stay computed
    """

    name: ClassVar[str] = "fold-constants"
    max_bytes: int = 1 << 16

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            closed = folded_factorization(node, operands)
            if closed is not None:
                return closed if remarks.allow("fold-constants") else None
            if not self._may_fold(node, operands):
                return None
            arrays = [self._known(o) for o in operands]
            known = [a for a in arrays if a is not None]
            if len(known) < len(arrays) or not remarks.allow("fold-constants"):
                return None
            found = node.op.evaluate(*known, types=tuple(r.type for r in node.results), env={})
            results = found if isinstance(found, tuple) else (found,)
            return [_constant(a, r) for a, r in zip(results, node.results, strict=True)]

        return map_regions(graph, lambda g: rebuild(g, rewrite))

    def _may_fold(self, node: Node, operands: tuple[Value, ...]) -> bool:
        op = node.op
        if op.level is not Level.CORE or not operands or isinstance(op, (BroadcastInDim, OptBarrier)):
            return False
        exact = op.accuracy in (Accuracy.EXACT, Accuracy.ROUNDED)
        whole = not any(v.type.dtype.is_float for v in (*operands, *node.results))
        return (exact or (whole and op.accuracy is Accuracy.REASSOCIATED)) and all(
            r.type.is_static and self._fits(r) for r in node.results
        )

    def _fits(self, value: Value) -> bool:
        nbytes = value.type.nbytes
        return isinstance(nbytes, int) and nbytes <= self.max_bytes

    def _known(self, value: Value) -> Array | None:
        """The elements of a constant, or of a constant broadcast."""
        node = value.node
        if node is None:
            return None
        if isinstance(node.op, Constant):
            return node.op.value.array
        inner = node.operands[0].node if isinstance(node.op, BroadcastInDim) else None
        if (
            inner is None
            or not isinstance(inner.op, Constant)
            or not value.type.is_static
            or not self._fits(value)
        ):
            return None
        found = node.op.evaluate(inner.op.value.array, types=(value.type,), env={})
        assert isinstance(found, np.ndarray)
        return found


def _constant(array: Array, result: Value) -> Value:
    dtype = result.type.dtype
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.ndim and flat.size and flat.tobytes() == flat[:1].tobytes() * flat.size:
        return b.broadcast_in_dim(b.constant(flat[0], dtype), array.shape, ())
    return b.constant(array, dtype)
