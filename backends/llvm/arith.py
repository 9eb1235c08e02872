"""Arithmetic on registers for each dtype: total integers, NaN-propagating min and max, casts, half floats by integer code."""

from __future__ import annotations

import operator

from ...ir.types import DType, f32, f64, i32, i64
from .builder import Builder, V, llvm_type
from .kernel_expr import BinaryOp, CompareOp, UnaryOp

__all__ = ["binary", "bits", "cast", "compare", "fma", "fma_through_f64", "unary"]

_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
_INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}


def is_half(dtype: DType) -> bool:
    return dtype.is_float and dtype.bits == 16


def unary(b: Builder, op: UnaryOp, x: V, dtype: DType) -> V:
    """op(x)."""
    if is_half(dtype):
        return cast(b, unary(b, op, cast(b, x, dtype, f32), f32), f32, dtype)
    if dtype.is_float:
        if op == "neg":
            return b.simple("fneg", x)
        name = {
            "abs": "fabs",
            "sqrt": "sqrt",
            "floor": "floor",
            "ceil": "ceil",
            "round_even": "roundeven",
        }.get(op)
        assert name is not None, f"{op} of {dtype}"
        return b.intrinsic(name, x)
    if op == "not":
        return b.simple("xor", x, b.number(-1 if x.ty != "i1" else 1, x.ty))
    if op == "neg":
        return b.mul(x, b.number(-1, "i64")) if dtype.name == "i64" else b.simple("sub", b.number(0, x.ty), x)
    if op == "abs":
        return b.intrinsic("abs", x, extra="i1 false") if dtype.kind == "int" else x
    assert op in ("floor", "ceil", "round_even"), f"{op} of {dtype}"
    return x


def fma(b: Builder, x: V, y: V, z: V, dtype: DType) -> V:
    """x * y + z, rounded once."""
    if is_half(dtype):
        wide = (cast(b, v, dtype, f32) for v in (x, y, z))
        return cast(b, b.intrinsic("fma", *wide), f32, dtype)
    return b.intrinsic("fma", x, y, z)


def fma_through_f64(b: Builder, x: V, y: V, z: V) -> V:
    """The same in f32 without the instruction: the product is exact in f64, an inexact sum is rounded to odd there."""
    x, y, z = (cast(b, v, f32, f64) for v in (x, y, z))
    product = b.simple("fmul", x, y)
    total = b.simple("fadd", product, z)
    back = b.simple("fsub", total, product)
    lost = b.simple("fsub", product, b.simple("fsub", total, back))
    error = b.simple("fadd", lost, b.simple("fsub", z, back))
    none, raw = b.number(0.0, "double"), bits(b, total, f64, i64)
    signs = (b.simple("fcmp ogt", v, none, ty="i1") for v in (error, total))
    step = b.select(b.simple("xor", *signs), b.number(-1, "i64"), b.number(1, "i64"))
    even = b.simple("icmp eq", _and(b, raw, 1), b.number(0, "i64"), ty="i1")
    inexact = b.simple("and", even, b.simple("fcmp one", error, none, ty="i1"))
    odd = b.select(inexact, b.simple("add", raw, step), raw)
    return cast(b, bits(b, odd, i64, f64), f64, f32)


def binary(b: Builder, op: BinaryOp, x: V, y: V, dtype: DType) -> V:
    """x op y."""
    if is_half(dtype):
        wide = binary(b, op, cast(b, x, dtype, f32), cast(b, y, dtype, f32), f32)
        return cast(b, wide, f32, dtype)
    if dtype.is_float:
        if op in _FLOAT:
            return b.simple(_FLOAT[op], x, y)
        assert op in ("min", "max"), f"{op} of {dtype}"
        (x, y), _ = b.join(x, y)
        ordered = b.simple("fcmp olt" if op == "min" else "fcmp ogt", x, y, ty="i1")
        return b.select(b.simple("fcmp uno", x, x, ty="i1"), x, b.select(ordered, x, y))
    if dtype.name == "i64" and op in ("add", "sub", "mul"):
        return {"add": b.add, "sub": b.sub, "mul": b.mul}[op](x, y)
    if dtype.kind == "bool":
        op = {"add": "or", "mul": "and", "max": "or", "min": "and"}.get(op, op)  # pyright: ignore[reportAssignmentType] -- a subset
    if op in _INTEGER:
        return b.simple(_INTEGER[op], x, y)
    signed = dtype.kind == "int"
    if op in ("min", "max"):
        return b.intrinsic(f"{'s' if signed else 'u'}{op}", x, y)
    if op in ("shl", "shr"):
        return _shift(b, "shl" if op == "shl" else "ashr" if signed else "lshr", x, y, dtype)
    return _divide(b, op, x, y, dtype)


def _shift(b: Builder, op: str, x: V, y: V, dtype: DType) -> V:
    if y.number is not None:
        return b.simple(op, x, y) if 0 <= y.number < dtype.bits else b.number(0, x.ty)
    inside = b.simple("icmp ult", y, b.number(dtype.bits, y.ty), ty="i1")
    return b.select(inside, b.simple(op, x, b.select(inside, y, b.number(0, y.ty))), b.number(0, x.ty))


def _divide(b: Builder, op: str, x: V, y: V, dtype: DType) -> V:
    """Total division: x/0 = x%0 = 0, MIN/-1 = MIN, MIN%-1 = 0; floordiv and mod round towards minus infinity."""
    if x.fixed is not None and y.fixed is not None and op in ("floordiv", "mod"):
        n, d = int(x.fixed), int(y.fixed)
        return b.number(0 if d == 0 else n // d if op == "floordiv" else n % d, x.ty)
    signed = dtype.kind == "int"
    quotient, remainder = ("sdiv", "srem") if signed else ("udiv", "urem")
    none, one = b.number(0, x.ty), b.number(1, x.ty)
    if y.number is not None:  # also by a literal: then no guard is needed
        d = int(y.number)
        if d == 0:
            return none
        if d == 1:
            return x if op in ("div", "floordiv") else none
        if signed and d == -1:
            return binary(b, "sub", none, x, dtype) if op in ("div", "floordiv") else none
        safe, is_zero, is_minus = y, None, None
    else:
        is_zero = b.simple("icmp eq", y, none, ty="i1")
        is_minus = b.simple("icmp eq", y, b.number(-1, y.ty), ty="i1") if signed else None
        bad = is_zero if is_minus is None else b.simple("or", is_zero, is_minus)
        safe = b.select(bad, one, y)
    whole = op in ("div", "floordiv")
    if op in ("div", "rem") or not signed:
        result = b.simple(quotient if whole else remainder, x, safe)
    else:
        rest = b.simple("srem", x, safe)
        differs = b.simple("icmp slt", b.simple("xor", rest, safe), none, ty="i1")
        below = b.simple("and", differs, b.simple("icmp ne", rest, none, ty="i1"))
        if whole:
            result = b.simple("sub", b.simple("sdiv", x, safe), b.select(below, one, none))
        else:
            result = b.simple("add", rest, b.select(below, safe, none))
    if is_minus is not None:
        result = b.select(is_minus, b.simple("sub", none, x) if whole else none, result)
    return result if is_zero is None else b.select(is_zero, none, result)


def compare(b: Builder, op: CompareOp, x: V, y: V, dtype: DType) -> V:
    """x op y, a bool."""
    if is_half(dtype):
        return compare(b, op, cast(b, x, dtype, f32), cast(b, y, dtype, f32), f32)
    if dtype.is_float:
        return b.simple(f"fcmp {'une' if op == 'ne' else 'o' + op}", x, y, ty="i1")
    if dtype.name == "i64" and (x.stride is not None or y.stride is not None):
        narrow = _compare_lanes(b, op, x, y)
        if narrow is not None:
            return narrow
    if dtype.name == "i64" and x.fixed is not None and y.fixed is not None:
        return b.number(getattr(operator, op)(x.fixed, y.fixed), "i1")
    if op in ("eq", "ne"):
        return b.simple(f"icmp {op}", x, y, ty="i1")
    return b.simple(f"icmp {'s' if dtype.kind == 'int' else 'u'}{op}", x, y, ty="i1")


def _compare_lanes(b: Builder, op: CompareOp, x: V, y: V) -> V | None:
    """x + l * s against y + l * t, as l * (s - t) against y - x in i32: narrower masks, and the same in every lane."""
    if any(v.lanes > 1 and v.stride is None for v in (x, y)):
        return None
    lanes, stride = max(x.lanes, y.lanes), (x.stride or 0) - (y.stride or 0)
    limit = 1 << 30
    if abs(stride) * lanes >= limit:
        return None
    bases = [V(v.text, v.ty, 1, v.level, v.number) for v in (x, y)]
    if all(v.number is not None for v in bases) or bases[0].number == 0:
        distance = b.sub(bases[1], bases[0])
    else:
        distance = b.intrinsic("ssub.sat", bases[1], bases[0])
    if distance.number is not None:
        rest = b.number(max(-limit, min(limit, int(distance.number))), "i32")
    else:
        inside = b.intrinsic(
            "smax", b.intrinsic("smin", distance, b.number(limit, "i64")), b.number(-limit, "i64")
        )
        rest = _convert(b, "trunc", inside, "i32")
    steps = V(f"<{', '.join(f'i32 {lane * stride}' for lane in range(lanes))}>", "i32", lanes)
    return b.simple(f"icmp {op if op in ('eq', 'ne') else 's' + op}", steps, rest, ty="i1")


def bits(b: Builder, x: V, source: DType, target: DType) -> V:
    """The same bits as another type."""
    assert source.bits == target.bits, f"bits of {source} as {target}"
    to = llvm_type(target)
    (x,), lanes = b.join(x)
    return x if to == x.ty else _convert(b, "bitcast", x, to, lanes)


def _convert(b: Builder, op: str, x: V, to: str, lanes: int | None = None) -> V:
    x = b.widen(x, x.lanes)
    target = to if x.lanes == 1 else f"<{x.lanes} x {to}>"
    return b.pure(f"{op} {x.type} {{0}} to {target}", (x,), to, x.lanes)


def cast(b: Builder, x: V, source: DType, target: DType) -> V:
    """x in another element type."""
    if source == target:
        return x
    to = llvm_type(target)
    if is_half(source):
        wide = _half_to_f32(b, x) if source.name == "f16" else _bf16_to_f32(b, x)
        return cast(b, wide, f32, target)
    if is_half(target):
        if source.name == "f64":
            x, source = (
                (_narrow_to_odd(b, x) if target.name == "f16" else _convert(b, "fptrunc", x, "float")),
                f32,
            )
        x = cast(b, x, source, f32)
        return _f32_to_half(b, x) if target.name == "f16" else _f32_to_bf16(b, x)
    if target.kind == "bool":
        if source.is_float:
            return b.simple("fcmp une", x, b.number(0.0, x.ty), ty="i1")
        return b.simple("icmp ne", x, b.number(0, x.ty), ty="i1")
    if source.is_float:
        if target.is_float:
            return _convert(b, "fpext" if target.bits > source.bits else "fptrunc", x, to)
        return b.intrinsic("fptosi.sat" if target.kind == "int" else "fptoui.sat", x, ty=to)
    if target.is_float:
        return _convert(b, "sitofp" if source.kind == "int" else "uitofp", x, to)
    if source.kind != "bool" and source.bits == target.bits:
        return x
    if source.kind != "bool" and target.bits < source.bits:
        return _convert(b, "trunc", x, to)
    return _convert(b, "sext" if source.kind == "int" else "zext", x, to)


def _and(b: Builder, x: V, mask: int) -> V:
    return b.simple("and", x, b.number(mask, x.ty))


def _half_to_f32(b: Builder, h: V) -> V:
    wide = _convert(b, "zext", h, "i32")
    sign = b.simple("shl", _and(b, wide, 0x8000), b.number(16, "i32"))
    rest = _and(b, wide, 0x7FFF)
    shifted = b.simple("shl", rest, b.number(13, "i32"))
    normal = b.simple("add", shifted, b.number(112 << 23, "i32"))
    special = b.simple("add", shifted, b.number(224 << 23, "i32"))  # infinity and NaN
    tiny = bits(
        b, b.simple("fmul", _convert(b, "uitofp", rest, "float"), b.number(2.0**-24, "float")), f32, i32
    )
    large = b.simple("icmp uge", rest, b.number(0x7C00, "i32"), ty="i1")
    small = b.simple("icmp ult", rest, b.number(0x400, "i32"), ty="i1")
    return bits(b, b.simple("or", b.select(small, tiny, b.select(large, special, normal)), sign), i32, f32)


def _f32_to_half(b: Builder, x: V) -> V:
    raw = bits(b, x, f32, i32)
    sign = _and(b, raw, 0x80000000)
    a = b.simple("xor", raw, sign)
    nan = b.simple("icmp ugt", a, b.number(0x7F800000, "i32"), ty="i1")
    large = b.simple("icmp uge", a, b.number(0x47800000, "i32"), ty="i1")
    small = b.simple("icmp ult", a, b.number(0x38800000, "i32"), ty="i1")
    special = b.select(nan, b.number(0x7E00, "i32"), b.number(0x7C00, "i32"))
    aligned = b.simple(
        "fadd", bits(b, a, i32, f32), b.number(0.5, "float")
    )  # the sum rounds where the half's last bit is
    tiny = b.simple("sub", bits(b, aligned, f32, i32), b.number(126 << 23, "i32"))
    odd = _and(b, b.simple("lshr", a, b.number(13, "i32")), 1)
    rounded = b.simple("add", b.simple("add", a, b.number(0xFFF - (112 << 23), "i32")), odd)
    normal = b.simple("lshr", rounded, b.number(13, "i32"))
    result = b.select(large, special, b.select(small, tiny, normal))
    return _convert(b, "trunc", b.simple("or", result, b.simple("lshr", sign, b.number(16, "i32"))), "i16")


def _bf16_to_f32(b: Builder, h: V) -> V:
    return bits(b, b.simple("shl", _convert(b, "zext", h, "i32"), b.number(16, "i32")), i32, f32)


def _f32_to_bf16(b: Builder, x: V) -> V:
    raw = bits(b, x, f32, i32)
    high = b.simple("lshr", raw, b.number(16, "i32"))
    rounded = b.simple("add", b.simple("add", raw, b.number(0x7FFF, "i32")), _and(b, high, 1))
    quiet = b.simple("or", high, b.number(0x40, "i32"))
    nan = b.simple("fcmp uno", x, x, ty="i1")
    return _convert(b, "trunc", b.select(nan, quiet, b.simple("lshr", rounded, b.number(16, "i32"))), "i16")


def _narrow_to_odd(b: Builder, x: V) -> V:
    """f64 to f32 rounded to odd, so that rounding again to f16 is as rounding once."""
    near = _convert(b, "fptrunc", x, "float")
    back = _convert(b, "fpext", near, "double")
    inexact = b.simple("fcmp one", back, x, ty="i1")
    above = b.simple("fcmp ogt", b.intrinsic("fabs", back), b.intrinsic("fabs", x), ty="i1")
    raw = bits(b, near, f32, i32)
    down = b.simple("sub", raw, b.select(above, b.number(1, "i32"), b.number(0, "i32")))
    odd = b.simple("or", down, b.number(1, "i32"))
    return bits(b, b.select(inexact, odd, raw), i32, f32)
