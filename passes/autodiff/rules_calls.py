"""Derivatives that a program brings along."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.graph import Node, Value
from ...ir.ops.calls import CustomVjp
from ..inline import inline
from .rule import Cotangents, Rule, attributes_of, only, zeros_like

__all__ = ["RULES"]


def _custom_vjp(node: Node, cotangents: tuple[Value | None, ...]) -> Cotangents:
    given = [
        zeros_like(r) if g is None else g
        for r, g in zip(node.results, cotangents, strict=True)
        if r.type.dtype.is_float
    ]
    found: list[Value | None] = [None] * len(node.operands)
    backward = inline(node.regions[1], (*node.operands, *node.results, *given))
    for k, g in zip(attributes_of(node, CustomVjp).by, backward, strict=True):
        found[k] = g
    return found


RULES: Mapping[str, Rule] = {
    # dx = dy
    "opt_barrier": only(lambda node, g: (g, *([None] * (len(node.operands) - 1)))),
    # dx = backward(x, y, dy)
    "custom_vjp": _custom_vjp,
}
