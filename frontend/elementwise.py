"""Elementwise ops on values with numpy's broadcasting written out, and Python numbers as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim, dim_text, from_atom
from ..ir.errors import TypeInferenceError
from ..ir.graph import Value
from ..ir.ops.nn import dim_value
from ..ir.types import DType, TensorType, i64
from .tracing import user_lines

__all__ = [
    "binary",
    "broadcast",
    "broadcast_to",
    "dim_scalar",
    "divide",
    "floor_divide",
    "heaviside",
    "modulo",
    "mismatch",
    "power",
    "scalar",
    "select",
    "truncate",
]

Binary = Callable[[Value, Value], Value]


def mismatch(op: str, message: str, *operands: Value, hint: str | None = None) -> TypeInferenceError:
    """A type error of an op as the user called it, with operand types and the user's line."""
    details = [f"operand {k}: {v.type}" for k, v in enumerate(operands)]
    return TypeInferenceError(f"{op}: {message}", details=details, where=user_lines(), hint=hint)


def scalar(number: bool | int | float, dtype: DType) -> Value:
    """A Python number as a scalar of an element type.

    Raises:
        TypeInferenceError: the type cannot hold that number
    """
    if isinstance(number, bool):
        fits = dtype.kind == "bool"
    elif dtype.is_integer and isinstance(number, int):
        info = np.iinfo(dtype.numpy)
        fits = info.min <= number <= info.max
    else:
        fits = dtype.is_float
    if not fits:
        raise TypeInferenceError(
            f"the number {number} is no {dtype}, the element type of the tensor beside it",
            where=user_lines(),
            hint="convert the tensor with .astype(...) first",
        )
    return b.full(TensorType(dtype), number)


def dim_scalar(dim: Dim, dtype: DType) -> Value:
    """A dim as a scalar: a constant, or computed from the sizes of its symbols when the program runs."""
    if isinstance(dim, int):
        return b.full(TensorType(dtype), dim)
    counter = b.full(TensorType(i64), 1)
    total: Value | None = None
    for monomial, coefficient in dim.terms:
        factors = [dim_value(from_atom(atom), counter) for atom, power_ in monomial for _ in range(power_)]
        if coefficient != 1 or not factors:
            factors.append(b.full(TensorType(i64), coefficient))
        term = factors[0]
        for factor in factors[1:]:
            term = b.mul(term, factor)
        total = term if total is None else b.add(total, term)
    assert total is not None, "an expression has a term"
    return b.cast(total, dtype)


def broadcast(op: str, *values: Value) -> list[Value]:
    """All values in the shape that numpy's broadcasting gives.

    Raises:
        TypeInferenceError: two dims differ and neither is 1
    """
    rank = max(v.type.rank for v in values)
    shape: list[Dim] = []
    for axis in range(-rank, 0):
        sizes = [v.type.shape[axis] for v in values if v.type.rank >= -axis]
        large = [d for d in dict.fromkeys(sizes) if d != 1]
        if len(large) > 1:
            found = " and ".join(dim_text(d) for d in large)
            raise mismatch(op, f"shapes do not broadcast: axis {axis} is {found}", *values)
        shape.append(large[0] if large else 1)
    return [broadcast_to(v, shape) for v in values]


def broadcast_to(x: Value, shape: Sequence[Dim]) -> Value:
    """x repeated to a shape, its axes being the last ones."""
    first = len(shape) - x.type.rank
    if first < 0:
        raise mismatch("broadcast_to", f"rank {x.type.rank} does not broadcast to rank {len(shape)}", x)
    return b.broadcast_in_dim(x, tuple(shape), tuple(range(first, len(shape))))


def _word(op: Binary) -> str:
    return op.__name__.strip("_")


def binary(op: Binary, x: Value, y: Value) -> Value:
    """A builder of `ir.build` on two operands of one element type, with broadcasting."""
    if x.type.dtype != y.type.dtype:
        raise mismatch(
            _word(op),
            f"element types differ: {x.type.dtype} and {y.type.dtype}",
            x,
            y,
            hint=f"cast one with .astype('{x.type.dtype}')",
        )
    left, right = broadcast(_word(op), x, y)
    return op(left, right)


def select(condition: Value, x: Value, y: Value) -> Value:
    """x where the condition holds, else y, with broadcasting."""
    if x.type.dtype != y.type.dtype:
        raise mismatch(
            "where",
            f"element types differ: {x.type.dtype} and {y.type.dtype}",
            condition,
            x,
            y,
            hint=f"cast one with .astype('{x.type.dtype}')",
        )
    return b.select(*broadcast("where", condition, x, y))


def divide(x: Value, y: Value) -> Value:
    """x / y of floats; numpy would turn integers into floats, which nervure does not do unasked."""
    if not x.type.dtype.is_float:
        raise mismatch("div", f"x is {x.type.dtype}, expected float", x, y, hint="use // or .astype('f32')")
    return binary(b.div, x, y)


def floor_divide(x: Value, y: Value) -> Value:
    """x // y, rounded towards minus infinity; integers: x // 0 = 0."""
    if x.type.dtype.is_float:
        return b.floor(binary(b.div, x, y))
    quotient = binary(b.div, x, y)
    if x.type.dtype.kind == "uint":
        return quotient
    off = _signs_differ(x, y)
    return b.select(off, b.sub(quotient, b.full_like(quotient, 1)), quotient)


def modulo(x: Value, y: Value) -> Value:
    """x - y * (x // y), of y's sign; integers: x % 0 = 0."""
    rest = binary(b.rem, x, y)
    divisor = broadcast_to(y, rest.type.shape)
    if x.type.dtype.kind != "uint":
        rest = b.select(_signs_differ(x, y), b.add(rest, divisor), rest)
    if x.type.dtype.is_integer:
        zero = b.full_like(rest, 0)
        rest = b.select(b.eq(divisor, zero), zero, rest)
    return rest


def _signs_differ(x: Value, y: Value) -> Value:
    """Whether the remainder of x and y is neither 0 nor of y's sign, and y is not 0."""
    rest = binary(b.rem, x, y)
    divisor = broadcast_to(y, rest.type.shape)
    zero = b.full_like(rest, 0)
    signs = b.ne(b.lt(rest, zero), b.lt(divisor, zero))
    return b.and_(signs, b.and_(b.ne(rest, zero), b.ne(divisor, zero)))


def power(x: Value, y: Value, exponent: object = None) -> Value:
    """x to the power y; the exponents 2 and 3, if known, become products."""
    if isinstance(exponent, int) and not isinstance(exponent, bool) and exponent in (2, 3):
        square = b.mul(x, x)
        return square if exponent == 2 else b.mul(square, x)
    return binary(b.pow, x, y)


def heaviside(x: Value, at0: Value) -> Value:
    """0 below 0, 1 above, and what the second operand says at 0."""
    left, middle = broadcast("heaviside", x, at0)
    return b.select(b.eq(left, b.full_like(left, 0)), middle, b.step(left))


def truncate(x: Value) -> Value:
    """x rounded towards 0."""
    return b.select(b.lt(x, b.full_like(x, 0)), b.ceil(x), b.floor(x))
