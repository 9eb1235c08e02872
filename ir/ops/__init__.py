"""Every op, one module a family; importing this package fills `nervure.ir.op.OPS`."""

from __future__ import annotations

from . import (
    barrier,
    calls,
    cells,
    constant,
    contract,
    control,
    cumulative,
    elementwise,
    expect,
    index,
    linalg,
    move,
    nn,
    patches,
    pointwise,
    quant,
    reduce,
    rng,
    sort,
    window,
)

__all__ = [
    "barrier",
    "calls",
    "cells",
    "constant",
    "contract",
    "control",
    "cumulative",
    "elementwise",
    "expect",
    "index",
    "linalg",
    "move",
    "nn",
    "patches",
    "pointwise",
    "quant",
    "reduce",
    "rng",
    "sort",
    "window",
]
