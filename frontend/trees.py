"""Tensors within nested tuples and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..ir.graph import Value
from .arguments import given
from .tensor import Tensor, as_tensor

__all__ = ["alike", "build", "leaves", "tree_text"]


def leaves(tree: Any, name: str, what: str) -> list[Value]:
    """The tensors of nested tuples and lists, in order; None holds none.

    Args:
        name, what: the function that they are given to, and as what, for the error where something is no tensor
    """
    if tree is None:
        return []
    if isinstance(tree, tuple | list):
        branches = cast("Sequence[Any]", tree)
        return [leaf for part in branches for leaf in leaves(part, name, what)]
    return [given(name, what, tree).value]


def alike(one: Any, other: Any) -> bool:
    """Whether two trees are nested in the same way, whatever their tensors are; tuples and lists are the same."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        parts, others = cast("Sequence[Any]", one), cast("Sequence[Any]", other)
        return len(parts) == len(others) and all(map(alike, parts, others))
    return (
        not isinstance(one, tuple | list)
        and not isinstance(other, tuple | list)
        and (one is None) == (other is None)
    )


def tree_text(tree: Any) -> str:
    """A tree by the types of its tensors: ``(f32[3], (i64[], None))``."""
    if isinstance(tree, tuple | list):
        branches = cast("Sequence[Any]", tree)
        return f"({', '.join(map(tree_text, branches))}{',' * (len(branches) == 1)})"
    return "None" if tree is None else str(as_tensor(tree).type)


def build(tree: Any, tensors: list[Tensor]) -> Any:
    """The tensors in the tree's shape; takes them from the front of the list."""
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        branches = cast("Sequence[Any]", tree)
        parts = [build(part, tensors) for part in branches]
        return tuple(parts) if isinstance(tree, tuple) else parts
    return tensors.pop(0)
