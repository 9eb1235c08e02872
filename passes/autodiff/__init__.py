"""Reverse mode differentiation, graph to graph: the engine, and one table of rules."""

from __future__ import annotations

from .engine import gradients, value_and_gradients
from .loops import shared
from .rules import NOT_DIFFERENTIABLE, RULES

__all__ = ["NOT_DIFFERENTIABLE", "RULES", "gradients", "shared", "value_and_gradients"]
