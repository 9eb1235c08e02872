"""Movement ops at one index: at which index of which operand the element stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ....ir.dims import Dim
from ....ir.graph import Node, Value
from ....ir.ops.constant import Constant, Iota
from ....ir.ops.index import Gather, GatherElements
from ....ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from ....ir.types import i64
from .. import kernel_ir as k
from .boxes import dynamic_slice, dynamic_update_slice
from .patches import patches

if TYPE_CHECKING:
    from .pull import Pull

__all__ = ["MOVES", "ZERO"]

Index = tuple[k.Expr, ...]
Element = Callable[[Value, Index, "k.Expr | None"], k.Expr]
Move = Callable[["Pull", Node, Index, "k.Expr | None", Element], k.Expr]


def _constant(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Constant)
    literal = node.op.value
    assert literal.array.size == 1, "a constant of several elements has memory"
    return k.const(literal.array.reshape(-1)[0].item(), literal.type.dtype)


def _iota(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Iota)
    return index[node.op.axis].cast(node.op.dtype)


def _broadcast(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, BroadcastInDim)
    x = node.operands[0]
    at = tuple(
        ZERO if size == 1 else index[axis] for size, axis in zip(x.type.shape, node.op.axes, strict=True)
    )
    return element(x, at, inside)


def _permute(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Permute)
    at: list[k.Expr] = [ZERO] * len(index)
    for axis, source in enumerate(node.op.axes):
        at[source] = index[axis]
    return element(node.operands[0], tuple(at), inside)


def _slice(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Slice)
    at = tuple(
        pull.affine(i, step, start)
        for i, start, step in zip(index, node.op.starts, node.op.strides, strict=True)
    )
    return element(node.operands[0], at, inside)


def _reverse(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Reverse)
    shape = node.operands[0].type.shape
    at = tuple(
        pull.affine(i, -1, shape[axis] - 1) if axis in node.op.axes else i for axis, i in enumerate(index)
    )
    return element(node.operands[0], at, inside)


def _pad(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    op = node.op
    assert isinstance(op, Pad)
    x, value = node.operands
    at: list[k.Expr] = []
    tests: list[k.Expr] = []
    for axis, i in enumerate(index):
        source, axis_tests = pull.unpad(i, op.low[axis], op.high[axis], op.interior[axis], x.type.shape[axis])
        at.append(source)
        tests += axis_tests
    test = pull.all_of(tests)
    both = pull.all_of([t for t in (inside, test) if t is not None])
    found = element(x, tuple(at), both)
    return found if test is None else k.select(test, found, element(value, (), inside))


def _concat(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Concat)
    axis = node.op.axis
    known = pull.ranges.get(index[axis])
    start: Dim = 0
    parts: list[tuple[k.Expr, k.Expr]] = []
    for count, x in enumerate(node.operands):
        size = x.type.shape[axis]
        first, start = start, start + size
        begins, ends = count == 0, count + 1 == len(node.operands)
        if known is not None and isinstance(first, int) and isinstance(start, int):
            if start <= known[0] or first >= known[1]:
                continue
            begins, ends = first <= known[0], start >= known[1]
        at = list(index)
        at[axis] = pull.affine(index[axis], 1, -first)
        below = pull.memo(("lt", index[axis], start), lambda a=axis, e=start: index[a] < e)
        from_start = pull.memo(("ge", index[axis], first), lambda a=axis, s=first: index[a] >= s)
        tests = [
            t for t in (inside, None if ends else below, None if begins else from_start) if t is not None
        ]
        parts.append((below, element(x, tuple(at), pull.all_of(tests))))
    result = parts[-1][1]
    for below, found in reversed(parts[:-1]):
        result = k.select(below, found, result)
    return result


def _reshape(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Reshape)
    x = node.operands[0]
    return element(x, pull.reshaped(index, node.op.shape, x.type.shape), inside)


def _gather(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, Gather)
    x, indices = node.operands
    axis, rank = node.op.axis, indices.type.rank
    where = element(indices, index[axis : axis + rank], inside)
    at = (*index[:axis], pull.clamped(where, x.type.shape[axis]), *index[axis + rank :])
    return element(x, at, inside)


def _gather_elements(pull: Pull, node: Node, index: Index, inside: k.Expr | None, element: Element) -> k.Expr:
    assert isinstance(node.op, GatherElements)
    x, indices = node.operands
    axis = node.op.axis
    where = element(indices, index, inside)
    return element(x, (*index[:axis], pull.clamped(where, x.type.shape[axis]), *index[axis + 1 :]), inside)


ZERO = k.const(0, i64)
MOVES: dict[str, Move] = {
    "constant": _constant,
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "permute": _permute,
    "slice": _slice,
    "reverse": _reverse,
    "pad": _pad,
    "concat": _concat,
    "reshape": _reshape,
    "gather": _gather,
    "gather_elements": _gather_elements,
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "patches": patches,
    "opt_barrier": lambda pull, node, index, inside, element: element(node.operands[0], index, inside),
}
