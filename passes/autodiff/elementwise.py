"""Derivatives of elementwise ops. g is the cotangent of the result y."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...ir import build as b
from ...ir.graph import Node, Value

__all__ = ["RULES"]

Cotangents = tuple["Value | None", ...]
Rule = Callable[[Node, Cotangents], "tuple[Value | None, ...]"]


def unary(derivative: Callable[[Value, Value, Value], Value]) -> Rule:
    """From the rule (g, x, y) -> dx."""

    def rule(node: Node, cotangents: Cotangents) -> tuple[Value | None, ...]:
        (g,) = cotangents
        assert g is not None
        return (derivative(g, node.operands[0], node.results[0]),)

    return rule


def binary(derivative: Callable[[Value, Value, Value, Value], tuple[Value | None, Value | None]]) -> Rule:
    """From the rule (g, x, y, z) -> dx, dy."""

    def rule(node: Node, cotangents: Cotangents) -> tuple[Value | None, ...]:
        (g,) = cotangents
        assert g is not None
        if not g.type.dtype.is_float:
            return None, None
        return derivative(g, node.operands[0], node.operands[1], node.results[0])

    return rule


def where(condition: Value, x: Value) -> Value:
    """x where the condition holds, else 0."""
    return b.select(condition, x, b.full_like(x, 0))


def half(x: Value) -> Value:
    return b.mul(x, b.full_like(x, 0.5))


def extreme(g: Value, x: Value, y: Value, z: Value) -> tuple[Value, Value]:
    """All to the operand that is the extreme, half each where they are equal."""
    shared = b.eq(x, y)
    dx = b.select(shared, half(g), where(b.eq(x, z), g))
    dy = b.select(shared, half(g), where(b.eq(y, z), g))
    return dx, dy


def power(g: Value, x: Value, y: Value, z: Value) -> tuple[Value, Value]:
    zero, one = b.full_like(x, 0), b.full_like(x, 1)
    below = b.pow(x, b.sub(y, one))
    dx = b.select(b.eq(y, zero), zero, b.mul(g, b.mul(y, below)))
    positive = b.gt(x, zero)
    safe = b.select(positive, x, one)
    return dx, where(positive, b.mul(g, b.mul(z, b.log(safe))))


def select(node: Node, cotangents: Cotangents) -> tuple[Value | None, ...]:
    (g,) = cotangents
    assert g is not None
    if not g.type.dtype.is_float:
        return None, None, None
    condition, zero = node.operands[0], b.full_like(g, 0)
    return None, b.select(condition, g, zero), b.select(condition, zero, g)


def clamp(node: Node, cotangents: Cotangents) -> tuple[Value | None, ...]:
    (g,) = cotangents
    assert g is not None
    if not g.type.dtype.is_float:
        return None, None, None
    lo, x, hi = node.operands
    below, above = b.lt(x, lo), b.gt(x, hi)
    inside = b.not_(b.or_(below, above))
    return where(b.and_(below, b.not_(above)), g), where(inside, g), where(above, g)


def cast(node: Node, cotangents: Cotangents) -> tuple[Value | None, ...]:
    (g,) = cotangents
    assert g is not None
    x = node.operands[0]
    floats = x.type.dtype.is_float and g.type.dtype.is_float
    return (b.cast(g, x.type.dtype) if floats else None,)


def remainder(g: Value, x: Value, y: Value, z: Value) -> tuple[Value, Value]:
    return g, b.neg(b.mul(g, b.div(b.sub(x, z), y)))


RULES: dict[str, Rule] = {
    # d(-x) = -dx
    "neg": unary(lambda g, x, y: b.neg(g)),
    # d|x| = sign(x) dx, 0 at 0
    "abs": unary(lambda g, x, y: b.mul(g, b.sign(x))),
    # d sqrt(x) = dx / (2 y), infinite at 0
    "sqrt": unary(lambda g, x, y: b.div(half(g), y)),
    # d x^-1/2 = -y^3 / 2 dx
    "rsqrt": unary(lambda g, x, y: b.neg(half(b.mul(g, b.mul(y, b.mul(y, y)))))),
    # d(1/x) = -y^2 dx
    "reciprocal": unary(lambda g, x, y: b.neg(b.mul(g, b.mul(y, y)))),
    # d e^x = y dx
    "exp": unary(lambda g, x, y: b.mul(g, y)),
    # d(e^x - 1) = (y + 1) dx
    "expm1": unary(lambda g, x, y: b.mul(g, b.add(y, b.full_like(y, 1)))),
    # d log x = dx / x
    "log": unary(lambda g, x, y: b.div(g, x)),
    # d log(1 + x) = dx / (1 + x)
    "log1p": unary(lambda g, x, y: b.div(g, b.add(x, b.full_like(x, 1)))),
    # d sin x = cos x dx
    "sin": unary(lambda g, x, y: b.mul(g, b.cos(x))),
    # d cos x = -sin x dx
    "cos": unary(lambda g, x, y: b.neg(b.mul(g, b.sin(x)))),
    # d tanh x = (1 - y^2) dx
    "tanh": unary(lambda g, x, y: b.mul(g, b.sub(b.full_like(y, 1), b.mul(y, y)))),
    # d sigmoid x = y (1 - y) dx
    "sigmoid": unary(lambda g, x, y: b.mul(g, b.mul(y, b.sub(b.full_like(y, 1), y)))),
    # d erf x = 2 / sqrt(pi) e^-x^2 dx
    "erf": unary(lambda g, x, y: b.mul(g, b.mul(b.exp(b.neg(b.mul(x, x))), b.full_like(x, 2 / math.sqrt(math.pi))))),
    # d relu x = dx where x > 0
    "relu": unary(lambda g, x, y: where(b.gt(x, b.full_like(x, 0)), g)),
    # d(x + y) = dx + dy
    "add": binary(lambda g, x, y, z: (g, g)),
    # d(x - y) = dx - dy
    "sub": binary(lambda g, x, y, z: (g, b.neg(g))),
    # d(x y) = y dx + x dy
    "mul": binary(lambda g, x, y, z: (b.mul(g, y), b.mul(g, x))),
    # d(x / y) = dx / y - z dy / y
    "div": binary(lambda g, x, y, z: (b.div(g, y), b.neg(b.mul(b.div(g, y), z)))),
    # d(x - trunc(x / y) y) = dx - trunc(x / y) dy
    "rem": binary(remainder),
    # d x^y = y x^(y-1) dx + z log x dy, the second where x > 0
    "pow": binary(power),
    # d min, d max: of the operand that is the result, half each where they are equal
    "min": binary(extreme),
    "max": binary(extreme),
    # d select(c, a, b) = da where c, else db
    "select": select,
    # d clamp(lo, x, hi): of the one that is the result; x where it is within
    "clamp": clamp,
    # d cast(x) = cast(dx) between float types
    "cast": cast,
}
