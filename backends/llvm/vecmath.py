"""Functions of f32 as polynomials, written once as kernel expressions, so that scalars and vectors have equal bits.

What is not here (f64, sin, cos, pow, atan2) calls C's library lane by lane.

Largest errors in units of the last place, over all 2**32 floats: exp 1.02, expm1 1.51, log 0.83, log1p 1.44, tanh 1.15,
sigmoid 1.50, erf 1.04. Infinities, NaN, zeros and denormals are as in mathematics.
"""

from __future__ import annotations

from ...ir.types import f32, i32
from .kernel_ir import Binary, Bits, Call, Const, Expr, Fma, Select, Unary

__all__ = ["expand", "is_written_out"]

_LN2, _LOG2E = 0.693147180559945309, 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_SHIFTER = 12582912.0  # 1.5 * 2**23: a sum with it has the nearest integer in its low bits
_SHIFTER_BITS = 0x4B400000


def _f(value: float) -> Const:
    return Const(value, f32)


def _i(value: int) -> Const:
    return Const(value, i32)


def _poly(x: Expr, *coefficients: float) -> Expr:
    """Horner, the highest power first."""
    result: Expr = _f(coefficients[0])
    for c in coefficients[1:]:
        result = Fma(result, x, _f(c))
    return result


def _shift(op: str, x: Expr, n: int) -> Expr:
    return Binary("shl" if op == "shl" else "shr", x, _i(n))


def _power_of_two(n: Expr) -> Expr:
    """2**n for -126 <= n <= 127."""
    return Bits(_shift("shl", n + 127, 23), f32)


def _exponent(k: int) -> int:
    """What makes 2**(n + k) of the low bits of a sum with the shifter, which hold n, where the exponent belongs."""
    bits = ((127 + k - _SHIFTER_BITS) << 23) % (1 << 32)
    return bits - (1 << 32) * (bits >> 31)


def _clamp(x: Expr, low: float, high: float) -> Expr:
    """x within bounds; NaN stays."""
    x = Select(x > high, _f(high), x)
    return Select(x < low, _f(low), x)


def _copy_sign(x: Expr, sign: Expr) -> Expr:
    high = Binary("and", Bits(sign, i32), _i(-(1 << 31)))
    return Bits(Binary("or", Bits(x, i32), high), f32)


def _abs(x: Expr) -> Expr:
    return Unary("abs", x)


def _reduce(x: Expr) -> tuple[Expr, Expr]:
    """n and r with x = n log 2 + r, |r| <= log(2) / 2; n as the low bits of a sum with the shifter."""
    shifted = Fma(x, _f(_LOG2E), _f(_SHIFTER))
    whole = shifted - _f(_SHIFTER)
    r = Fma(whole, _f(-_LN2_LOW), Fma(whole, _f(-_LN2_HIGH), x))
    return Bits(shifted, i32), r


def _power(n: Expr, k: int = 0) -> Expr:
    """2**(n + k), a normal number, of the low bits of a sum with the shifter."""
    return Bits(_shift("shl", n, 23) + _exponent(k), f32)


def _rest(r: Expr) -> Expr:
    """e**r - 1 for |r| <= log(2) / 2; the coefficients were fitted to the least largest error of e**r."""
    square = r * r
    low = Fma(_f(1.666652113e-01), r, _f(4.999999404e-01))
    high = Fma(_f(1.381453476e-03), square, Fma(_f(8.368745446e-03), r, _f(4.166839272e-02)))
    return Fma(Fma(high, square, low), square, r)


def exp(x: Expr) -> Expr:
    """e**x with infinities, NaN and denormal results."""
    bits, r = _reduce(_clamp(x, -105.0, 89.0))
    n = bits - _SHIFTER_BITS
    half = _shift("shr", n, 1)
    part = _power_of_two(half)
    return Fma(_rest(r), part, part) * _power_of_two(n - half)


def _exp_normal(x: Expr, k: int = 0) -> Expr:
    """2**k e**x, a normal number."""
    n, r = _reduce(x)
    power = _power(n, k)
    return Fma(_rest(r), power, power)


def expm1(x: Expr) -> Expr:
    """e**x - 1, exact near 0."""
    n, r = _reduce(_clamp(x, -40.0, 89.0))
    scale = _power(n, -1)
    value = Fma(scale, _rest(r), scale - 0.5) * 2.0
    return Select(_abs(x) < 2.0**-25, x, value)


def log(x: Expr) -> Expr:
    """The natural logarithm; NaN below 0, -inf at 0; coefficients of Cephes logf."""
    tiny = x < 2.0**-126
    bits = Bits(Select(tiny, x * 2.0**23, x), i32)
    n = _shift("shr", bits - 0x3F3504F3, 23)
    f = Bits(bits - _shift("shl", n, 23), f32) - 1.0
    e = Select(tiny, n - 23, n).cast(f32)
    z = f * f
    y = _poly(f, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
              -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
    y = Fma(e, _f(_LN2_LOW), y * f * z)
    value = Fma(e, _f(_LN2_HIGH), f + Fma(z, _f(-0.5), y))
    inf = _f(float("inf"))
    value = Select(x < inf, value, x)  # inf and NaN
    value = Select(x < 0.0, _f(float("nan")), value)
    return Select(x.eq(0.0), _f(float("-inf")), value)


def log1p(x: Expr) -> Expr:
    """log(1 + x), exact near 0: log(u) + (x - (u - 1)) / u with u = 1 + x rounded."""
    u = x + 1.0
    usual = Binary("and", u > 0.0, u < float("inf"))
    rest = Select(usual, (x - (u - 1.0)) / u, _f(0.0))
    return Select(_abs(x) < 2.0**-24, x, log(u) + rest)


def tanh(x: Expr) -> Expr:
    """Odd polynomial below 0.65, else 1 - 1 / ((e**2|x| + 1) / 2), with |x| = n log(2) / 2 + r,
    e**2|x| = 2**n (1 + 2 p) and p = (e**2r - 1) / 2. Both polynomials were fitted to the least largest error."""
    a = _abs(x)
    z = a * a
    near = _poly(z, -5.514645949e-3, 2.046893537e-2, -5.368786678e-2, 1.333082914e-1, -3.333325982e-1)
    most = Select(a > 10.0, _f(10.0), a)  # where the result is 1 already; NaN stays
    shifted = Fma(most, _f(2 * _LOG2E), _f(_SHIFTER))
    r = Fma(shifted - _f(_SHIFTER), _f(-_LN2 / 2), most)
    square = r * r
    high = Fma(_f(4.464171082e-2), square, Fma(_f(1.339026988e-1), r, _f(3.333296478e-1)))
    p = Fma(Fma(high, square, Fma(_f(6.666607261e-1), r, _f(1.0))), square, r)
    n = Bits(shifted, i32)
    far = _f(1.0) - _f(1.0) / Fma(_power(n), p, _power(n, -1) + 0.5)
    return _copy_sign(Select(a < 0.65, Fma(near * z, a, a), far), x)


def sigmoid(x: Expr) -> Expr:
    """t / (t + 1) with t = e**x, with denormal results on the left; the quotient is refined by what the sum rounded away."""
    t = _exp_normal(_clamp(x, -105.0, 40.0), 64) * _f(2.0**-64)  # may be denormal; beyond 40 the result is 1
    total = t + 1.0
    lost = t - (total - 1.0)
    inverse = _f(1.0) / total
    quotient = t * inverse
    rest = Fma(-quotient, lost, Fma(-quotient, total, t))
    return Fma(rest, inverse, quotient)


def erf(x: Expr) -> Expr:
    """Odd polynomial below 0.927734375, else 1 - e**p(|x|), which is 1 from p = -20 on."""
    t, s = _abs(x), x * x
    far = Fma(_poly(t, -1.72853470e-5, 3.83197126e-4), s, _poly(t, -3.88396438e-3, 2.42546219e-2))
    for c in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        far = Fma(far, t, _f(c))
    power = Fma(far, t, -t)
    far = _f(1.0) - _exp_normal(Select(power < -20.0, _f(-20.0), power))  # NaN stays
    far = _copy_sign(far, x)
    near = _poly(
        s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1
    )
    return Select(t > 0.927734375, far, Fma(near, x, x))


_TABLE = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "erf": erf,
}


def is_written_out(e: Call) -> bool:
    """Whether the call becomes arithmetic on f32."""
    return e.dtype == f32 and e.function in _TABLE


def expand(e: Call) -> Expr | None:
    """The call as an expression of arithmetic; None where C's library does it."""
    x = e.args[0]
    if is_written_out(e):
        return _TABLE[e.function](x)
    if e.function == "sigmoid":
        t = Call("exp", (-_abs(x),))
        return Select(x < 0.0, t, Const(1.0, x.dtype)) / (t + 1.0)
    return None
