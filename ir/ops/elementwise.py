"""Elementwise ops: one table a family, one hook an op.

Floats follow IEEE 754 with round to nearest even. Integers wrap; integer division is total: x / 0 = 0, the
smallest integer divided by -1 wraps. min and max propagate NaN. Shifts by the width or more give 0 (or the sign,
for shr of a signed type).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..op import Accuracy, Op, register
from ..types import Array, DType, TensorType, bool_
from .common import need, need_kind, need_same_type, through_f32

__all__ = ["Binary", "Cast", "Clamp", "Compare", "Predicate", "Select", "Unary"]

NUMBERS = ("float", "int", "uint")


class Unary(Op):
    """y = f(x), element by element; the result has x's type."""

    kinds: ClassVar[tuple[str, ...]] = ("float",)

    @staticmethod
    def apply(x: Array) -> Any:
        """The function in numpy."""
        raise NotImplementedError

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, self.kinds)
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        return through_f32(self.apply)(x)


class Binary(Op):
    """z = f(x, y), element by element, on two operands of one type."""

    kinds: ClassVar[tuple[str, ...]] = NUMBERS

    @staticmethod
    def apply(x: Array, y: Array) -> Any:
        """The function in numpy."""
        raise NotImplementedError

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_kind(self, x, self.kinds)
        return need_same_type(self, x, y)

    def evaluate(self, x: Array, y: Array, **_: Any) -> Array:
        return through_f32(self.apply)(x, y)


class Compare(Op):
    """x ~ y, element by element, as bool; NaN compares unequal to all."""

    @staticmethod
    def apply(x: Array, y: Array) -> Any:
        """The comparison in numpy."""
        raise NotImplementedError

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        return need_same_type(self, x, y).with_dtype(bool_)

    def evaluate(self, x: Array, y: Array, **_: Any) -> Array:
        return np.asarray(self.apply(x, y), dtype=np.bool_)


class Predicate(Op):
    """A question asked of each float, answered as bool."""

    @staticmethod
    def apply(x: Array) -> Any:
        """The question in numpy."""
        raise NotImplementedError

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float",))
        return x.with_dtype(bool_)

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(self.apply(x), dtype=np.bool_)


def _declare(
    family: type[Op], mnemonic: str, doc: str, apply: Any, accuracy: Accuracy = Accuracy.EXACT, **extra: Any
) -> type[Op]:
    """One row of a family's table, as a frozen dataclass of its own."""
    body = {"__doc__": doc, "__module__": __name__, "mnemonic": mnemonic, "apply": staticmethod(apply)}
    name = mnemonic.title().replace("_", "")
    return register(dataclass(frozen=True)(type(name, (family,), {**body, "accuracy": accuracy, **extra})))


def _erf(x: Array) -> Array:
    wide = np.asarray(x, dtype=np.float64)
    flat = [math.erf(v) for v in wide.ravel().tolist()]
    return np.asarray(flat, dtype=np.float64).reshape(wide.shape).astype(x.dtype)


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _divide(x: Array, y: Array) -> Any:
    if x.dtype.kind == "f":
        return x / y
    special = (y == 0) | (y == -1) if x.dtype.kind == "i" else y == 0
    safe = np.where(special, 1, y).astype(y.dtype)
    floor = x // safe
    truncated = floor + ((floor * safe != x) & ((x < 0) != (safe < 0))).astype(x.dtype)
    return np.where(y == 0, 0, np.where(special, np.negative(x), truncated)).astype(x.dtype)


def _remainder(x: Array, y: Array) -> Any:
    if x.dtype.kind == "f":
        return np.fmod(x, y)
    return x - _divide(x, y) * y


def _power(x: Array, y: Array) -> Any:
    if x.dtype.kind == "f":
        return np.power(x, y)
    result, base, exponent = np.ones_like(x), x.copy(), np.maximum(y, 0)
    for _ in range(64):
        result = np.where(exponent & 1, result * base, result)
        base, exponent = base * base, exponent >> 1
    return np.where(y < 0, np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0)), result).astype(x.dtype)


def _shift_left(x: Array, y: Array) -> Any:
    bits = x.dtype.itemsize * 8
    fits = (y >= 0) & (y < bits)
    return np.where(fits, np.left_shift(x, np.where(fits, y, 0)), 0).astype(x.dtype)


def _shift_right(x: Array, y: Array) -> Any:
    bits = x.dtype.itemsize * 8
    fits = (y >= 0) & (y < bits)
    beyond = np.where(x < 0, -1, 0) if x.dtype.kind == "i" else np.zeros_like(x)
    return np.where(fits, np.right_shift(x, np.where(fits, y, 0)), beyond).astype(x.dtype)


def _rsqrt(x: Array) -> Any:
    return 1 / np.sqrt(x)


def _reciprocal(x: Array) -> Any:
    return 1 / x


ROUNDED, APPROXIMATE = Accuracy.ROUNDED, Accuracy.APPROXIMATE
SIGNED: dict[str, Any] = {"kinds": ("float", "int")}
BITS: dict[str, Any] = {"kinds": ("int", "uint", "bool")}
INTEGERS: dict[str, Any] = {"kinds": ("int", "uint")}

Neg = _declare(Unary, "neg", "y = -x.", np.negative, **SIGNED)
Abs = _declare(Unary, "abs", "y = |x|; the derivative at 0 is 0.", np.abs, **SIGNED)
Sign = _declare(Unary, "sign", "y = -1, 0 or 1 by the sign of x; NaN stays NaN.", np.sign, **SIGNED)
Floor = _declare(Unary, "floor", "y = the largest whole number <= x.", np.floor)
Ceil = _declare(Unary, "ceil", "y = the smallest whole number >= x.", np.ceil)
RoundEven = _declare(
    Unary, "round_even", "y = x rounded to the nearest whole number, halves to even.", np.rint
)
Sqrt = _declare(Unary, "sqrt", "y = square root of x; NaN below 0.", np.sqrt, ROUNDED)
Rsqrt = _declare(Unary, "rsqrt", "y = 1 / sqrt(x).", _rsqrt, APPROXIMATE)
Reciprocal = _declare(Unary, "reciprocal", "y = 1 / x.", _reciprocal, ROUNDED)
Exp = _declare(Unary, "exp", "y = e^x.", np.exp, APPROXIMATE)
Expm1 = _declare(Unary, "expm1", "y = e^x - 1, exact near 0.", np.expm1, APPROXIMATE)
Log = _declare(Unary, "log", "y = natural logarithm of x.", np.log, APPROXIMATE)
Log1p = _declare(Unary, "log1p", "y = log(1 + x), exact near 0.", np.log1p, APPROXIMATE)
Sin = _declare(Unary, "sin", "y = sin x, x in radians.", np.sin, APPROXIMATE)
Cos = _declare(Unary, "cos", "y = cos x, x in radians.", np.cos, APPROXIMATE)
Tanh = _declare(Unary, "tanh", "y = (e^x - e^-x) / (e^x + e^-x).", np.tanh, APPROXIMATE)
Sigmoid = _declare(Unary, "sigmoid", "y = 1 / (1 + e^-x).", _sigmoid, APPROXIMATE)
Erf = _declare(Unary, "erf", "y = 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x.", _erf, APPROXIMATE)
Not = _declare(Unary, "not", "y = the complement of x: each bit, or the truth value.", np.invert, **BITS)

IsNan = _declare(Predicate, "is_nan", "Whether x is NaN.", np.isnan)
IsFinite = _declare(Predicate, "is_finite", "Whether x is neither NaN nor infinite.", np.isfinite)

Add = _declare(Binary, "add", "z = x + y.", np.add, ROUNDED)
Sub = _declare(Binary, "sub", "z = x - y.", np.subtract, ROUNDED)
Mul = _declare(Binary, "mul", "z = x * y.", np.multiply, ROUNDED)
Div = _declare(Binary, "div", "z = x / y; integers truncate towards 0, x / 0 = 0.", _divide, ROUNDED)
Rem = _declare(Binary, "rem", "z = x - trunc(x / y) * y, of x's sign; integers: x rem 0 = x.", _remainder)
Pow = _declare(Binary, "pow", "z = x^y; integers: 0 for negative y unless x is 1 or -1.", _power, APPROXIMATE)
Atan2 = _declare(
    Binary, "atan2", "z = the angle of the point (y, x), in -pi..pi; y comes first.", np.arctan2, APPROXIMATE,
    kinds=("float",),
)  # fmt: skip
Min = _declare(Binary, "min", "z = the smaller; NaN if either is NaN.", np.minimum)
Max = _declare(Binary, "max", "z = the larger; NaN if either is NaN.", np.maximum)
And = _declare(Binary, "and", "z = x and y, bit by bit or as truth values.", np.bitwise_and, **BITS)
Or = _declare(Binary, "or", "z = x or y, bit by bit or as truth values.", np.bitwise_or, **BITS)
Xor = _declare(Binary, "xor", "z = x exclusive-or y, bit by bit or as truth values.", np.bitwise_xor, **BITS)
Shl = _declare(
    Binary, "shl", "z = x shifted left by y bits; 0 where y is no bit position.", _shift_left, **INTEGERS
)
Shr = _declare(Binary, "shr", "z = x shifted right by y bits, with x's sign.", _shift_right, **INTEGERS)

Eq = _declare(Compare, "eq", "Whether x = y.", np.equal)
Ne = _declare(Compare, "ne", "Whether x differs from y; true for NaN.", np.not_equal)
Lt = _declare(Compare, "lt", "Whether x < y.", np.less)
Le = _declare(Compare, "le", "Whether x <= y.", np.less_equal)
Gt = _declare(Compare, "gt", "Whether x > y.", np.greater)
Ge = _declare(Compare, "ge", "Whether x >= y.", np.greater_equal)


@register
@dataclass(frozen=True)
class Select(Op):
    """y = a where the condition holds, else b; the branch not taken leaves no trace, not even NaN.

    Shapes:  condition bool[S], a T[S], b T[S] -> T[S]
    Source:  ONNX Where-16, StableHLO select
    """

    mnemonic = "select"

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        need(
            self,
            condition.dtype == bool_,
            f"the condition is {condition.dtype}, expected bool",
            condition,
            a,
            b,
        )
        need(self, condition.shape == a.shape, "condition and branches differ in shape", condition, a, b)
        return need_same_type(self, a, b)

    def evaluate(self, condition: Array, a: Array, b: Array, **_: Any) -> Array:
        return np.where(condition, a, b)

    def fold(self, condition: Any, a: Any, b: Any) -> Any:
        return a if a is b else None


@register
@dataclass(frozen=True)
class Clamp(Op):
    """y = min(max(x, lo), hi), NaN passes.

    Shapes:  lo T[S], x T[S], hi T[S] -> T[S]
    Source:  StableHLO clamp
    """

    mnemonic = "clamp"

    def infer(self, lo: TensorType, x: TensorType, hi: TensorType) -> TensorType:
        need_kind(self, x, NUMBERS)
        return need_same_type(self, lo, x, hi)

    def evaluate(self, lo: Array, x: Array, hi: Array, **_: Any) -> Array:
        return np.minimum(np.maximum(x, lo), hi)


@register
@dataclass(frozen=True)
class Cast(Op):
    """Convert to another element type.

    Shapes:    S[d...] -> dtype[d...]
    Numerics:  to a float: rounded to nearest even; float to integer: truncated and saturated, NaN gives 0;
               integer to integer: wraps; to bool: x != 0
    Source:    ONNX Cast-25, with the undefined cases defined
    """

    mnemonic = "cast"
    accuracy = Accuracy.ROUNDED
    dtype: DType

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def evaluate(self, x: Array, **_: Any) -> Array:
        return convert(x, self.dtype)

    def fold(self, x: Any) -> Any:
        return x if x.type.dtype == self.dtype else None


def convert(x: Array, dtype: DType) -> Array:
    """`Cast` in numpy."""
    with np.errstate(all="ignore"):
        if dtype == bool_:
            return np.asarray(x != 0)
        if not (dtype.is_integer and x.dtype.kind not in "iub"):
            return x.astype(dtype.numpy)
        wide = np.trunc(x.astype(np.float64))
        info = np.iinfo(dtype.numpy)
        low, high = wide <= float(info.min), wide >= float(info.max)
        inside = np.where(low | high | np.isnan(wide), 0, wide).astype(dtype.numpy)
        return np.where(low, info.min, np.where(high, info.max, inside)).astype(dtype.numpy)
