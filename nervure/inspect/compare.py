"""Two arrays that should agree."""

from __future__ import annotations

import numpy as np

from ..ir.errors import CompareError
from ..ir.types import Array

__all__ = ["compare_arrays"]


def compare_arrays(name: str, found: Array, expected: Array, *, rtol: float, atol: float) -> None:
    """Nothing, where |found - expected| <= atol + rtol |expected| everywhere; NaN agrees with NaN.

    Raises:
        CompareError: with the count, the worst element and its place
    """
    if found.shape != expected.shape:
        raise CompareError(f"{name}: the shape is {list(found.shape)}, expected {list(expected.shape)}")
    a, e = found.astype(np.float64), expected.astype(np.float64)
    close = np.isclose(a, e, rtol=rtol, atol=atol, equal_nan=True)
    if bool(close.all()):
        return
    with np.errstate(all="ignore"):
        excess = np.where(
            close, -1.0, np.nan_to_num(np.abs(a - e) - rtol * np.abs(e), nan=np.inf, posinf=np.inf)
        )
    place = tuple(int(k) for k in np.unravel_index(int(np.argmax(excess)), excess.shape))
    raise CompareError(
        f"{name}: {int((~close).sum())} of {close.size} elements differ",
        details=[
            f"worst at {list(place)}: found {a[place]!s}, expected {e[place]!s}",
            f"rtol {rtol:g}, atol {atol:g}",
        ],
    )
