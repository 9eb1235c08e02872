# long file: one normal form with its operators, functions and ranges
"""Dimensions: integers, symbols with a range, and expressions of them in one normal form.

A symbolic expression is a polynomial with integer coefficients over atoms. An atom is a symbol or an opaque
function (floordiv, ceildiv, mod, min, max) of two dims. Equal polynomials are equal objects by value, so that
``2*B - B == B`` holds without a solver; what is not equal by value is left to a run-time check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any, NoReturn

from .errors import NervureError

__all__ = [
    "MAX_DIM",
    "Atom",
    "Dim",
    "Expr",
    "Func",
    "Shape",
    "Symbol",
    "bounds",
    "ceildiv",
    "common_atoms",
    "dim_text",
    "evaluate_dim",
    "floordiv",
    "free_symbols",
    "from_atom",
    "maximum",
    "minimum",
    "mod",
    "product",
    "scaled_symbol",
    "shape_text",
    "substitute",
    "symbol",
    "without_atom",
]

MAX_DIM = 2**40
"""The largest extent a range may name; sizes in bytes then still fit 64 bits."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A dim known only at run time, with its inclusive range."""

    name: str
    lo: int = 1
    hi: int = 4096

    def __post_init__(self) -> None:
        if not 0 <= self.lo <= self.hi <= MAX_DIM:
            raise NervureError(f"symbol {self.name}: range {self.lo}..{self.hi} is not within 0..{MAX_DIM}")


@dataclass(frozen=True, slots=True)
class Func:
    """An opaque function of two dims: floordiv, ceildiv, mod, min or max; its text and hash are made once."""

    name: str
    a: Dim
    b: Dim
    text: str = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", f"{self.name}({dim_text(self.a)},{dim_text(self.b)})")
        object.__setattr__(self, "_hash", hash((self.name, self.a, self.b)))

    def __hash__(self) -> int:
        return self._hash


Atom = Symbol | Func
Monomial = tuple[tuple[Atom, int], ...]
"""Atoms with their powers, sorted by text; the empty monomial is 1."""


def _atom_text(atom: Atom) -> str:
    return atom.name if isinstance(atom, Symbol) else atom.text


def _monomial_text(monomial: Monomial) -> str:
    return "*".join(_atom_text(atom) for atom, power in monomial for _ in range(power))


@dataclass(frozen=True, slots=True)
class Expr:
    """A polynomial with at least one atom; made by the operators, never by hand."""

    terms: tuple[tuple[Monomial, int], ...]
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.terms))

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        return _combine(self, other, 1)

    def __sub__(self, other: Dim) -> Dim:
        return _combine(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _combine(other, self, -1)

    def __neg__(self) -> Dim:
        return _combine(0, self, -1)

    def __mul__(self, other: Dim) -> Dim:
        return _multiply(self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __str__(self) -> str:
        return dim_text(self)

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise NervureError(f"dim {self} has no truth value: it is not known before the program runs")

    def __index__(self) -> NoReturn:
        raise UnknownSize(
            f"dim {self} is not known before the program runs",
            hint="np.zeros_like(x, shape=...) and its kin take such sizes, nv.scan runs over such lengths",
            code="NV0202",
        )

    __int__ = __index__

    def __truediv__(self, other: Any) -> Any:
        return self.__index__() if isinstance(other, int | float | Expr) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return self.__index__() if isinstance(other, int | float) else NotImplemented


class UnknownSize(NervureError, TypeError):
    """Python or numpy asked for the number that a symbolic dim stands for."""


Dim = int | Expr
Shape = tuple[Dim, ...]


def symbol(name: str, lo: int = 1, hi: int = 4096) -> Dim:
    """The dim that stands for a symbol."""
    return from_atom(Symbol(name, lo, hi))


def from_atom(atom: Atom) -> Dim:
    """The dim that is a symbol or a function alone."""
    return Expr(((((atom, 1),), 1),))


def _terms(dim: Dim) -> dict[Monomial, int]:
    if isinstance(dim, Expr):
        return dict(dim.terms)
    return {(): dim} if dim else {}


def _normal(terms: dict[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    order = sorted(kept.items(), key=lambda t: (-sum(p for _, p in t[0]), _monomial_text(t[0])))
    return Expr(tuple(order))


def _combine(a: Dim, b: Dim, sign: int) -> Dim:
    terms = _terms(a)
    for monomial, coefficient in _terms(b).items():
        terms[monomial] = terms.get(monomial, 0) + sign * coefficient
    return _normal(terms)


def _multiply(a: Dim, b: Dim) -> Dim:
    terms: dict[Monomial, int] = {}
    for m1, c1 in _terms(a).items():
        for m2, c2 in _terms(b).items():
            powers: dict[Atom, int] = dict(m1)
            for atom, power in m2:
                powers[atom] = powers.get(atom, 0) + power
            monomial = tuple(sorted(powers.items(), key=lambda t: _atom_text(t[0])))
            terms[monomial] = terms.get(monomial, 0) + c1 * c2
    return _normal(terms)


def _divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """a / b where b divides a as polynomials, else None."""
    rest, divisor = _terms(a), _terms(b)
    if not divisor:
        return None
    names = sorted({atom for m in (*rest, *divisor) for atom, _ in m}, key=_atom_text)
    lead = max(divisor, key=lambda m: _grade(m, names))
    quotient: dict[Monomial, int] = {}
    while rest:  # the leading term goes each time: the order is graded, and products keep it
        top = max(rest, key=lambda m: _grade(m, names))
        powers = dict(top)
        for atom, power in lead:
            powers[atom] = powers.get(atom, 0) - power
        count, left = divmod(rest[top], divisor[lead])
        if left or any(p < 0 for p in powers.values()):
            return None
        factor = tuple((atom, p) for atom, p in sorted(powers.items(), key=lambda t: _atom_text(t[0])) if p)
        quotient[factor] = count
        for monomial, coefficient in _terms(_multiply(_normal({factor: count}), b)).items():
            rest[monomial] = rest.get(monomial, 0) - coefficient
            if not rest[monomial]:
                del rest[monomial]
    return _normal(quotient)


def _grade(monomial: Monomial, names: list[Atom]) -> tuple[int, ...]:
    """The place of a monomial in the graded lexicographic order."""
    powers = dict(monomial)
    return (sum(powers.values()), *(powers.get(name, 0) for name in names))


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b, rounded towards minus infinity; a divisor that is 0 or may be 0 is an error."""
    _check_divisor(b)
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact = _divide_exactly(a, b)
    if exact is not None:
        return exact
    if isinstance(b, int) and isinstance(a, Expr):  # (64*B + 3) // 64 = B + 3 // 64
        whole = _normal({m: c // b for m, c in a.terms if c % b == 0 and m})
        if whole != 0:
            return whole + floordiv(a - whole * b, b)
    quotient = Func("floordiv", a, b)
    lo, hi = _atom_bounds(quotient)
    return lo if lo == hi else from_atom(quotient)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """a / b rounded up."""
    _check_divisor(b)
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    exact = _divide_exactly(a, b)
    return exact if exact is not None else from_atom(Func("ceildiv", a, b))


def mod(a: Dim, b: Dim) -> Dim:
    """a - b * (a // b), of the divisor's sign."""
    _check_divisor(b)
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if _divide_exactly(a, b) is not None:
        return 0
    return from_atom(Func("mod", a, b))


def _check_divisor(b: Dim) -> None:
    lo, hi = bounds(b)
    if lo <= 0 <= hi:
        raise NervureError(f"dim {dim_text(b)} may be 0 and cannot divide")


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two dims, decided now where their ranges allow it."""
    (alo, ahi), (blo, bhi) = bounds(a), bounds(b)
    if a == b or ahi <= blo:
        return a
    if bhi <= alo:
        return b
    lo, hi = bounds(a - b)  # what both share cancels: the smaller of t and t - 1
    if hi <= 0 or lo >= 0:
        return a if hi <= 0 else b
    return from_atom(Func("min", *sorted((a, b), key=dim_text)))


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two dims, decided now where their ranges allow it."""
    (alo, ahi), (blo, bhi) = bounds(a), bounds(b)
    if a == b or alo >= bhi:
        return a
    if blo >= ahi:
        return b
    lo, hi = bounds(a - b)
    if hi <= 0 or lo >= 0:
        return b if hi <= 0 else a
    return from_atom(Func("max", *sorted((a, b), key=dim_text)))


_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "ceildiv": lambda a, b: -(-a // b),
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}
_MAKERS = {"floordiv": floordiv, "ceildiv": ceildiv, "mod": mod, "min": minimum, "max": maximum}


def make_function(name: str, a: Dim, b: Dim) -> Dim:
    """The dim function of that name, in normal form; for the parser."""
    return _MAKERS[name](a, b)


def evaluate_dim(dim: Dim, env: Mapping[str, int]) -> int:
    """The value of a dim for given values of its symbols."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        value = coefficient
        for atom, power in monomial:
            if isinstance(atom, Symbol):
                value *= env[atom.name] ** power
            else:
                value *= _FUNCTIONS[atom.name](evaluate_dim(atom.a, env), evaluate_dim(atom.b, env)) ** power
        total += value
    return total


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """The dim with symbols replaced by dims; symbols not in env stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        value: Dim = coefficient
        for atom, power in monomial:
            if isinstance(atom, Symbol):
                factor = env.get(atom.name, from_atom(atom))
            else:
                factor = _MAKERS[atom.name](substitute(atom.a, env), substitute(atom.b, env))
            for _ in range(power):
                value = value * factor
        total = total + value
    return total


def free_symbols(dim: Dim) -> tuple[Symbol, ...]:
    """The symbols of a dim, each once, in order of appearance."""
    found: dict[Symbol, None] = {}

    def visit(d: Dim) -> None:
        if isinstance(d, Expr):
            for monomial, _ in d.terms:
                for atom, _ in monomial:
                    if isinstance(atom, Symbol):
                        found[atom] = None
                    else:
                        visit(atom.a)
                        visit(atom.b)

    visit(dim)
    return tuple(found)


def scaled_symbol(dim: Dim) -> tuple[Symbol, int, int] | None:
    """A symbol, how often the dim holds it, and what is added, where a dim is no more than that, as ``32*H + 1``."""
    if isinstance(dim, int):
        return None
    (monomial, scale), *rest = dim.terms
    if len(rest) > 1 or (rest and rest[0][0]) or len(monomial) != 1:
        return None
    atom, power = monomial[0]
    return (atom, scale, rest[0][1] if rest else 0) if isinstance(atom, Symbol) and power == 1 else None


@lru_cache(maxsize=1 << 14)
def bounds(dim: Dim) -> tuple[int, int]:
    """A range that holds every value of the dim; sound, not always tight."""
    if isinstance(dim, int):
        return dim, dim
    lo, hi = _term_bounds(dim)
    scaled, scale = _undivided(dim)
    if scale > 1:
        lo2, hi2 = (scaled, scaled) if isinstance(scaled, int) else _term_bounds(scaled)
        lo, hi = max(lo, -(-lo2 // scale)), min(hi, hi2 // scale)
    for atom in common_atoms(dim) if len(dim.terms) > 1 else ():  # B*H - 6*B lies as B * (H - 6) does
        (alo, ahi), (blo, bhi) = _atom_bounds(atom), bounds(without_atom(dim, atom))
        corners = (alo * blo, alo * bhi, ahi * blo, ahi * bhi)
        lo, hi = max(lo, min(corners)), min(hi, max(corners))
    return lo, hi


def common_atoms(dim: Dim) -> dict[Atom, int]:
    """The atoms that all terms of a dim hold, with their powers."""
    if isinstance(dim, int):
        return {}
    common = dict(dim.terms[0][0])
    for monomial, _ in dim.terms[1:]:
        powers = dict(monomial)
        common = {atom: min(p, powers[atom]) for atom, p in common.items() if atom in powers}
    return common


def without_atom(dim: Dim, atom: Atom) -> Dim:
    """A dim whose terms all hold the atom, divided by it."""
    found = _divide_exactly(dim, from_atom(atom))
    assert found is not None, "all terms hold it"
    return found


MAX_SCALE = 2**16


def _undivided(dim: Expr) -> tuple[Dim, int]:
    """A multiple of the dim without quotients, and the factor, so that what quotients share cancels.

    b * floordiv(a, b) = a - mod(a, b) and b * ceildiv(a, b) = a + mod(-a, b). Factor 1 where there are none.
    """
    total: Dim = dim
    scale = 1
    while isinstance(total, Expr) and scale <= MAX_SCALE:
        quotients = list(_quotients(total))
        if not quotients:
            break
        factor = math.lcm(*(divisor for _, divisor, _ in quotients))
        scale, total = scale * factor, factor * total
        for atom, divisor, coefficient in quotients:
            many = coefficient * factor
            rest = -1 * mod(atom.a, divisor) if atom.name == "floordiv" else mod(-1 * atom.a, divisor)
            total = total - many * from_atom(atom) + many // divisor * (atom.a + rest)
    return total, scale


def _quotients(dim: Expr) -> Iterable[tuple[Func, int, int]]:
    """The terms that are a quotient by an integer: atom, divisor and coefficient."""
    for monomial, coefficient in dim.terms:
        if len(monomial) == 1 and monomial[0][1] == 1:
            atom = monomial[0][0]
            if isinstance(atom, Func) and atom.name in ("floordiv", "ceildiv") and isinstance(atom.b, int):
                yield atom, atom.b, coefficient


def _term_bounds(dim: Expr) -> tuple[int, int]:
    """Bounds of each term on its own, summed."""
    lo = hi = 0
    for monomial, coefficient in dim.terms:
        tlo = thi = coefficient
        for atom, power in monomial:
            alo, ahi = _atom_bounds(atom)
            for _ in range(power):
                corners = (tlo * alo, tlo * ahi, thi * alo, thi * ahi)
                tlo, thi = min(corners), max(corners)
        lo, hi = lo + tlo, hi + thi
    return lo, hi


def _atom_bounds(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Symbol):
        return atom.lo, atom.hi
    (alo, ahi), (blo, bhi) = bounds(atom.a), bounds(atom.b)
    if atom.name == "min":
        return min(alo, blo), min(ahi, bhi)
    if atom.name == "max":
        return max(alo, blo), max(ahi, bhi)
    if atom.name == "mod":
        return (0, bhi - 1) if blo > 0 else (blo + 1, 0)
    corners = [_FUNCTIONS[atom.name](a, b) for a in (alo, ahi) for b in (blo, bhi)]
    return min(corners), max(corners)


def product(shape: Shape) -> Dim:
    """The number of elements of a shape."""
    return reduce(_times, shape, 1)


def _times(a: Any, b: Any) -> Any:
    return a * b


def dim_text(dim: Dim) -> str:
    """The dim as it is written in IR text, without spaces."""
    if isinstance(dim, int):
        return str(dim)
    parts: list[str] = []
    for monomial, coefficient in dim.terms:
        sign = "-" if coefficient < 0 else "+" if parts else ""
        size = abs(coefficient)
        if not monomial:
            body = str(size)
        else:
            body = ("" if size == 1 else f"{size}*") + _monomial_text(monomial)
        parts.append(sign + body)
    return "".join(parts)


def shape_text(shape: Shape) -> str:
    """A shape as ``[B,784]``."""
    return "[" + ",".join(map(dim_text, shape)) + "]"
