"""Windows as channels, read element by element: a channel says which place of which window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ....ir.graph import Node, Value
from ....ir.ops.patches import Patches
from .. import kernel_ir as k

if TYPE_CHECKING:
    from .pull import Index, Pull

    Element = Callable[[Value, Index, k.Expr | None], k.Expr]

__all__ = ["patches"]


def patches(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    """The channel says which place of the window; 0 where that lies outside x."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, Patches)
    channel, *places = pull.reshaped(
        index[1:2], node.results[0].type.shape[1:2], (x.type.shape[1], *op.window)
    )
    at: list[k.Expr] = [index[0], channel]
    tests: list[k.Expr] = []
    for axis, place in enumerate(places):
        corner = pull.affine(index[axis + 2], op.strides[axis], 0)
        if op.window[axis] > 1:
            step = pull.affine(place, op.dilation[axis], 0)
            corner = pull.memo(("from", corner, step), lambda a=corner, b=step: a + b)
        low, high = op.padding[axis]
        source, axis_tests = pull.unpad(corner, low, high, 0, x.type.shape[axis + 2])
        at.append(source)
        tests += axis_tests
    test = pull.all_of(tests)
    found = element(x, tuple(at), pull.all_of([t for t in (inside, test) if t is not None]))
    return found if test is None else k.select(test, found, k.zero(x.type.dtype))
