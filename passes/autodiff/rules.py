"""The one table of derivatives: a rule an op, or the reason why it has none.

Composites in neither table are decomposed on the spot, calls inlined; loops and branches stand in loops.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import (
    rules_calls,
    rules_contract,
    rules_elementwise,
    rules_index,
    rules_linalg,
    rules_move,
    rules_nn,
    rules_order,
    rules_reduce,
)
from .rule import Rule

__all__ = ["NOT_DIFFERENTIABLE", "RULES"]

RULES: Mapping[str, Rule] = {
    **rules_elementwise.RULES,
    **rules_move.RULES,
    **rules_reduce.RULES,
    **rules_contract.RULES,
    **rules_index.RULES,
    **rules_linalg.RULES,
    **rules_nn.RULES,
    **rules_order.RULES,
    **rules_calls.RULES,
}
"""By mnemonic."""

_LEAF = "it has no operands"
_STEP = "it is constant between its steps: the derivative is 0 wherever there is one"
_TRUTH = "its result is a truth value"
_BITS = "its operands are integers or truth values"
_PLACE = "its result is a position, an integer"
_KEY = "its operand is a key, an integer"

NOT_DIFFERENTIABLE: Mapping[str, str] = {
    **dict.fromkeys(("constant", "iota"), _LEAF),
    **dict.fromkeys(("sign", "floor", "ceil", "round_even", "step"), _STEP),
    **dict.fromkeys(("is_nan", "is_finite", "eq", "ne", "lt", "le", "gt", "ge"), _TRUTH),
    **dict.fromkeys(("not", "and", "or", "xor", "shl", "shr", "reduce_any", "reduce_all"), _BITS),
    "stop_gradient": "that is what it is for",
    **dict.fromkeys(("argmax", "argmin"), _PLACE),
    "quantize": "its result is an integer",
    "expect_range": "its operand is an integer",
    "bitcast": "bits read as another type have no slope",
    **dict.fromkeys(("rng_bits", "rng_split", "rng_uniform", "rng_normal"), _KEY),
}
"""The reason by mnemonic; cotangents end at these ops."""
