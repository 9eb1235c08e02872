"""Rules of reductions."""

from __future__ import annotations

from dataclasses import replace

from ...ir import build as b
from ...ir.dims import bounds
from ...ir.graph import Node, Value, make_one
from ...ir.op import Accuracy
from ...ir.ops.move import BroadcastInDim, Permute, Reshape
from ...ir.ops.reduce import ReduceAll, ReduceAny, ReduceMax, ReduceMin, ReduceSum, Reduction
from .base import Function, Rule, matching_axes, producer

__all__ = ["RULES"]


def _spread_only(node: Node, operands: tuple[Value, ...]) -> tuple[Value, BroadcastInDim] | None:
    """What is broadcast along every reduced axis."""
    inner = producer(operands[0], BroadcastInDim)
    if inner is None or not isinstance(inner.op, BroadcastInDim) or not isinstance(node.op, Reduction):
        return None
    x = inner.operands[0]
    return None if any(a in inner.op.axes for a in node.op.axes) else (x, inner.op)


def _put_back(x: Value, op: BroadcastInDim, node: Node) -> Value:
    assert isinstance(node.op, Reduction)
    kept = [a for a in range(len(op.shape)) if a not in node.op.axes]
    return b.broadcast_in_dim(x, node.results[0].type.shape, [kept.index(a) for a in op.axes])


def extreme_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread_only(node, operands)
    if found is None or not isinstance(node.op, Reduction):
        return None
    x, op = found
    filled = all(bounds(op.shape[a])[0] > 0 for a in node.op.axes)
    return _put_back(x, op, node) if filled else None


def sum_of_broadcast(node: Node, operands: tuple[Value, ...]) -> Value | None:
    found = _spread_only(node, operands)
    if found is None or not isinstance(node.op, ReduceSum) or node.op.acc is not None:
        return None
    x, op = found
    count = 1
    for axis in node.op.axes:
        size = op.shape[axis]
        if not isinstance(size, int):
            return None
        count *= size
    dtype = x.type.dtype
    if not dtype.is_integer:
        return None
    wrapped = b.constant(count % 2**dtype.bits if dtype.kind == "uint" else _signed(count, dtype.bits), dtype)
    return _put_back(b.mul(x, b.broadcast_in_dim(wrapped, x.type.shape, ())), op, node)


def _signed(number: int, bits: int) -> int:
    return (number + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def merge_reductions(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], type(node.op))
    if inner is None or not isinstance(node.op, Reduction) or not isinstance(inner.op, Reduction):
        return None
    x = inner.operands[0]
    if replace(node.op, axes=inner.op.axes) != inner.op:
        return None
    kept = [a for a in range(x.type.rank) if a not in inner.op.axes]
    axes = tuple(sorted((*inner.op.axes, *(kept[a] for a in node.op.axes))))
    return make_one(replace(node.op, axes=axes), x)


def reduce_ones(node: Node, operands: tuple[Value, ...]) -> Value | None:
    assert isinstance(node.op, Reduction)
    x = operands[0]
    single = all(x.type.shape[a] == 1 for a in node.op.axes)
    keeps_bits = not isinstance(node.op, ReduceSum) or not x.type.dtype.is_float
    return b.reshape(x, node.results[0].type.shape) if single and keeps_bits else None


def reduce_of_reshape(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reshape)
    if inner is None or not isinstance(node.op, Reduction):
        return None
    x = inner.operands[0]
    places = matching_axes(operands[0].type.shape, x.type.shape)
    if places is None or any(a not in places for a in node.op.axes):
        return None
    smaller = make_one(replace(node.op, axes=tuple(places[a] for a in node.op.axes)), x)
    return b.reshape(smaller, node.results[0].type.shape)


def reduce_of_permute(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Permute)
    if inner is None or not isinstance(node.op, Reduction) or not isinstance(inner.op, Permute):
        return None
    p, axes = inner.op.axes, node.op.axes
    kept = [p[a] for a in range(len(p)) if a not in axes]
    if kept != sorted(kept):
        return None
    return make_one(replace(node.op, axes=tuple(sorted(p[a] for a in axes))), inner.operands[0])


def _each(name: str, function: Function, *ops: type[Reduction]) -> tuple[Rule, ...]:
    return tuple(Rule(f"{name}-{op.mnemonic}", op, function) for op in ops)


EXACT = (ReduceMax, ReduceMin, ReduceAny, ReduceAll)

RULES = (
    # max over a of broadcast(x) along a = x                   the same for min, any, all; a not empty
    *_each("extreme-of-broadcast", extreme_of_broadcast, *EXACT),
    # sum over n copies of x = n * x                           integers
    Rule("sum-of-broadcast", ReduceSum, sum_of_broadcast),
    # max over a of max over b = max over a and b              the same for min, any, all
    *_each("merge-reductions", merge_reductions, *EXACT),
    # reduce(x) = reshape(x)                                   over axes of size 1; a float sum turns -0 into 0
    *_each("reduce-ones", reduce_ones, *EXACT, ReduceSum),
    # reduce(reshape(x)) = reshape(reduce(x))                  where the reshape moves axes of size 1
    Rule("reduce-of-reshape", Reduction, reduce_of_reshape),
    # max(permute(x)) = max(x)                                 where the axes that stay keep their order
    *_each("reduce-of-permute", reduce_of_permute, *EXACT),
    # sum(permute(x)) = sum(x)                                 in another order
    Rule("sum-of-permute", ReduceSum, reduce_of_permute, accuracy=Accuracy.REASSOCIATED),
)
