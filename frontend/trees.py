"""Tensors within nested tuples and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..ir.graph import Value
from .tensor import Tensor, as_tensor

__all__ = ["build", "leaves"]


def leaves(tree: Any) -> list[Value]:
    """The tensors of nested tuples and lists, in order; None holds none."""
    if tree is None:
        return []
    if isinstance(tree, tuple | list):
        branches = cast("Sequence[Any]", tree)
        return [leaf for part in branches for leaf in leaves(part)]
    return [as_tensor(tree).value]


def build(tree: Any, tensors: list[Tensor]) -> Any:
    """The tensors in the tree's shape; takes them from the front of the list."""
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        branches = cast("Sequence[Any]", tree)
        parts = [build(part, tensors) for part in branches]
        return tuple(parts) if isinstance(tree, tuple) else parts
    return tensors.pop(0)
