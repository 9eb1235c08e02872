"""Derivatives of elementwise ops. x, y are operands, z the result, g its cotangent, dx and dy those of x and y."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ...ir import build as b
from ...ir.graph import Node, Value
from .rule import Cotangents, Rule, only, scale, zeros_like

__all__ = ["RULES"]


def _unary(derivative: Callable[[Value, Value, Value], Value]) -> Rule:
    """From dx as a function of g, x and z."""
    return only(lambda node, g: (derivative(g, node.operands[0], node.results[0]),))


def _binary(derivative: Callable[[Value, Value, Value, Value], Cotangents]) -> Rule:
    """From dx and dy as a function of g, x, y and z."""
    return only(lambda node, g: derivative(g, node.operands[0], node.operands[1], node.results[0]))


def _one_minus(x: Value) -> Value:
    return b.sub(b.full_like(x, 1), x)


def _erf(g: Value, x: Value, z: Value) -> Value:
    return scale(b.mul(g, b.exp(b.neg(b.mul(x, x)))), 2 / math.sqrt(math.pi))


def _rem(g: Value, x: Value, y: Value, z: Value) -> Cotangents:
    quotient = b.round_even(b.div(b.sub(x, z), y))
    return g, b.neg(b.mul(g, quotient))


def _pow(g: Value, x: Value, y: Value, z: Value) -> Cotangents:
    one = b.full_like(y, 1)
    nonzero = b.select(b.eq(y, zeros_like(y)), one, y)
    dx = b.mul(g, b.mul(y, b.pow(x, b.sub(nonzero, one))))
    base = b.select(b.eq(x, zeros_like(x)), b.full_like(x, 1), x)
    return dx, b.mul(g, b.mul(z, b.log(base)))


def _atan2(g: Value, y: Value, x: Value, z: Value) -> Cotangents:
    """Both divided by the larger first, so that no square overflows."""
    size = b.max(b.abs(x), b.abs(y))
    origin = b.eq(size, zeros_like(size))
    safe = b.select(origin, b.full_like(size, 1), size)
    u, v = b.div(x, safe), b.div(y, safe)
    part = b.div(g, b.mul(safe, b.add(b.mul(u, u), b.mul(v, v))))
    part = b.select(origin, zeros_like(g), part)
    return b.mul(part, u), b.neg(b.mul(part, v))


def _fma(node: Node, g: Value) -> Cotangents:
    x, y, _ = node.operands
    return b.mul(g, y), b.mul(g, x), g


def _extreme(wins: Callable[[Value, Value], Value]) -> Rule:
    def derivative(g: Value, x: Value, y: Value, z: Value) -> Cotangents:
        zero, half = zeros_like(g), scale(g, 0.5)
        tie = b.eq(x, y)
        dx = b.select(tie, half, b.select(wins(x, y), g, zero))
        dy = b.select(tie, half, b.select(wins(y, x), g, zero))
        return dx, dy

    return _binary(derivative)


def _select(node: Node, g: Value) -> Cotangents:
    condition, zero = node.operands[0], zeros_like(g)
    return None, b.select(condition, g, zero), b.select(condition, zero, g)


def _clamp(node: Node, g: Value) -> Cotangents:
    lo, x, hi = node.operands
    zero = zeros_like(g)
    ordered, below, above = b.le(lo, hi), b.lt(x, lo), b.gt(x, hi)
    dx = b.select(b.or_(below, above), zero, g)
    dlo = b.select(b.and_(below, ordered), g, zero)
    dhi = b.select(b.gt(b.max(x, lo), hi), g, zero)
    return dlo, b.select(ordered, dx, zero), dhi


def _cast(node: Node, g: Value) -> Cotangents:
    x = node.operands[0].type.dtype
    return (b.cast(g, x) if x.is_float else None,)


RULES: Mapping[str, Rule] = {
    # (-x)' = -1
    "neg": _unary(lambda g, x, z: b.neg(g)),
    # |x|' = sign x                                        0 at 0
    "abs": _unary(lambda g, x, z: b.mul(g, b.sign(x))),
    # sqrt' = 1 / (2 sqrt x)                               infinite at 0
    "sqrt": _unary(lambda g, x, z: b.div(scale(g, 0.5), z)),
    # (x^-1/2)' = -1/2 x^-3/2
    "rsqrt": _unary(lambda g, x, z: scale(b.mul(g, b.mul(z, b.mul(z, z))), -0.5)),
    # (1/x)' = -1/x^2
    "reciprocal": _unary(lambda g, x, z: b.neg(b.mul(g, b.mul(z, z)))),
    # exp' = exp
    "exp": _unary(lambda g, x, z: b.mul(g, z)),
    # (e^x - 1)' = e^x
    "expm1": _unary(lambda g, x, z: b.mul(g, b.add(z, b.full_like(z, 1)))),
    # log' = 1/x
    "log": _unary(lambda g, x, z: b.div(g, x)),
    # log(1 + x)' = 1 / (1 + x)
    "log1p": _unary(lambda g, x, z: b.div(g, b.add(x, b.full_like(x, 1)))),
    # sin' = cos
    "sin": _unary(lambda g, x, z: b.mul(g, b.cos(x))),
    # cos' = -sin
    "cos": _unary(lambda g, x, z: b.neg(b.mul(g, b.sin(x)))),
    # tanh' = 1 - tanh^2
    "tanh": _unary(lambda g, x, z: b.mul(g, _one_minus(b.mul(z, z)))),
    # sigmoid' = sigmoid (1 - sigmoid)
    "sigmoid": _unary(lambda g, x, z: b.mul(g, b.mul(z, _one_minus(z)))),
    # erf' = 2 / sqrt(pi) e^(-x^2)
    "erf": _unary(_erf),
    # d(x + y) = dx + dy
    "add": _binary(lambda g, x, y, z: (g, g)),
    # d(x - y) = dx - dy
    "sub": _binary(lambda g, x, y, z: (g, b.neg(g))),
    # d(xy) = y dx + x dy
    "mul": _binary(lambda g, x, y, z: (b.mul(g, y), b.mul(g, x))),
    # d(x/y) = dx / y - z dy / y
    "div": _binary(lambda g, x, y, z: (b.div(g, y), b.neg(b.mul(b.div(g, y), z)))),
    # d(x - ny) = dx - n dy                                n whole, n = (x - z) / y
    "rem": _binary(_rem),
    # d(x^y) = y x^(y-1) dx + x^y log x dy                 0 dx at y = 0; 0 dy at x = 0; NaN dy below 0
    "pow": _binary(_pow),
    # d atan2(y, x) = (x dy - y dx) / (x^2 + y^2)          0 at the origin
    "atan2": _binary(_atan2),
    # d fma(x, y, z) = y dx + x dy + dz
    "fma": only(_fma),
    # d min, d max: to the one that wins                   half to each where they are equal
    "min": _extreme(b.lt),
    "max": _extreme(b.gt),
    # d select(c, x, y) = dx where c, else dy              the other branch gets 0, whatever it holds
    "select": only(_select),
    # d clamp: to lo below it, to hi above it, else to x   to x at the bounds; to hi where lo > hi
    "clamp": only(_clamp),
    # cast is linear between floats
    "cast": only(_cast),
}
