"""Elementwise arithmetic, comparison, logic and conversion."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...ir import build as b
from ...ir.graph import Value
from ...ir.types import DType, bool_, f64
from .. import elementwise as e
from .elements import dtype_named
from .known import Known
from .node import OnnxNode
from .report import Refused
from .table import Result, op

Unary = Callable[[Value], Value]
Binary = Callable[[Value, Value], Value]


def _unsigned_abs(x: Value) -> Value:
    return b.abs(x) if x.type.dtype.kind in ("float", "int") else x


def _any_sign(x: Value) -> Value:
    if x.type.dtype.kind == "uint":
        return b.cast(b.ne(x, b.full_like(x, 0)), x.type.dtype)
    return b.sign(x)


def _identity(x: Value) -> Value:
    return x


def _tan(x: Value) -> Value:
    return b.div(b.sin(x), b.cos(x))


def _atan(x: Value) -> Value:
    return b.atan2(x, b.full_like(x, 1))


def _leg(x: Value) -> Value:
    """sqrt(1 - x^2), exact near 1."""
    one = b.full_like(x, 1)
    return b.sqrt(b.mul(b.sub(one, x), b.add(one, x)))


def _asin(x: Value) -> Value:
    return b.atan2(x, _leg(x))


def _acos(x: Value) -> Value:
    return b.atan2(_leg(x), x)


def _half(x: Value) -> Value:
    return b.mul(x, b.full_like(x, 0.5))


def _sinh(x: Value) -> Value:
    """(e^x - e^-x) / 2 = (m + m / (m + 1)) / 2 with m = e^|x| - 1, exact near 0; m itself where it is infinite."""
    m = b.expm1(b.abs(x))
    both = b.add(m, b.div(m, b.add(m, b.full_like(m, 1))))
    return b.mul(_half(b.select(b.is_finite(m), both, m)), b.sign(x))


def _cosh(x: Value) -> Value:
    grown = b.exp(b.abs(x))
    return _half(b.add(grown, b.reciprocal(grown)))


def _asinh(x: Value) -> Value:
    """log(|x| + sqrt(x^2 + 1)) = log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), of x's sign."""
    size, one = b.abs(x), b.full_like(x, 1)
    square = b.mul(x, x)
    more = b.div(square, b.add(one, b.sqrt(b.add(one, square))))
    return b.mul(b.log1p(b.add(size, more)), b.sign(x))


def _acosh(x: Value) -> Value:
    """log(x + sqrt(x^2 - 1)) = log1p(t + sqrt(t (t + 2))) with t = x - 1."""
    t = b.sub(x, b.full_like(x, 1))
    return b.log1p(b.add(t, b.sqrt(b.mul(t, b.add(t, b.full_like(t, 2))))))


def _atanh(x: Value) -> Value:
    return _half(b.sub(b.log1p(x), b.log1p(b.neg(x))))


UNARY: dict[str, Unary] = {
    "Abs": _unsigned_abs, "Acos": _acos, "Acosh": _acosh, "Asin": _asin, "Asinh": _asinh, "Atan": _atan, "Atanh": _atanh,
    "BitwiseNot": b.not_, "Ceil": b.ceil, "Cos": b.cos, "Cosh": _cosh, "Erf": b.erf, "Exp": b.exp, "Floor": b.floor,
    "Identity": _identity, "IsNaN": b.is_nan, "Log": b.log, "Neg": b.neg, "Not": b.not_, "Reciprocal": b.reciprocal,
    "Round": b.round_even, "Sigmoid": b.sigmoid, "Sign": _any_sign, "Sin": b.sin, "Sinh": _sinh, "Sqrt": b.sqrt,
    "Tan": _tan, "Tanh": b.tanh,
}  # fmt: skip
"""Functions of one operand."""


@op(*UNARY)
def unary(n: OnnxNode) -> Value:
    return UNARY[n.op](n.value(0))


BINARY: dict[str, Binary] = {
    "Add": b.add, "And": b.and_, "BitwiseAnd": b.and_, "BitwiseOr": b.or_, "BitwiseXor": b.xor, "Div": b.div,
    "Equal": b.eq, "Greater": b.gt, "GreaterOrEqual": b.ge, "Less": b.lt, "LessOrEqual": b.le, "Mul": b.mul, "Or": b.or_,
    "Sub": b.sub, "Xor": b.xor,
}  # fmt: skip
"""Functions of two operands, which broadcast."""


@op(*BINARY)
def binary(n: OnnxNode) -> Value:
    return BINARY[n.op](*n.broadcast(n.value(0), n.value(1)))


def _joined(n: OnnxNode, join: Binary) -> Value:
    first, *rest = n.broadcast(*n.values())
    for other in rest:
        first = join(first, other)
    return first


JOINED: dict[str, Binary] = {"Max": b.max, "Mean": b.add, "Min": b.min, "Sum": b.add}


@op(*JOINED)
def joined(n: OnnxNode) -> Value:
    total = _joined(n, JOINED[n.op])
    return b.div(total, b.full_like(total, len(n.inputs))) if n.op == "Mean" else total


@op("Mod")
def mod(n: OnnxNode) -> Value:
    x, y = n.broadcast(n.value(0), n.value(1))
    return b.rem(x, y) if n.attr("fmod", 0) else e.modulo(x, y)


@op("Pow")
def pow_(n: OnnxNode) -> Value:
    x, y = n.value(0), n.value(1)
    exponent = n.scope.folds(n.inputs[1])
    if exponent is not None and exponent.is_static and exponent.data.size == 1 and y.type.rank <= x.type.rank:
        number = exponent.data.ravel()[0].item()
        if number in (2, 3) and (y.type.rank == 0 or x.type.rank):
            return e.power(x, y, int(number))
        if number == 0.5 and x.type.dtype.is_float:
            return b.sqrt(x)
    dtype = x.type.dtype
    if y.type.dtype != dtype:
        wide = f64 if dtype.is_integer and y.type.dtype.is_float else dtype
        x, y = b.cast(x, wide), b.cast(y, wide)
    x, y = n.broadcast(x, y)
    return b.cast(b.pow(x, y), dtype)


@op("BitShift")
def bit_shift(n: OnnxNode) -> Value:
    x, y = n.broadcast(n.value(0), n.value(1))
    direction = n.attr("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise Refused(f"direction is {direction!r}, expected LEFT or RIGHT")
    return b.shl(x, y) if direction == "LEFT" else b.shr(x, y)


@op("IsInf")
def is_inf(n: OnnxNode) -> Value:
    x = n.value(0)
    signs = [
        s for s, wanted in ((1, n.attr("detect_positive", 1)), (-1, n.attr("detect_negative", 1))) if wanted
    ]
    found = n.full(bool_, x.type.shape, False)
    for s in signs:
        found = b.or_(found, b.eq(x, b.full_like(x, s * math.inf)))
    return found


@op("Where")
def where(n: OnnxNode) -> Value:
    return b.select(*n.broadcast(n.value(0), n.value(1), n.value(2)))


def converted(x: Value, dtype: DType) -> Value:
    """As ONNX casts: to integers it truncates, to bool all but 0 is true."""
    return b.cast(x, dtype)


@op("Cast")
def cast(n: OnnxNode) -> Result:
    dtype = dtype_named(n.attr("to"))
    found = n.scope.folds(n.inputs[0])
    if found is not None and not found.is_static and dtype.kind != "bool":
        return Known(dtype, found.data)
    return converted(n.value(0), dtype)


@op("BitCast")
def bit_cast(n: OnnxNode) -> Value:
    return b.bitcast(n.value(0), dtype_named(n.attr("to")))


@op("CastLike")
def cast_like(n: OnnxNode) -> Value:
    return converted(n.value(0), n.type(1).dtype)


@op("Clip")
def clip(n: OnnxNode) -> Value:
    """max first, then min: where the bounds cross, the upper one holds."""
    x = n.value(0)
    low = n.optional(1) if n.opset >= 11 else _bound(n, x, "min")
    high = n.optional(2) if n.opset >= 11 else _bound(n, x, "max")
    for bound, join in ((low, b.max), (high, b.min)):
        if bound is not None:
            x = join(x, b.broadcast_in_dim(b.reshape(bound, ()), x.type.shape, ()))
    return x


def _bound(n: OnnxNode, x: Value, name: str) -> Value | None:
    given = n.attr(name)
    return None if given is None else b.constant(np.asarray(given, x.type.dtype.numpy))
