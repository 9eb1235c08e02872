"""Rules of broadcasts: what is repeated is computed once and moved before it is repeated. Exact."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value, make_one
from ...ir.op import Op
from ...ir.ops.move import BroadcastInDim, Permute, Reshape, Reverse, Slice
from .base import ELEMENTWISE, Rule, matching_axes, producer

__all__ = ["RULES", "broadcast_source"]


def _spread(value: Value) -> tuple[Value, BroadcastInDim] | None:
    node = producer(value, BroadcastInDim)
    if node is None or not isinstance(node.op, BroadcastInDim):
        return None
    return node.operands[0], node.op


def broadcast_source(value: Value, axes: tuple[int, ...]) -> Value | None:
    """What is repeated to make the value along all axes but these, or None."""
    found = _spread(value)
    return found[0] if found is not None and found[1].axes == axes else None


def merge_broadcasts(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread(operands[0])
    if found is None or not isinstance(node.op, BroadcastInDim):
        return None
    x, inner = found
    return b.broadcast_in_dim(x, node.op.shape, tuple(node.op.axes[a] for a in inner.axes))


def broadcast_of_reshape(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reshape)
    if inner is None or not isinstance(node.op, BroadcastInDim):
        return None
    x = inner.operands[0]
    places = matching_axes(x.type.shape, operands[0].type.shape)
    if places is None or len(places) != x.type.rank:
        return None
    return b.broadcast_in_dim(x, node.op.shape, [node.op.axes[places[a]] for a in range(x.type.rank)])


def reshape_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread(operands[0])
    if found is None:
        return None
    x, op = found
    shape = node.results[0].type.shape
    if x.type.rank == 0:
        return b.broadcast_in_dim(x, shape, ())
    places = matching_axes(op.shape, shape)
    if places is None or any(a not in places for a in op.axes):
        return None
    return b.broadcast_in_dim(x, shape, [places[a] for a in op.axes])


def permute_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread(operands[0])
    if found is None or not isinstance(node.op, Permute):
        return None
    x, op = found
    places = [node.op.axes.index(a) for a in op.axes]
    order = sorted(range(len(places)), key=places.__getitem__)
    return b.broadcast_in_dim(b.permute(x, order), node.results[0].type.shape, sorted(places))


def slice_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread(operands[0])
    if found is None or not isinstance(node.op, Slice):
        return None
    x, op = found
    shape = node.results[0].type.shape
    cut = [a for a, d in enumerate(op.shape) if shape[a] != d or node.op.strides[a] != 1]
    repeated = {a for a in range(len(op.shape)) if a not in op.axes} | {
        a for a, d in zip(op.axes, x.type.shape, strict=True) if d == 1
    }
    return b.broadcast_in_dim(x, shape, op.axes) if all(a in repeated for a in cut) else None


def reverse_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread(operands[0])
    if found is None or not isinstance(node.op, Reverse):
        return None
    x, op = found
    inner = [k for k, a in enumerate(op.axes) if a in node.op.axes]
    return b.broadcast_in_dim(b.reverse(x, inner), op.shape, op.axes)


def elementwise_of_broadcasts(node: Node, operands: tuple[Value, ...]) -> Value | None:
    spreads = [_spread(o) for o in operands]
    first = spreads[0]
    if first is None:
        return None
    inner: list[Value] = []
    for found in spreads:
        if found is None or found[1] != first[1] or found[0].type.shape != first[0].type.shape:
            return None
        inner.append(found[0])
    return b.broadcast_in_dim(make_one(node.op, *inner), first[1].shape, first[1].axes)


def _below(op: type[Op]) -> Rule:
    return Rule(f"broadcast-last-{op.__name__.lower()}", op, elementwise_of_broadcasts)


RULES = (
    # broadcast(broadcast(x, p), q) = broadcast(x, p then q)
    Rule("merge-broadcasts", BroadcastInDim, merge_broadcasts),
    # broadcast(reshape(x)) = broadcast(x)                     where the reshape adds axes of size 1
    Rule("broadcast-of-reshape", BroadcastInDim, broadcast_of_reshape),
    # reshape(broadcast(x)) = broadcast(x)                     where the reshape moves axes of size 1, or x is a scalar
    Rule("reshape-of-broadcast", Reshape, reshape_of_broadcast),
    # permute(broadcast(x)) = broadcast(permute(x))
    Rule("permute-of-broadcast", Permute, permute_of_broadcast),
    # broadcast(x)[a:b] = broadcast(x)                         where only repeated axes are cut
    Rule("slice-of-broadcast", Slice, slice_of_broadcast),
    # reverse(broadcast(x)) = broadcast(reverse(x))
    Rule("reverse-of-broadcast", Reverse, reverse_of_broadcast),
    # f(broadcast(x), broadcast(y)) = broadcast(f(x, y))       both broadcast alike
    *(_below(op) for op in ELEMENTWISE),
)
