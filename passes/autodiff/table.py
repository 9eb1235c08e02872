"""The one table of derivatives: every op has a rule, decomposes, or has a reason here."""

from __future__ import annotations

from . import composites, elementwise, linear, move
from .elementwise import Rule

__all__ = ["NOT_DIFFERENTIABLE", "RULES"]

RULES: dict[str, Rule] = {**elementwise.RULES, **move.RULES, **linear.RULES, **composites.RULES}
"""From a node and the cotangents of its results to the cotangents of its operands, None where there is none."""

_STEP = "it is piecewise constant: the derivative is 0 wherever there is one"
_DISCRETE = "its values are no real numbers"

NOT_DIFFERENTIABLE: dict[str, str] = {
    **dict.fromkeys(("sign", "floor", "ceil", "round_even"), _STEP),
    **dict.fromkeys(("is_nan", "is_finite", "eq", "ne", "lt", "le", "gt", "ge"), _DISCRETE),
    **dict.fromkeys(("not", "and", "or", "xor", "shl", "shr"), _DISCRETE),
    **dict.fromkeys(("reduce_any", "reduce_all", "argmax", "argmin"), _DISCRETE),
    **dict.fromkeys(("rng_bits", "rng_split", "rng_uniform", "rng_normal"), "a draw does not depend on its key smoothly"),
    **dict.fromkeys(("constant", "iota"), "it has no operands"),
}
"""Ops through which no derivative flows, and why."""
