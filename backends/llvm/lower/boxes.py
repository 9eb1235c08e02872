"""Boxes at computed corners, read element by element: the corner is clamped once for each kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ....ir.dims import Dim
from ....ir.graph import Node, Value
from ....ir.types import i64
from .. import kernel_ir as k

if TYPE_CHECKING:
    from .pull import Index, Pull

    Element = Callable[[Value, Index, k.Expr | None], k.Expr]

__all__ = ["dynamic_slice", "dynamic_update_slice"]


def _corner(
    pull: Pull, starts: Value, axis: int, room: Dim, inside: k.Expr | None, element: Element
) -> k.Expr:
    """Where the box begins on an axis, moved until it lies within."""
    place = pull.memo(("axis", axis), lambda: k.const(axis, i64))
    start = element(starts, (place,), inside)
    return pull.memo(("corner", start, room), lambda: k.maximum(k.minimum(start, k.as_index(room)), 0))


def dynamic_slice(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    x, starts = node.operands
    at: list[k.Expr] = []
    for axis, (i, size, whole) in enumerate(
        zip(index, node.results[0].type.shape, x.type.shape, strict=True)
    ):
        if size == whole:
            at.append(i)
            continue
        corner = _corner(pull, starts, axis, whole - size, inside, element)
        at.append(pull.memo(("from", corner, i), lambda a=corner, b=i: a + b))
    return element(x, tuple(at), inside)


def dynamic_update_slice(
    pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element
) -> k.Expr:
    x, update, starts = node.operands
    at: list[k.Expr] = []
    tests: list[k.Expr] = []
    for axis, (i, size, whole) in enumerate(zip(index, update.type.shape, x.type.shape, strict=True)):
        if size == whole:
            at.append(i)
            continue
        corner = _corner(pull, starts, axis, whole - size, inside, element)
        place = pull.memo(("behind", i, corner), lambda a=i, b=corner: a - b)
        tests.append(pull.memo(("ge", place, 0), lambda a=place: a >= 0))
        tests.append(pull.memo(("lt", place, size), lambda a=place, b=size: a < k.as_index(b)))
        at.append(place)
    test = pull.all_of(tests)
    found = element(update, tuple(at), pull.all_of([t for t in (inside, test) if t is not None]))
    return found if test is None else k.select(test, found, element(x, index, inside))
