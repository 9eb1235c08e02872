"""Equations between the sizes of a model: what a symbol of an input has to be for two of them to be equal.

A network that halves an image five times, doubles it again and adds the two runs on multiples of 32 alone. Its file
does not say so; the equation ``2*floordiv(H-1,32)+2 = floordiv(H-1,16)+1`` does, and H becomes ``32*H``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...ir.dims import (
    Dim,
    Expr,
    Func,
    Symbol,
    bounds,
    common_atoms,
    evaluate_dim,
    floordiv,
    free_symbols,
    from_atom,
    substitute,
    symbol,
    without_atom,
)
from ...ir.errors import NervureError

__all__ = ["is_zero", "solution"]

MAX_STEP = 1024
"""The largest number that a size is tried as a multiple of."""
MAX_OFFSETS = 64
"""The largest step beside whose multiples sizes are tried that are some more."""
MAX_SIZES = 4096
"""How many sizes, from the smallest on, are tried one by one."""


def is_zero(difference: Dim) -> bool:
    """Whether a dim is 0 for all values of its symbols, as far as can be told."""
    return bounds(difference) == (0, 0)


def solution(difference: Dim) -> tuple[str, Dim] | None:
    """A symbol and what it has to be for the difference to be 0.

    Tried in this order: the symbol stands alone in a term; it is a multiple of a number, or so much more than a
    multiple; it lies in one range.
    """
    difference = _essential(difference)
    found = _alone(difference)
    if found is None and isinstance(difference, Expr):
        for s in free_symbols(difference):
            for found_by in (_stepped, _ranged):
                dim = found_by(difference, s)
                if dim is not None:
                    return s.name, dim
    return found


def _essential(difference: Dim) -> Dim:
    """What must be 0 for the difference to be: without factors that never are, or the factor that alone can be."""
    for atom, power in common_atoms(difference).items():
        lone = from_atom(atom)
        low, high = bounds(without_atom(difference, atom))
        if low > 0 or high < 0:
            return lone
        for _ in range(power if bounds(lone)[0] > 0 else 0):
            difference = without_atom(difference, atom)
    return difference


def _alone(difference: Dim) -> tuple[str, Dim] | None:
    """A symbol that is a term of its own, and the dim that it equals; one that stays within its range, if there is."""
    found: list[tuple[str, Dim]] = []
    for monomial, coefficient in difference.terms if isinstance(difference, Expr) else ():
        if len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], Symbol):
            s = monomial[0][0]
            term = coefficient * from_atom(s)
            rest = term - difference if coefficient > 0 else difference - term
            size = abs(coefficient)
            dim = floordiv(rest, size)
            low, high = bounds(dim)
            if s in free_symbols(rest) or dim * size != rest or high < s.lo or low > s.hi:
                continue
            if low >= s.lo:
                return s.name, dim
            found.append((s.name, dim))
    return found[0] if found else None


def _stepped(difference: Expr, s: Symbol) -> Dim | None:
    """The least multiple of the symbol, and what is added to it, that the equation holds for."""
    for step in _steps(difference, s):
        for offset in range(step if step <= MAX_OFFSETS else 1):
            lo, hi = -(-(s.lo - offset) // step), (s.hi - offset) // step
            if lo > hi:
                continue
            dim = step * symbol(s.name, max(lo, 0), hi) + offset
            try:
                left = substitute(difference, {s.name: dim})
            except NervureError:  # a divisor may be 0 then
                continue
            if is_zero(left):
                return dim
    return None


def _steps(difference: Expr, s: Symbol) -> list[int]:
    """Products of the divisors under which the symbol stands, in rising order."""
    found: set[int] = set()
    for chain in _divisors(difference, s, 1):
        found |= {k for k in range(2, min(chain, MAX_STEP) + 1) if chain % k == 0}
    return sorted(found)


def _divisors(dim: Dim, s: Symbol, above: int) -> Iterator[int]:
    """For each place of the symbol the product of the divisors around it."""
    if isinstance(dim, int):
        return
    for monomial, _ in dim.terms:
        for atom, _ in monomial:
            if isinstance(atom, Func):
                inner = above * atom.b if isinstance(atom.b, int) and atom.name in DIVISIONS else above
                yield from _divisors(atom.a, s, inner)
                yield from _divisors(atom.b, s, above)
            elif atom == s:
                yield above


DIVISIONS = ("floordiv", "ceildiv", "mod")


def _ranged(difference: Expr, s: Symbol) -> Dim | None:
    """The one range in which the equation holds; None where there are several, or other symbols count."""
    if free_symbols(difference) != (s,):
        return None
    last = min(s.hi, s.lo + MAX_SIZES - 1)
    holds = [v for v in range(s.lo, last + 1) if evaluate_dim(difference, {s.name: v}) == 0]
    if not holds or holds[-1] - holds[0] != len(holds) - 1:
        return None
    if len(holds) == 1:
        return holds[0]
    high = s.hi if holds[-1] == last else holds[-1]
    dim = symbol(s.name, holds[0], high)
    return dim if is_zero(substitute(difference, {s.name: dim})) else None
