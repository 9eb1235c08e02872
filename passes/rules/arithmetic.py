"""Rules of arithmetic that keep every bit, infinities and the sign of zero included. NaN stays NaN.

Rules that are missing because they are wrong for floats: x * 0 = 0 (NaN, infinity, -0), x - x = 0 (NaN, infinity),
x + 0 = x (-0), (x + a) + b = x + (a + b) (rounding), x / x = 1 (0, NaN, infinity).
"""

from __future__ import annotations

import math

from ...ir import build as b
from ...ir.graph import Node, Value, make_one
from ...ir.op import Accuracy, Op
from ...ir.ops.elementwise import (
    Abs,
    Add,
    And,
    Ceil,
    Div,
    Floor,
    Max,
    Min,
    Mul,
    Neg,
    Or,
    Pow,
    RoundEven,
    Sign,
    Sub,
    Xor,
)
from ...ir.ops.nn import Relu
from .base import Function, Rule, is_constant, is_full, number_of, producer

__all__ = ["RULES"]


def undo(op: type[Op]) -> Function:
    """f(f(x)) = x."""

    def apply(node: Node, operands: tuple[Value, ...]) -> Value | None:
        inner = producer(operands[0], op)
        return None if inner is None else inner.operands[0]

    return apply


def idempotent(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].node
    return operands[0] if inner is not None and inner.op == node.op else None


def mul_one(node: Node, operands: tuple[Value, ...]) -> Value | None:
    return operands[0] if is_full(operands[1], 1) else None


def mul_minus_one(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return b.neg(x) if x.type.dtype.kind in ("float", "int") and is_full(y, -1) else None


def sub_zero(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return x if is_full(y, 0) and not _is_negative_zero(y) else None


def add_zero(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    if not is_full(y, 0):
        return None
    return x if x.type.dtype.is_integer or _is_negative_zero(y) else None


def _is_negative_zero(value: Value) -> bool:
    number = number_of(value)
    return number is not None and value.type.dtype.is_float and math.copysign(1.0, float(number)) < 0


def constant_right(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return make_one(node.op, y, x) if is_constant(x) and not is_constant(y) else None


def add_neg(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    minus = producer(y, Neg)
    if minus is not None:
        return b.sub(x, minus.operands[0])
    minus = producer(x, Neg)
    return None if minus is None else b.sub(y, minus.operands[0])


def sub_neg(node: Node, operands: tuple[Value, ...]) -> Value | None:
    minus = producer(operands[1], Neg)
    return None if minus is None else b.add(operands[0], minus.operands[0])


def both_negative(node: Node, operands: tuple[Value, ...]) -> Value | None:
    left, right = (producer(o, Neg) for o in operands)
    if left is None or right is None or not node.results[0].type.dtype.is_float:
        return None
    return make_one(node.op, left.operands[0], right.operands[0])


def abs_neg(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Neg)
    return None if inner is None else b.abs(inner.operands[0])


def div_power_of_two(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    number = number_of(y)
    if number is None or x.type.dtype.name not in ("f32", "f64"):
        return None
    mantissa, exponent = math.frexp(float(number))
    if abs(mantissa) != 0.5 or not -60 < exponent < 60 or is_full(y, 1):
        return None
    return b.mul(x, b.full_like(y, 1 / float(number)))


def pow_one(node: Node, operands: tuple[Value, ...]) -> Value | None:
    return operands[0] if is_full(operands[1], 1) else None


def pow_two(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return b.mul(x, x) if is_full(y, 2) else None


def same_operands(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return x if x is y else None


IDEMPOTENT: tuple[type[Op], ...] = (Abs, Floor, Ceil, RoundEven, Sign, Relu)
SYMMETRIC: tuple[type[Op], ...] = (Add, Mul, Min, Max, And, Or, Xor)
SELECTING: tuple[type[Op], ...] = (Min, Max, And, Or)

RULES = (
    # --x = x
    Rule("double-neg", Neg, undo(Neg)),
    # f(f(x)) = f(x)                                           abs, floor, ceil, round_even, sign, relu
    *(Rule(f"double-{op.mnemonic}", op, idempotent) for op in IDEMPOTENT),
    # |-x| = |x|
    Rule("abs-neg", Abs, abs_neg),
    # x * 1 = x,  x / 1 = x
    Rule("mul-one", Mul, mul_one),
    Rule("div-one", Div, mul_one),
    # x * -1 = -x
    Rule("mul-minus-one", Mul, mul_minus_one),
    # x - 0 = x                                                also for x = -0; x - (-0) is not
    Rule("sub-zero", Sub, sub_zero),
    # x + 0 = x for integers, x + (-0) = x for floats          x + 0 turns -0 into 0
    Rule("add-zero", Add, add_zero),
    # c + x = x + c                                            constants stand on the right
    *(Rule(f"constant-right-{op.mnemonic}", op, constant_right) for op in SYMMETRIC),
    # x + -y = x - y,  -x + y = y - x
    Rule("add-neg", Add, add_neg),
    # x - -y = x + y
    Rule("sub-neg", Sub, sub_neg),
    # -x * -y = x * y,  -x / -y = x / y                        floats: integer division wraps at its smallest
    Rule("mul-both-negative", Mul, both_negative),
    Rule("div-both-negative", Div, both_negative),
    # x / 2^k = x * 2^-k
    Rule("div-power-of-two", Div, div_power_of_two),
    # x^1 = x
    Rule("pow-one", Pow, pow_one),
    # x^2 = x * x                                              correctly rounded, where pow is within a few ulp
    Rule("pow-two", Pow, pow_two, accuracy=Accuracy.ROUNDED),
    # f(x, x) = x                                              min, max, and, or
    *(Rule(f"same-{op.mnemonic}", op, same_operands) for op in SELECTING),
)
