"""What a rule of differentiation is, and how the short forms become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ...ir import build as b
from ...ir.graph import Node, Value
from ...ir.op import Op

__all__ = ["Cotangents", "Rule", "attributes_of", "only", "scale", "zeros_like"]

Cotangents = Sequence["Value | None"]
"""One an operand or a result; None where nothing depends on it."""

Rule = Callable[[Node, tuple["Value | None", ...]], Cotangents]
"""Given a node and the cotangents of its results, at least one of them not None: those of its operands."""

Short = Callable[[Node, Value], Cotangents]
"""A rule of an op of which only the first result is a float."""

Kind = TypeVar("Kind", bound=Op)


def only(rule: Short) -> Rule:
    """The rule of a node whose first result alone has a cotangent."""

    def apply(node: Node, cotangents: tuple[Value | None, ...]) -> Cotangents:
        g = cotangents[0]
        assert g is not None, node
        return rule(node, g)

    return apply


def attributes_of(node: Node, kind: type[Kind]) -> Kind:
    """The node's op, known to be of the kind that its mnemonic says."""
    assert isinstance(node.op, kind), node
    return node.op


def zeros_like(x: Value) -> Value:
    """Zeros of x's type."""
    return b.full_like(x, 0)


def scale(x: Value, factor: float) -> Value:
    """factor * x."""
    return b.mul(x, b.full_like(x, factor))
