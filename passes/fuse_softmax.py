"""Finds softmax and log_softmax in a graph of core ops."""

from __future__ import annotations

from ..ir.graph import Node, Value
from ..ir.op import Op
from ..ir.ops.elementwise import Div, Exp, Log, Sub
from ..ir.ops.move import BroadcastInDim
from ..ir.ops.reduce import ReduceMax, ReduceSum, Reduction
from .rules.base import producer

__all__ = ["softmax_members"]


def softmax_members(node: Node) -> list[Node]:
    """The nodes of the softmax or log_softmax that ends here, broadcasts included; none if none does.

    softmax:      e / sum e, with e = exp(x - max x)
    log_softmax:  s - log(sum exp s), with s = x - max x
    """
    if isinstance(node.op, Div):
        e, total = node.operands
        spread, summed = _repeated(total, ReduceSum)
        exp = producer(e, Exp)
        if spread is None or summed is None or exp is None or summed.operands[0] is not e:
            return []
        return _shifted(exp.operands[0], summed, [exp, summed, spread, node])
    if isinstance(node.op, Sub):
        s, total = node.operands
        spread, log = _repeated(total, Log)
        summed = None if log is None else producer(log.operands[0], ReduceSum)
        exp = None if summed is None else producer(summed.operands[0], Exp)
        if spread is None or log is None or summed is None or exp is None or exp.operands[0] is not s:
            return []
        return _shifted(s, summed, [exp, summed, log, spread, node])
    return []


def _shifted(s: Value, summed: Node, rest: list[Node]) -> list[Node]:
    """The members with those of s = x - max x before them, if s is that over the axes of the sum."""
    sub = producer(s, Sub)
    if sub is None:
        return []
    spread, largest = _repeated(sub.operands[1], ReduceMax)
    if spread is None or largest is None or largest.operands[0] is not sub.operands[0]:
        return []
    first, second = largest.op, summed.op
    assert isinstance(first, Reduction) and isinstance(second, Reduction)
    shape = s.type.shape
    kept = tuple(a for a in range(len(shape)) if a not in first.axes)
    back = BroadcastInDim(shape, kept)
    spreads = [n for n in rest if isinstance(n.op, BroadcastInDim)]
    if first.axes != second.axes or any(n.op != back for n in (spread, *spreads)):
        return []
    return [largest, spread, sub, *rest]


def _repeated(value: Value, op: type[Op]) -> tuple[Node | None, Node | None]:
    """The broadcast that makes the value, and the node of that op before it."""
    spread = producer(value, BroadcastInDim)
    return (None, None) if spread is None else (spread, producer(spread.operands[0], op))
