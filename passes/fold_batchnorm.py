"""Fold batch normalisation at inference into the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.ops.elementwise import Add
from ..ir.ops.move import BroadcastInDim
from ..ir.ops.nn import BatchNorm, Linear
from ..ir.ops.window import Conv
from .base import Pass, Remarks

__all__ = ["FoldBatchNorm"]


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """batch_norm(conv(x, w) + c) = conv(x, w * s) + (c - mean) * s + bias, with s = weight / sqrt(var + eps).

    Reassociates. What is computed from weights alone is moved to `prepare` by split-prepare.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        uses = {value: len(users) for value, users in graph.uses().items()}
        updated = {name for name, _ in graph.updates}

        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, BatchNorm):
                return None
            found = _match(operands[0])
            statistics = operands[1:]
            if found is None:
                remarks.note("fold-batchnorm: refused: no conv or linear before it")
                return None
            inner, bias = found
            if any(v.entry is None or v.entry in updated for v in (*statistics, inner.operands[1])):
                remarks.note("fold-batchnorm: refused: weights or statistics are not fixed store entries")
                return None
            if uses.get(node.operands[0], 0) != 1:
                remarks.note(f"fold-batchnorm: refused: {inner.op.mnemonic} has {uses.get(node.operands[0], 0)} users")
                return None
            return [_folded(node, inner, bias, statistics)] if remarks.allow("fold-batchnorm") else None

        return rebuild(graph, rewrite)


def _match(x: Value) -> tuple[Node, Value | None] | None:
    """The conv or linear that makes x, and the bias [C] added to it."""
    node = x.node
    if node is None:
        return None
    if isinstance(node.op, Linear):
        return (node, node.operands[2] if len(node.operands) == 3 else None) if x.type.rank == 2 else None
    if isinstance(node.op, Conv):
        return node, None
    if isinstance(node.op, Add):
        conv, spread = node.operands[0].node, node.operands[1].node
        if conv is not None and isinstance(conv.op, Conv) and spread is not None and isinstance(spread.op, BroadcastInDim):
            bias = spread.operands[0]
            if spread.op.axes == (1,) and bias.type.rank == 1:
                return conv, bias
    return None


def _folded(node: Node, inner: Node, bias: Value | None, statistics: Sequence[Value]) -> Value:
    assert isinstance(node.op, BatchNorm)
    weight, shift, mean, var = statistics
    scale = b.div(weight, b.sqrt(b.add(var, b.full_like(var, node.op.eps))))
    centre = b.neg(mean) if bias is None else b.sub(bias, mean)
    moved = b.add(b.mul(centre, scale), shift)
    kernel = inner.operands[1]
    scaled = b.mul(kernel, b.broadcast_in_dim(scale, kernel.type.shape, (0,)))
    y_type = node.results[0].type
    if isinstance(inner.op, Linear):
        return make_one(Linear(), inner.operands[0], scaled, moved)
    return b.add(make_one(inner.op, inner.operands[0], scaled), b.broadcast_in_dim(moved, y_type.shape, (1,)))
