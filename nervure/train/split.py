"""A share of the data to validate on."""

from __future__ import annotations

import numpy as np

from ..ir.errors import InputError
from ..ir.types import Array

__all__ = ["shares"]

Pair = tuple[Array, Array]


def shares(x: Array, y: Array, share: float, seed: int) -> tuple[Pair, Pair]:
    """Data to learn from and data held out, drawn by the seed; of each label the same share, so that sorted data serve.

    Raises:
        InputError: one of the two would be empty
    """
    order = np.random.default_rng([seed, 0]).permutation(len(x))
    if y.dtype.kind in "iub" and y.ndim == 1:
        groups = [order[y[order] == label] for label in np.unique(y)]
    else:
        groups = [order]
    held = np.concatenate([g[: round(len(g) * share)] for g in groups])
    kept = np.concatenate([g[round(len(g) * share) :] for g in groups])
    if not len(held) or not len(kept):
        raise InputError(
            f"a split of {share:g} leaves {len(kept)} samples to learn from and {len(held)} held out"
        )
    held.sort()
    kept.sort()
    return (x[kept], y[kept]), (x[held], y[held])
