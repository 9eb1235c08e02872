"""Rules of conditions: not, comparisons, select. Exact."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value, make_one
from ...ir.op import Op
from ...ir.ops.elementwise import Eq, Ge, Gt, Le, Lt, Ne, Not, Select
from ...ir.types import bool_
from .base import Rule, is_full, producer

__all__ = ["RULES"]

OPPOSITE: dict[type[Op], Op] = {Eq: Ne(), Ne: Eq(), Lt: Ge(), Ge: Lt(), Gt: Le(), Le: Gt()}


def double_not(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Not)
    return None if inner is None else inner.operands[0]


def not_of_compare(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].node
    if inner is None or type(inner.op) not in OPPOSITE:
        return None
    ordered = isinstance(inner.op, (Eq, Ne)) or not inner.operands[0].type.dtype.is_float
    return make_one(OPPOSITE[type(inner.op)], *inner.operands) if ordered else None


def known_condition(node: Node, operands: tuple[Value, ...]) -> Value | None:
    condition, x, y = operands
    return x if is_full(condition, 1) else y if is_full(condition, 0) else None


def select_of_not(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Not)
    return None if inner is None else b.select(inner.operands[0], operands[2], operands[1])


def select_of_truths(node: Node, operands: tuple[Value, ...]) -> Value | None:
    condition, x, y = operands
    if x.type.dtype != bool_:
        return None
    if is_full(x, 1) and is_full(y, 0):
        return condition
    return b.not_(condition) if is_full(x, 0) and is_full(y, 1) else None


def select_in_select(node: Node, operands: tuple[Value, ...]) -> Value | None:
    condition, x, y = operands
    first, second = producer(x, Select), producer(y, Select)
    if first is not None and first.operands[0] is condition:
        return b.select(condition, first.operands[1], y)
    if second is not None and second.operands[0] is condition:
        return b.select(condition, x, second.operands[2])
    return None


RULES = (
    # not not x = x
    Rule("double-not", Not, double_not),
    # not (x = y) = (x != y)                                   not (x < y) = (x >= y) where there is no NaN
    Rule("not-of-compare", Not, not_of_compare),
    # select(true, x, y) = x,  select(false, x, y) = y
    Rule("known-condition", Select, known_condition),
    # select(not c, x, y) = select(c, y, x)
    Rule("select-of-not", Select, select_of_not),
    # select(c, true, false) = c,  select(c, false, true) = not c
    Rule("select-of-truths", Select, select_of_truths),
    # select(c, select(c, x, z), y) = select(c, x, y)          and in the other branch
    Rule("select-in-select", Select, select_in_select),
)
