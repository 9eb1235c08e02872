"""Kernel products between all samples, made row by row: no more of the matrix is kept than fits a limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.types import Array

__all__ = ["Products"]

BLOCK = 64


class Products:
    """The symmetric matrix K[i, j] = kernel(x_i, x_j), of which rows are made when they are asked for.

    Args:
        kernel: of rows [M, D] and [N, D] the products [M, N]
        data:   samples [N, D]
        limit:  bytes of rows that are kept; a matrix that fits is made at once, of another the oldest rows go
    """

    def __init__(self, kernel: Callable[[Array, Array], Array], data: Array, limit: int = 1 << 28) -> None:
        self.kernel, self.data = kernel, data
        self.count = len(data)
        self.room = max(2, limit // (8 * self.count))
        self.whole = kernel(data, data) if self.count <= self.room else None
        self.rows: dict[int, Array] = {}
        self.diagonal = (
            np.diagonal(self.whole).copy()
            if self.whole is not None
            else np.concatenate([np.diagonal(kernel(part, part)) for part in self._blocks()])
        )

    def _blocks(self) -> list[Array]:
        return [self.data[k : k + BLOCK] for k in range(0, self.count, BLOCK)]

    def row(self, place: int) -> Array:
        """The products of one sample with all."""
        if self.whole is not None:
            return self.whole[place]
        if place not in self.rows:
            if len(self.rows) >= self.room:
                del self.rows[next(iter(self.rows))]
            self.rows[place] = self.kernel(self.data[place : place + 1], self.data)[0]
        return self.rows[place]

    def among(self, places: Array) -> Array:
        """The products of some samples with each other."""
        if self.whole is not None:
            return self.whole[np.ix_(places, places)]
        return self.kernel(self.data[places], self.data[places])

    def times(self, weights: Array) -> Array:
        """K w. Samples of weight 0 cost nothing."""
        if self.whole is not None:
            return self.whole @ weights
        used = np.flatnonzero(weights)
        others, factors = self.data[used], weights[used]
        return np.concatenate([self.kernel(part, others) @ factors for part in self._blocks()])
