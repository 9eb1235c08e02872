"""Rules of arithmetic that keep every bit, NaN, infinity and the sign of zero included."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value, make_one
from ...ir.op import Op
from ...ir.ops.constant import Constant
from ...ir.ops.elementwise import Add, And, Cast, Div, Max, Min, Mul, Neg, Not, Or, Select, Sub, Xor
from .base import Function, Rule, is_full, producer

__all__ = ["RULES"]


def undo(op: type[Op]) -> Function:
    def apply(node: Node, operands: tuple[Value, ...]) -> Value | None:
        inner = producer(operands[0], op)
        return None if inner is None else inner.operands[0]

    return apply


def mul_one(node: Node, operands: tuple[Value, ...]) -> Value | None:
    return operands[0] if is_full(operands[1], 1) else None


def sub_zero(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return x if is_full(y, 0) and not _is_negative_zero(y) else None


def add_zero(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    if not is_full(y, 0):
        return None
    return x if x.type.dtype.is_integer or _is_negative_zero(y) else None


def _is_negative_zero(value: Value) -> bool:
    while value.node is not None and value.node.operands:
        value = value.node.operands[0]
    if value.node is None or not isinstance(value.node.op, Constant) or not value.type.dtype.is_float:
        return False
    return str(float(value.node.op.value.array.reshape(-1)[0])).startswith("-")


def constant_right(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return make_one(node.op, y, x) if _is_constant(x) and not _is_constant(y) else None


def _is_constant(value: Value) -> bool:
    while value.node is not None and len(value.node.operands) == 1 and value.node.op.mnemonic == "broadcast_in_dim":
        value = value.node.operands[0]
    return value.node is not None and isinstance(value.node.op, Constant)


def known_condition(node: Node, operands: tuple[Value, ...]) -> Value | None:
    condition, x, y = operands
    return x if is_full(condition, 1) else y if is_full(condition, 0) else None


def exact_cast_chain(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Cast)
    if inner is None:
        return None
    start, middle = inner.operands[0].type.dtype, inner.results[0].type.dtype
    widens = start.kind == middle.kind and start.bits <= middle.bits and str(start) != "f16" and str(start) != "bf16"
    return b.cast(inner.operands[0], node.results[0].type.dtype) if widens or _half_widens(str(start), middle.bits) else None


def _half_widens(start: str, bits: int) -> bool:
    return start in ("f16", "bf16") and bits >= 32


RULES = (
    # --x = x
    Rule("double-neg", Neg, undo(Neg)),
    # not not x = x
    Rule("double-not", Not, undo(Not)),
    # x * 1 = x,  x / 1 = x
    Rule("mul-one", Mul, mul_one),
    Rule("div-one", Div, mul_one),
    # x - 0 = x                                            also for x = -0; x - (-0) is not
    Rule("sub-zero", Sub, sub_zero),
    # x + 0 = x for integers, x + (-0) = x for floats      x + 0 turns -0 into 0
    Rule("add-zero", Add, add_zero),
    # c + x = x + c                                        constants stand on the right
    Rule("constant-right-add", Add, constant_right),
    Rule("constant-right-mul", Mul, constant_right),
    Rule("constant-right-min", Min, constant_right),
    Rule("constant-right-max", Max, constant_right),
    Rule("constant-right-and", And, constant_right),
    Rule("constant-right-or", Or, constant_right),
    Rule("constant-right-xor", Xor, constant_right),
    # select(true, x, y) = x,  select(false, x, y) = y
    Rule("known-condition", Select, known_condition),
    # cast(cast(x, wider), t) = cast(x, t)                 where wider holds every value of x
    Rule("exact-cast-chain", Cast, exact_cast_chain),
)
