"""Elementwise ops in ONNX. f16 is computed in f32, as everywhere; integers that onnxruntime lacks in wider ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...ir.graph import Node
from ...ir.ops.elementwise import Cast
from ...ir.types import DType, bool_, f32, i32, i64, u32, u64
from .writer import Writer, result

__all__ = ["EMITTERS"]

Emitter = Callable[[Writer, Node], None]
Compute = Callable[[Writer, list[str], DType], str]
NARROW = {"f16": f32, "bf16": f32}
INTEGER_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "u8": 8, "u32": 32, "u64": 64}


def through(compute: Compute, wide: dict[str, DType] | None = None) -> Emitter:
    """The computation in a wider element type where the table names one, and back."""
    table = NARROW if wide is None else {**NARROW, **wide}

    def emit(w: Writer, node: Node) -> None:
        dtype = node.operands[0].type.dtype
        inner = table.get(dtype.name, dtype)
        names = w.widened(w.operands(node.operands), dtype, inner)
        found = compute(w, names, inner)
        target = node.results[0].type.dtype
        result(w, node, w.cast(found, inner, dtype) if target == dtype else found)

    return emit


def plain(op: str, wide: dict[str, DType] | None = None) -> Emitter:
    """One ONNX node."""
    return through(lambda w, xs, d: w.node(op, xs), wide)


def sign(w: Writer, xs: list[str], d: DType) -> str:
    found = w.node("Sign", xs)
    return w.where(w.node("IsNaN", xs), xs[0], found, d) if d.is_float else found


def rsqrt(w: Writer, xs: list[str], d: DType) -> str:
    return w.node("Reciprocal", [w.node("Sqrt", xs)])


def expm1(w: Writer, xs: list[str], d: DType) -> str:
    """tanh(x / 2) * (e^x + 1), exact near 0; infinite where e^x is."""
    half = w.node("Mul", [xs[0], w.scalar(0.5, d)])
    return w.node("Mul", [w.node("Tanh", [half]), w.node("Add", [w.node("Exp", xs), w.scalar(1, d)])])


def log1p(w: Writer, xs: list[str], d: DType) -> str:
    """With u = 1 + x: log(u) * x / (u - 1), and x itself where u is 1 or infinite (W. Kahan)."""
    one = w.scalar(1, d)
    u = w.node("Add", [xs[0], one])
    unchanged = w.node("Or", [w.node("Equal", [u, one]), w.node("Equal", [u, w.scalar(float("inf"), d)])])
    safe = w.where(unchanged, w.scalar(2, d), u, d)
    ratio = w.node("Div", [xs[0], w.node("Sub", [safe, one])])
    return w.where(unchanged, xs[0], w.node("Mul", [w.node("Log", [safe]), ratio]), d)


def is_finite(w: Writer, xs: list[str], d: DType) -> str:
    return w.node("Less", [w.node("Abs", xs), w.scalar(float("inf"), d)])


def divide(w: Writer, xs: list[str], d: DType) -> str:
    """Integers: x / 0 = 0 and MIN / -1 wraps, either of which would end the process."""
    x, y = xs
    if d.is_float:
        return w.node("Div", xs)
    zero, one = w.scalar(0, d), w.scalar(1, d)
    is_zero = w.node("Equal", [y, zero])
    if d.kind == "uint":
        mask = w.cast(is_zero, bool_, d)
        quotient = w.node("Div", [x, w.node("Add", [y, mask])])
        return w.node("Mul", [quotient, w.node("Sub", [one, mask])])
    is_minus = w.node("Equal", [y, w.scalar(-1, d)])
    safe = w.where(w.node("Or", [is_zero, is_minus]), one, y, d)
    quotient = w.where(is_minus, w.node("Sub", [zero, x]), w.node("Div", [x, safe]), d)
    return w.where(is_zero, zero, quotient, d)


def remainder(w: Writer, xs: list[str], d: DType) -> str:
    if d.is_float:
        return w.node("Mod", xs, fmod=1)
    return w.node("Sub", [xs[0], w.node("Mul", [divide(w, xs, d), xs[1]])])


def power(w: Writer, xs: list[str], d: DType) -> str:
    """Integers by squaring, bit by bit of the exponent."""
    if d.is_float:
        return w.node("Pow", xs)
    w.need(18)
    base, exponent = xs
    one, zero = w.scalar(1, d), w.scalar(0, d)
    value, total = base, one
    for bit in range(INTEGER_BITS[d.name] - (d.kind == "int")):
        masked = w.node("BitwiseAnd", [exponent, w.scalar(1 << bit, d)])
        factor = w.where(w.node("Equal", [masked, zero]), one, value, d)
        total = w.node("Mul", [total, factor])
        value = w.node("Mul", [value, value])
    if d.kind == "uint":
        return total
    odd = w.node("Equal", [w.node("BitwiseAnd", [exponent, one]), one])
    alternating = w.where(odd, w.scalar(-1, d), one, d)
    is_minus = w.node("Equal", [base, w.scalar(-1, d)])
    below = w.where(w.node("Equal", [base, one]), one, w.where(is_minus, alternating, zero, d), d)
    return w.where(w.node("Less", [exponent, zero]), below, total, d)


def extreme(op: str) -> Compute:
    """Min and Max; NaN of either operand is written out, whatever onnxruntime's own does."""

    def compute(w: Writer, xs: list[str], d: DType) -> str:
        found = w.node(op, xs)
        if not d.is_float:
            return found
        return w.where(w.node("IsNaN", [w.node("Add", xs)]), _nan_or(w, xs, found, d), found, d)

    return compute


def _nan_or(w: Writer, xs: list[str], found: str, d: DType) -> str:
    """x + y where that is NaN because one of them is; inf - inf is no NaN operand."""
    either = w.node("Or", [w.node("IsNaN", [xs[0]]), w.node("IsNaN", [xs[1]])])
    return w.where(either, w.node("Add", xs), found, d)


def not_equal(w: Writer, xs: list[str], d: DType) -> str:
    return w.node("Not", [w.node("Equal", xs)])


def logical(boolean: str, bits: str) -> Compute:
    def compute(w: Writer, xs: list[str], d: DType) -> str:
        if d == bool_:
            return w.node(boolean, xs)
        w.need(18)
        return w.node(bits, xs)

    return compute


def shift(direction: str) -> Compute:
    """ONNX shifts unsigned integers only; an amount that is no bit position gives 0, or the sign."""

    def compute(w: Writer, xs: list[str], d: DType) -> str:
        w.need(18)
        x, y = xs
        bits, zero = INTEGER_BITS[d.name], w.scalar(0, d)
        fits = w.node("Less", [y, w.scalar(bits, d)])
        if d.kind == "int":
            fits = w.node("And", [fits, w.node("GreaterOrEqual", [y, zero])])
        amount = w.where(fits, y, zero, d)
        unsigned = d if d.kind == "uint" else u64 if bits == 64 else u32
        if d.kind == "int" and direction == "RIGHT":
            negative = w.node("Less", [x, zero])
            flipped = w.where(negative, w.node("BitwiseNot", [x]), x, d)
            moved = _shifted(w, flipped, amount, d, unsigned, direction)
            kept = w.where(fits, moved, zero, d)
            return w.where(negative, w.node("BitwiseNot", [kept]), kept, d)
        return w.where(fits, _shifted(w, x, amount, d, unsigned, direction), zero, d)

    return compute


def _shifted(w: Writer, x: str, amount: str, d: DType, unsigned: DType, direction: str) -> str:
    names = w.widened([x, amount], d, unsigned)
    return w.cast(w.node("BitShift", names, direction=direction), unsigned, d)


def select(w: Writer, node: Node) -> None:
    names = w.operands(node.operands)
    result(w, node, w.where(names[0], names[1], names[2], node.results[0].type.dtype))


def clamp(w: Writer, xs: list[str], d: DType) -> str:
    lo, x, hi = xs
    return extreme("Min")(w, [extreme("Max")(w, [x, lo], d), hi], d)


def cast(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Cast)
    source, target = node.operands[0].type.dtype, node.op.dtype
    result(w, node, convert(w, w.tensor(node.operands[0]), source, target))


def convert(w: Writer, x: str, source: DType, target: DType) -> str:
    """Float to integer truncates, saturates and takes NaN to 0; what ONNX leaves open is written out."""
    if not (source.is_float and target.is_integer):
        return w.cast(x, source, target)
    wide = NARROW.get(source.name, source)
    x = w.cast(x, source, wide)
    info = np.iinfo(target.numpy)
    low, high = w.scalar(float(info.min), wide), w.scalar(float(info.max), wide)
    below, above = w.node("LessOrEqual", [x, low]), w.node("GreaterOrEqual", [x, high])
    outside = w.node("Or", [w.node("Or", [below, above]), w.node("IsNaN", [x])])
    inner = w.cast(w.where(outside, w.scalar(0, wide), x, wide), wide, target)
    least, most = w.scalar(info.min, target), w.scalar(info.max, target)
    return w.where(below, least, w.where(above, most, inner, target), target)


def relu(w: Writer, xs: list[str], d: DType) -> str:
    return w.node("Relu", xs) if d.is_float else w.node("Max", [xs[0], w.scalar(0, d)])


def compare(op: str) -> Emitter:
    return through(lambda w, xs, d: w.node(op, xs), {"bool": i32})


SMALL = {"i8": i32, "i16": i32, "u8": i32}
EMITTERS: dict[str, Emitter] = {
    "neg": plain("Neg"),
    "abs": plain("Abs"),
    "sign": through(sign),
    "floor": plain("Floor"),
    "ceil": plain("Ceil"),
    "round_even": plain("Round"),
    "sqrt": plain("Sqrt"),
    "rsqrt": through(rsqrt),
    "reciprocal": plain("Reciprocal"),
    "exp": plain("Exp"),
    "expm1": through(expm1),
    "log": plain("Log"),
    "log1p": through(log1p),
    "sin": plain("Sin"),
    "cos": plain("Cos"),
    "tanh": plain("Tanh"),
    "sigmoid": plain("Sigmoid"),
    "erf": plain("Erf"),
    "not": through(logical("Not", "BitwiseNot")),
    "is_nan": plain("IsNaN"),
    "is_finite": through(is_finite),
    "add": plain("Add"),
    "sub": plain("Sub"),
    "mul": plain("Mul"),
    "div": through(divide, SMALL),
    "rem": through(remainder, SMALL),
    "pow": through(power, {**SMALL, "u32": i64}),
    "min": through(extreme("Min"), {"i16": i32}),
    "max": through(extreme("Max"), {"i16": i32}),
    "and": through(logical("And", "BitwiseAnd")),
    "or": through(logical("Or", "BitwiseOr")),
    "xor": through(logical("Xor", "BitwiseXor")),
    "shl": through(shift("LEFT")),
    "shr": through(shift("RIGHT")),
    "eq": plain("Equal"),
    "ne": through(not_equal),
    "lt": compare("Less"),
    "le": compare("LessOrEqual"),
    "gt": compare("Greater"),
    "ge": compare("GreaterOrEqual"),
    "select": select,
    "clamp": through(clamp, {"i16": i32}),
    "cast": cast,
    "relu": through(relu, {"i16": i32}),
}
