"""Elementwise ops as kernel expressions: one row an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.op import Op
from ....ir.ops.elementwise import Cast
from ....ir.ops.pointwise import Bitcast, Step
from ....ir.types import DType, bool_, f32, f64, i32, i64
from .. import kernel_ir as k
from ..kernel_expr import BinaryOp, CompareOp, Function, UnaryOp

__all__ = ["ELEMENTWISE", "elementwise"]

Lowering = Callable[[Op, Sequence[k.Expr]], k.Expr]


def elementwise(op: Op, arguments: Sequence[k.Expr]) -> k.Expr:
    """The op on kernel expressions; only for mnemonics in `ELEMENTWISE`."""
    return ELEMENTWISE[op.mnemonic](op, arguments)


def _unary(name: UnaryOp) -> Lowering:
    return lambda op, xs: k.Unary(name, xs[0])


def _binary(name: BinaryOp) -> Lowering:
    return lambda op, xs: k.Binary(name, xs[0], xs[1])


def _compare(name: CompareOp) -> Lowering:
    return lambda op, xs: k.Compare(name, xs[0], xs[1])


def _call(name: Function) -> Lowering:
    return lambda op, xs: k.call(name, *xs)


def _sign(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    x = xs[0]
    one, minus, nought = k.const(1, x.dtype), k.const(-1, x.dtype), k.zero(x.dtype)
    return k.select(x > nought, one, k.select(x < nought, minus, k.select(x.eq(nought), nought, x)))


def _reciprocal(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    return k.const(1, xs[0].dtype) / xs[0]


def _rsqrt(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    return k.const(1, xs[0].dtype) / k.Unary("sqrt", xs[0])


def _is_finite(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    return k.Unary("abs", xs[0]) < k.Const(float("inf"), xs[0].dtype)


def _power(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    """Integers by squaring; a negative exponent leaves 1, -1 or 0."""
    base, exponent = xs
    dtype = base.dtype
    if dtype.is_float:
        return k.call("pow", base, exponent)
    one, nought = k.const(1, dtype), k.zero(dtype)
    result: k.Expr = one
    power, rest = base, exponent
    for _ in range(dtype.bits):
        result = k.select((rest & one).ne(nought), result * power, result)
        power, rest = power * power, k.Binary("shr", rest, one)
    if dtype.kind == "uint":
        return result
    minus = k.const(-1, dtype)
    alternating = k.select((exponent & one).ne(nought), minus, one)
    below = k.select(base.eq(one), one, k.select(base.eq(minus), alternating, nought))
    return k.select(exponent < nought, below, result)


def _remainder(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    """x rem 0 = x; the half types are computed in f32."""
    x, y = xs
    dtype = x.dtype
    if dtype.is_float:
        wide = f32 if dtype.bits == 16 else dtype
        return k.Binary("rem", x.cast(wide), y.cast(wide)).cast(dtype)
    return k.select(y.eq(k.zero(dtype)), x, k.Binary("rem", x, y))


def _shift_right(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    """An amount that is no bit position leaves the sign."""
    x, y = xs
    dtype = x.dtype
    shifted = k.Binary("shr", x, y)
    if dtype.kind == "uint":
        return shifted
    fits = (y >= k.zero(dtype)) & (y < k.const(dtype.bits, dtype))
    return k.select(fits, shifted, k.select(x < k.zero(dtype), k.const(-1, dtype), k.zero(dtype)))


def _cast(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    assert isinstance(op, Cast)
    return xs[0].cast(op.dtype)


def _clamp(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    lo, x, hi = xs
    return k.minimum(k.maximum(x, lo), hi)


def _relu(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    nought = k.zero(xs[0].dtype)
    return k.select(xs[0] < nought, nought, xs[0])


def _step(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    assert isinstance(op, Step)
    x = xs[0]
    one, nought, middle = (k.const(n, x.dtype) for n in (1, 0, op.at0))
    return k.select(x > nought, one, k.select(x < nought, nought, k.select(x.eq(nought), middle, x)))


def _bitcast(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    assert isinstance(op, Bitcast)
    return k.Bits(xs[0], op.dtype)


def _fma(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    """The half types through f64 and f32, an inexact step rounded to odd, so that the last one rounds alone."""
    dtype = xs[0].dtype
    if dtype.bits > 16:
        return k.Fma(*xs)
    x, y, z = (a.cast(f64) for a in xs)
    product = x * y
    total = product + z
    back = total - product
    error = (product - (total - back)) + (z - back)
    exact = error.eq(k.zero(f64)) | error.ne(error)
    total = _to_odd(total, exact, (error > k.zero(f64)).eq(total > k.zero(f64)), f64)
    near = total.cast(f32)
    wide = near.cast(f64)
    beyond = k.Unary("abs", wide) > k.Unary("abs", total)
    exact = wide.eq(total) | total.ne(total)
    return _to_odd(near, exact, ~beyond, f32).cast(dtype)


def _to_odd(x: k.Expr, exact: k.Expr, away: k.Expr, dtype: DType) -> k.Expr:
    """Of a number between x and its neighbour away from or towards 0, the one of both whose last bit is 1."""
    number = i64 if dtype == f64 else i32
    raw = k.Bits(x, number)
    even = (raw & k.const(1, number)).eq(k.zero(number))
    moved = raw + k.select(away, k.const(1, number), k.const(-1, number))
    return k.Bits(k.select(exact, raw, k.select(even, moved, raw)), dtype)


def _not(op: Op, xs: Sequence[k.Expr]) -> k.Expr:
    return xs[0].eq(k.const(False, bool_)) if xs[0].dtype == bool_ else k.Unary("not", xs[0])


ELEMENTWISE: dict[str, Lowering] = {
    "neg": _unary("neg"),
    "abs": _unary("abs"),
    "sqrt": _unary("sqrt"),
    "floor": _unary("floor"),
    "ceil": _unary("ceil"),
    "round_even": _unary("round_even"),
    "not": _not,
    "sign": _sign,
    "reciprocal": _reciprocal,
    "rsqrt": _rsqrt,
    "exp": _call("exp"),
    "expm1": _call("expm1"),
    "log": _call("log"),
    "log1p": _call("log1p"),
    "sin": _call("sin"),
    "cos": _call("cos"),
    "tanh": _call("tanh"),
    "sigmoid": _call("sigmoid"),
    "erf": _call("erf"),
    "is_nan": lambda op, xs: xs[0].ne(xs[0]),
    "is_finite": _is_finite,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div"),
    "rem": _remainder,
    "min": _binary("min"),
    "max": _binary("max"),
    "and": _binary("and"),
    "or": _binary("or"),
    "xor": _binary("xor"),
    "shl": _binary("shl"),
    "shr": _shift_right,
    "pow": _power,
    "atan2": _call("atan2"),
    "fma": _fma,
    "step": _step,
    "bitcast": _bitcast,
    "eq": _compare("eq"),
    "ne": _compare("ne"),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "gt": _compare("gt"),
    "ge": _compare("ge"),
    "select": lambda op, xs: k.select(xs[0], xs[1], xs[2]),
    "clamp": _clamp,
    "cast": _cast,
    "relu": _relu,
}
"""What computes one element from the same element of each operand."""
