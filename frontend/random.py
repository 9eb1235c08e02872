"""Where initial weights come from: one generator, set by `nv.seed`."""

from __future__ import annotations

import numpy as np

__all__ = ["generator", "seed"]

_generator = np.random.default_rng(0)


def seed(value: int) -> None:
    """Start the sequence of initial weights anew; the same seed gives the same weights."""
    global _generator  # noqa: PLW0603  the one generator that modules draw from
    _generator = np.random.default_rng(value)


def generator() -> np.random.Generator:
    """The generator that modules draw their initial weights from."""
    return _generator
