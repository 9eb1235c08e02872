"""The rule table: every named rewrite of the canonical form, each with its line of algebra."""

from __future__ import annotations

from . import arithmetic, broadcast, cast, integer, logic, move, reduce
from .base import Rule

__all__ = ["RULES", "Rule"]

RULES: tuple[Rule, ...] = (
    *move.RULES,
    *broadcast.RULES,
    *reduce.RULES,
    *arithmetic.RULES,
    *integer.RULES,
    *logic.RULES,
    *cast.RULES,
)
