"""Factorizations of small matrices, for what is fitted: whitening, principal axes, least squares.

Only the reference computes them; passes fold them where their operands are made of constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import dim_text
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType, dtype_of
from .common import narrow, need, need_kind, widen

__all__ = ["REFERENCE_ONLY", "Cholesky", "Eigh", "Factorization", "TriangularSolve"]

REFERENCE_ONLY = "only the reference computes it; it is folded where its operands are made of constants"


class Factorization(Op):
    """A family on matrices, the last two axes; the others are a batch."""

    accuracy = Accuracy.APPROXIMATE

    def check(self, x: TensorType, *types: TensorType) -> None:
        need_kind(self, x, ("float",))
        square = x.rank >= 2 and x.shape[-1] == x.shape[-2]
        need(self, square, f"expected square matrices [..., n, n], found {x}", x, *types)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[-1].size * operands[0].shape[-1], traffic(operands, results))


def symmetric_part(x: Array) -> Array:
    """(x + x^T) / 2."""
    return (x + np.swapaxes(x, -1, -2)) / 2


def attempt(compute: Callable[[Array], Any], matrix: Array) -> Any:
    """What LAPACK makes of one matrix; None where it gives up, or an element is not finite."""
    try:
        with np.errstate(all="ignore"):
            return compute(matrix) if np.isfinite(matrix).all() else None
    except np.linalg.LinAlgError:
        return None


@register
@dataclass(frozen=True)
class Cholesky(Factorization):
    """The lower triangular l with l l^T = x.

    Equation: l l^T = (x + x^T) / 2, l lower triangular with a positive diagonal
    Shapes:   x F[..., n, n] -> F[..., n, n]
    Gradient: dx = the symmetric part of l^-T phi(l^T dl) l^-1, phi the lower triangle with half the diagonal
    Numerics: reads the symmetric part of x; NaN where that is not positive definite; f16 and bf16 in f32
    Source:   I. Murray, Differentiation of the Cholesky decomposition, 2016; JAX lax.linalg.cholesky
    """

    mnemonic = "cholesky"

    def infer(self, x: TensorType) -> TensorType:
        self.check(x)
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        wide = symmetric_part(widen(x))
        out = np.zeros_like(wide)
        lower = np.tril(np.ones(x.shape[-2:], dtype=bool))
        for at in np.ndindex(x.shape[:-2]):
            found = attempt(np.linalg.cholesky, wide[at])
            out[at][lower] = np.nan if found is None else found[lower]
        return narrow(out, dtype_of(x))


@register
@dataclass(frozen=True)
class TriangularSolve(Factorization):
    """The x with a x = b, a triangular.

    Equation: a x = b, or a^T x = b
    Shapes:   a F[..., n, n], b F[..., n, m] -> F[..., n, m]
    Args:     lower: which triangle of a is read, the other one counts as 0; transpose: whether a^T stands for a
    Gradient: db = a^-T dx, da = the triangle of -db x^T; with a^T: db = a^-1 dx, da = the triangle of -x db^T
    Numerics: substitution, row by row; a diagonal of 0 divides by 0; f16 and bf16 in f32
    Source:   BLAS trsm, JAX lax.linalg.triangular_solve; M. Giles, An extended collection of matrix derivative
              results, 2008, section 2.3.1
    """

    mnemonic = "triangular_solve"
    accuracy = Accuracy.REASSOCIATED
    lower: bool = True
    transpose: bool = False

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        self.check(a, b)
        need(self, a.dtype == b.dtype, f"element types differ: {a.dtype} and {b.dtype}", a, b)
        fits = b.rank == a.rank and b.shape[:-1] == a.shape[:-1]
        rows = dim_text(a.shape[-1])
        need(self, fits, f"expected a right side [..., {rows}, m] of the same batch, found {b}", a, b)
        return b

    def evaluate(self, a: Array, b: Array, **_: Any) -> Array:
        matrix = np.swapaxes(widen(a), -1, -2) if self.transpose else widen(a)
        x, n = widen(b).copy(), a.shape[-1]
        down = self.lower != self.transpose
        with np.errstate(all="ignore"):
            for i in range(n) if down else reversed(range(n)):
                known = slice(0, i) if down else slice(i + 1, n)
                row = matrix[..., i : i + 1, known] @ x[..., known, :]
                x[..., i : i + 1, :] = (x[..., i : i + 1, :] - row) / matrix[..., i : i + 1, i : i + 1]
        return narrow(x, dtype_of(b))


@register
@dataclass(frozen=True)
class Eigh(Factorization):
    """Eigenvalues and eigenvectors of a symmetric matrix.

    Equation: (x + x^T) / 2 = v diag(w) v^T, v orthogonal
    Shapes:   x F[..., n, n] -> w F[..., n], v F[..., n, n], the eigenvectors being the columns of v
    Gradient: dx = the symmetric part of v (diag(dw) + f * (v^T dv)) v^T, f[i, j] = 1 / (w[j] - w[i]), 0 where the
              two are equal: eigenvectors of equal eigenvalues have no derivative
    Numerics: w ascending; of each eigenvector the component of largest magnitude, the first of equals, is positive;
              reads the symmetric part of x; NaN where x is not finite; f16 and bf16 in f32
    Source:   LAPACK syevd; M. Giles, An extended collection of matrix derivative results, 2008, section 3.1
    """

    mnemonic = "eigh"

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        self.check(x)
        return x.with_shape(x.shape[:-1]), x

    def evaluate(self, x: Array, **_: Any) -> tuple[Array, Array]:
        wide, n = symmetric_part(widen(x)), x.shape[-1]
        values, vectors = np.full(x.shape[:-1], np.nan, wide.dtype), np.full(x.shape, np.nan, wide.dtype)
        for at in np.ndindex(x.shape[:-2]):
            found = attempt(np.linalg.eigh, wide[at]) if n else None
            if found is not None:
                w, v = found
                largest = v[np.argmax(np.abs(v), axis=0), np.arange(n)]
                values[at], vectors[at] = w, v * np.where(largest < 0, -1, 1)
        return narrow(values, dtype_of(x)), narrow(vectors, dtype_of(x))
