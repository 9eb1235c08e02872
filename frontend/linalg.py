"""Factorizations of small matrices, by the names of torch.linalg; numpy's `np.linalg.cholesky` and `eigh` take tensors too.

The backends do not compute them at run time: they are folded where what they are made of is known while compiling.
"""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from .calls import called
from .tensor import Tensor, as_tensor

__all__ = ["cholesky", "eigh", "solve_triangular"]


def cholesky(input: Any, *, upper: bool = False) -> Tensor:
    """The lower triangular l with l l^T = input, or its transpose.

    Shapes:   [..., n, n] -> [..., n, n]
    Numerics: reads the symmetric part; NaN where that is not positive definite
    Source:   PyTorch torch.linalg.cholesky
    """
    x = as_tensor(input)
    with called("cholesky", input=x):
        found = b.cholesky(x.value)
    return _turned(Tensor(found)) if upper else Tensor(found)


def eigh(input: Any) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors, as columns, of a symmetric matrix.

    Shapes:   [..., n, n] -> [..., n], [..., n, n]
    Gradient: of eigenvectors as long as the eigenvalues differ
    Numerics: reads the symmetric part; the component of largest magnitude of each eigenvector is positive
    Source:   PyTorch torch.linalg.eigh
    """
    x = as_tensor(input)
    with called("eigh", input=x):
        values, vectors = b.eigh(x.value)
    return Tensor(values), Tensor(vectors)


def solve_triangular(A: Any, B: Any, *, upper: bool, left: bool = True) -> Tensor:
    """The x with A x = B, or x A = B, A triangular.

    Shapes:   A [..., n, n], B [..., n, m] (with left=False [..., m, n]) -> as B
    Args:     upper: which triangle of A is read
    Source:   PyTorch torch.linalg.solve_triangular
    """
    a, y = as_tensor(A), as_tensor(B)
    with called("solve_triangular", A=a, B=y):
        if left:
            return Tensor(b.triangular_solve(a.value, y.value, lower=not upper))
        found = b.triangular_solve(a.value, _turned(y).value, lower=not upper, transpose=True)
        return _turned(Tensor(found))


def _turned(x: Tensor) -> Tensor:
    axes = list(range(x.ndim))
    return Tensor(b.permute(x.value, (*axes[:-2], *axes[:-3:-1])))
