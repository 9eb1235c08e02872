"""Rules that hold for integers and bools alone: they wrap, but have no NaN and one zero. Exact."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value, make_one
from ...ir.op import Op
from ...ir.ops.elementwise import Add, And, Eq, Ge, Gt, Le, Lt, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor
from ...ir.types import bool_
from .base import Function, Rule, is_constant, is_full

__all__ = ["RULES"]


def _exact(value: Value) -> bool:
    return not value.type.dtype.is_float


def with_number(number: int, result: int | None) -> Function:
    """f(x, number) = result, or x where no result is given."""

    def apply(node: Node, operands: tuple[Value, ...]) -> Value | None:
        x, y = operands
        if not _exact(x) or not _is(y, number):
            return None
        return x if result is None else _all(x, result)

    return apply


def _is(value: Value, number: int) -> bool:
    """Whether every element is the number; -1 stands for all bits set."""
    if number >= 0:
        return is_full(value, number)
    dtype = value.type.dtype
    return is_full(value, -1 if dtype.kind == "int" else 1 if dtype == bool_ else 2**dtype.bits - 1)


def _all(like: Value, number: int) -> Value:
    dtype = like.type.dtype
    if number >= 0:
        return b.full_like(like, number)
    return b.full_like(like, -1 if dtype.kind == "int" else 1 if dtype == bool_ else 2**dtype.bits - 1)


def equal_gives_zero(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, y = operands
    return b.full_like(x, 0) if x is y and _exact(x) else None


def equal_gives(answer: bool) -> Function:
    """x ~ x is known."""

    def apply(node: Node, operands: tuple[Value, ...]) -> Value | None:
        x, y = operands
        return b.full(node.results[0].type, answer) if x is y and _exact(x) else None

    return apply


def gather_constants(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, c = operands
    inner = x.node
    if inner is None or inner.op != node.op or not _exact(x) or not is_constant(c):
        return None
    if not is_constant(inner.operands[1]) or is_constant(inner.operands[0]):
        return None
    return make_one(node.op, inner.operands[0], make_one(node.op, inner.operands[1], c))


ASSOCIATIVE: tuple[type[Op], ...] = (Add, Mul, And, Or, Xor)
REFLEXIVE: tuple[type[Op], ...] = (Eq, Le, Ge)
IRREFLEXIVE: tuple[type[Op], ...] = (Ne, Lt, Gt)

RULES = (
    # x * 0 = 0                                                wrong for NaN, infinity and -0
    Rule("int-mul-zero", Mul, with_number(0, 0)),
    # x and 0 = 0,  x and ones = x
    Rule("and-zero", And, with_number(0, 0)),
    Rule("and-ones", And, with_number(-1, None)),
    # x or 0 = x,  x or ones = ones
    Rule("or-zero", Or, with_number(0, None)),
    Rule("or-ones", Or, with_number(-1, -1)),
    # x xor 0 = x
    Rule("xor-zero", Xor, with_number(0, None)),
    # x << 0 = x,  x >> 0 = x
    Rule("shl-zero", Shl, with_number(0, None)),
    Rule("shr-zero", Shr, with_number(0, None)),
    # x rem 1 = 0
    Rule("rem-one", Rem, with_number(1, 0)),
    # x - x = 0,  x xor x = 0
    Rule("int-sub-equal", Sub, equal_gives_zero),
    Rule("xor-equal", Xor, equal_gives_zero),
    # x ~ x is known                                           wrong for NaN
    *(Rule(f"int-{op.mnemonic}-equal", op, equal_gives(True)) for op in REFLEXIVE),
    *(Rule(f"int-{op.mnemonic}-equal", op, equal_gives(False)) for op in IRREFLEXIVE),
    # (x + c) + d = x + (c + d)                                the same for mul, and, or, xor
    *(Rule(f"gather-constants-{op.mnemonic}", op, gather_constants) for op in ASSOCIATIVE),
)
