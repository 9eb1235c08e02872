"""Derivatives: graph to graph, repeatable."""

from __future__ import annotations

from .engine import gradients
from .table import NOT_DIFFERENTIABLE, RULES

__all__ = ["NOT_DIFFERENTIABLE", "RULES", "gradients"]
