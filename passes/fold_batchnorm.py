"""Fold batch normalisation at inference into the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.ops.elementwise import Add
from ..ir.ops.nn import BatchNorm, Linear
from ..ir.ops.window import Conv
from .base import Pass, Remarks
from .regions import map_regions
from .rules.broadcast import broadcast_source

__all__ = ["FoldBatchNorm"]


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """batch_norm(conv(x, w) + c) = conv(x, w * s) + (c - mean) * s + bias, with s = weight / sqrt(var + eps).

    Reassociates. What is computed from weights alone is moved to `prepare` by split-prepare. Left alone are
    statistics that the program updates, layers whose result is used otherwise, and element types of 16 bits.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        updated = {name for name, _ in graph.updates}

        def fold(g: Graph) -> Graph:
            uses = {value: len(users) for value, users in g.uses().items()}

            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                if not isinstance(node.op, BatchNorm):
                    return None
                found = layer_before(operands[0])
                reason = _reason(node, operands, found, uses, updated)
                if found is None or reason is not None:
                    where = f" at {node.origins[0]}" if node.origins else ""
                    remarks.note(f"fold-batchnorm: refused{where}: {reason}")
                    return None
                return [_folded(node, found, operands[1:])] if remarks.allow("fold-batchnorm") else None

            return rebuild(g, rewrite)

        return map_regions(graph, fold)


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Args:
        node: the product
        bias: one number a channel that is added to it, or None
    """

    node: Node
    bias: Value | None


def layer_before(x: Value) -> Layer | None:
    """The layer that makes x, if one does."""
    node = x.node
    if node is None:
        return None
    if isinstance(node.op, Linear):
        return (
            Layer(node, node.operands[2] if len(node.operands) == 3 else None) if x.type.rank == 2 else None
        )
    if isinstance(node.op, Conv):
        return Layer(node, None)
    if isinstance(node.op, Add):
        for product, other in (node.operands, node.operands[::-1]):
            bias = broadcast_source(other, (1,))
            if bias is not None and product.node is not None and isinstance(product.node.op, Conv):
                return Layer(product.node, bias)
    return None


def _reason(
    node: Node,
    operands: Sequence[Value],
    layer: Layer | None,
    uses: dict[Value, int],
    updated: set[str],
) -> str | None:
    """Why the batch norm stays, or None."""
    if layer is None:
        return "no conv or linear stands before it"
    if node.results[0].type.dtype.bits == 16:
        return f"scaled weights would round to {node.results[0].type.dtype}"
    fixed = (*operands[1:], layer.node.operands[1], *([] if layer.bias is None else [layer.bias]))
    for value in fixed:
        if value.entry is None:
            return "its statistics or the layer's weights are computed in the program"
        if value.entry in updated:
            return f"the program updates @{value.entry}"
    before = node.operands[0].node
    chain = [] if before is None else [before]
    if before is not None and isinstance(before.op, Add):
        chain += [o.node for o in before.operands if o.node is not None and isinstance(o.node.op, Conv)]
    for made in chain:
        users = uses.get(made.results[0], 0)
        if users != 1:
            return f"{made.op.mnemonic} has {users} users"
    return None


def _folded(node: Node, layer: Layer, statistics: Sequence[Value]) -> Value:
    assert isinstance(node.op, BatchNorm)
    weight, shift, mean, var = statistics
    inner, bias = layer.node, layer.bias
    scale = b.div(weight, b.sqrt(b.add(var, b.full_like(var, node.op.eps))))
    centre = b.neg(mean) if bias is None else b.sub(bias, mean)
    moved = b.add(b.mul(centre, scale), shift)
    kernel = inner.operands[1]
    scaled = b.mul(kernel, b.broadcast_in_dim(scale, kernel.type.shape, (0,)))
    if isinstance(inner.op, Linear):
        return make_one(Linear(), inner.operands[0], scaled, moved)
    shape = node.results[0].type.shape
    return b.add(make_one(inner.op, inner.operands[0], scaled), b.broadcast_in_dim(moved, shape, (1,)))
