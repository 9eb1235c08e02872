"""Rules of data movement: exact, they move bits."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value
from ...ir.ops.elementwise import Binary, Cast, Unary
from ...ir.ops.move import BroadcastInDim, Permute, Reshape, Reverse
from ...ir.ops.nn import Relu
from .base import Rule, producer

__all__ = ["RULES"]


def merge_permutes(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Permute)
    if inner is None or not isinstance(node.op, Permute) or not isinstance(inner.op, Permute):
        return None
    return b.permute(inner.operands[0], tuple(inner.op.axes[a] for a in node.op.axes))


def merge_reshapes(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reshape)
    return None if inner is None else b.reshape(inner.operands[0], node.results[0].type.shape)


def merge_broadcasts(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], BroadcastInDim)
    if inner is None or not isinstance(node.op, BroadcastInDim) or not isinstance(inner.op, BroadcastInDim):
        return None
    axes = tuple(node.op.axes[a] for a in inner.op.axes)
    return b.broadcast_in_dim(inner.operands[0], node.op.shape, axes)


def reshape_of_full(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], BroadcastInDim)
    if inner is None or inner.operands[0].type.rank != 0:
        return None
    return b.broadcast_in_dim(inner.operands[0], node.results[0].type.shape, ())


def permute_only_ones(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x = operands[0]
    assert isinstance(node.op, Permute)
    moved = [a for a in node.op.axes if x.type.shape[a] != 1]
    return b.reshape(x, node.results[0].type.shape) if moved == sorted(moved) else None


def permute_below_unary(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].node
    if inner is None or not isinstance(inner.op, (Unary, Cast, Relu)) or not isinstance(node.op, Permute):
        return None
    source = producer(inner.operands[0], Permute)
    if source is None:
        return None
    from ...ir.graph import make_one

    return make_one(inner.op, b.permute(inner.operands[0], node.op.axes))


def same_permutes_below_binary(node: Node, operands: tuple[Value, ...]) -> Value | None:
    left, right = (producer(o, Permute) for o in operands)
    if left is None or right is None or left.op != right.op or not isinstance(left.op, Permute):
        return None
    from ...ir.graph import make_one

    return b.permute(make_one(node.op, left.operands[0], right.operands[0]), left.op.axes)


def merge_reverses(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reverse)
    if inner is None or not isinstance(inner.op, Reverse) or not isinstance(node.op, Reverse):
        return None
    once = sorted(set(inner.op.axes) ^ set(node.op.axes))
    return b.reverse(inner.operands[0], once)


RULES = (
    # permute(permute(x, p), q) = permute(x, p then q)
    Rule("merge-permutes", Permute, merge_permutes),
    # permute(x, p) = reshape(x)                           where p moves only axes of size 1
    Rule("permute-only-ones", Permute, permute_only_ones),
    # permute(f(permute(x, p)), q) = f(permute(permute(x, p), q))
    Rule("permute-below-unary", Permute, permute_below_unary),
    # f(permute(x, p), permute(y, p)) = permute(f(x, y), p)
    Rule("same-permutes-below-binary", Binary, same_permutes_below_binary),
    # reshape(reshape(x)) = reshape(x)
    Rule("merge-reshapes", Reshape, merge_reshapes),
    # reshape(full(c)) = full(c)
    Rule("reshape-of-full", Reshape, reshape_of_full),
    # broadcast(broadcast(x, p), q) = broadcast(x, p then q)
    Rule("merge-broadcasts", BroadcastInDim, merge_broadcasts),
    # reverse(reverse(x, a), b) = reverse(x, axes in one of a and b)
    Rule("merge-reverses", Reverse, merge_reverses),
)
