"""Where initial weights and keys come from: one generator, set by `nv.seed`, or another for a while."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

__all__ = ["drawing_from", "generator", "seed"]

_state = {"generator": np.random.default_rng(0)}
_override: ContextVar[np.random.Generator | None] = ContextVar("generator", default=None)


def seed(value: int) -> None:
    """Start the sequence of initial weights anew; the same seed gives the same weights."""
    _state["generator"] = np.random.default_rng(value)


def generator() -> np.random.Generator:
    """The generator that modules draw their initial weights from."""
    return _override.get() or _state["generator"]


@contextmanager
def drawing_from(rng: np.random.Generator | None) -> Generator[None]:
    """Use another generator inside; None changes nothing."""
    token = _override.set(rng or _override.get())
    try:
        yield
    finally:
        _override.reset(token)
