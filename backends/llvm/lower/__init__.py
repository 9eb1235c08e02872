"""From graphs to kernels: one function an op that is no map, entered in one table."""

from __future__ import annotations

from .contract import convolution, dot_general
from .control import if_, scan, while_
from .cumulative import cumulative
from .lowering import Barrier
from .reduce import MONOIDS, arg_reduction, reduction
from .scatter import scatter_elements
from .sort import sort
from .window import fold_patches, max_pool, window_sum

__all__ = ["BARRIERS", "BLOCKED", "TAILED"]

BARRIERS: dict[str, Barrier] = {
    **dict.fromkeys(MONOIDS, reduction),
    "argmax": arg_reduction,
    "argmin": arg_reduction,
    "dot_general": dot_general,
    "conv": convolution,
    "max_pool": max_pool,
    "window_sum": window_sum,
    "fold_patches": fold_patches,
    "scatter_elements": scatter_elements,
    **dict.fromkeys(("cumsum", "cumprod"), cumulative),
    **dict.fromkeys(("sort", "top_k"), sort),
    "scan": scan,
    "while": while_,
    "if": if_,
}
"""How each op that is no map becomes kernels."""

TAILED = frozenset((*MONOIDS, "dot_general", "conv", "window_sum", "fold_patches"))
"""Ops whose kernel takes the elementwise nodes behind them along."""

BLOCKED = frozenset(("conv", "max_pool", "window_sum"))
"""Ops whose kernel can write its result in blocks of channels."""
