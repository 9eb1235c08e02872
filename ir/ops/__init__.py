"""Every op, one module a family; importing this package fills `nervure.ir.op.OPS`."""

from __future__ import annotations

from . import (
    constant,
    contract,
    control,
    elementwise,
    expect,
    index,
    move,
    nn,
    reduce,
    rng,
    window,
)

__all__ = [
    "constant",
    "contract",
    "control",
    "elementwise",
    "expect",
    "index",
    "move",
    "nn",
    "reduce",
    "rng",
    "window",
]
