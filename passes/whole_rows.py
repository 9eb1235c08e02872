"""Steps as `reroll` looks for them: rows of a sequence are whole and along axis 0, and so are joined.

x[:, t, 4:8]                reshape(permute(x)[t])[:, 4:8]        exporters cut gates out of x, and batches come first
concat{axis=1} (y_t ...)    permute(concat{axis=0} (y_t ...))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.ops.move import Concat, Reshape, Slice
from .repetition import row

__all__ = ["with_whole_rows"]

T = TypeVar("T")


def with_whole_rows(graph: Graph, least: int) -> Graph:
    """The graph with such rows and joins; itself where it has no others.

    Args:
        least: steps of a sequence
    """
    axes = _axes(graph, least)

    @cache
    def turned(x: Value, axis: int) -> Value:
        return b.permute(x, _first(x.type.rank, axis)) if axis else x

    @cache
    def whole(x: Value, axis: int, t: int) -> Value:
        return row(turned(x, axis), t)

    @cache
    def part(x: Value, axis: int, t: int, starts: tuple[Dim, ...], limits: tuple[Dim, ...]) -> Value:
        return b.slice_(whole(x, axis, t), starts, limits)

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if isinstance(node.op, Concat):
            found = _joined(node.op, operands, least)
            return None if found is None else [found]
        before = node.operands[0].node if isinstance(node.op, Reshape) else None
        if before is None or not isinstance(before.op, Slice) or before.operands[0] not in axes:
            return None
        axis, op = axes[before.operands[0]], before.op
        if node.op.shape != _without(before.results[0].type.shape, axis) or not _is_row(before, axis):  # type: ignore[attr-defined]
            return None
        (cut,) = operands
        x, t = cut.node.operands[0] if cut.node is not None else cut, op.starts[axis]
        assert isinstance(t, int), "a step that is a row"
        return [part(x, axis, t, _without(op.starts, axis), _without(op.limits, axis))]

    return rebuild(graph, rewrite)


def _axes(graph: Graph, least: int) -> dict[Value, int]:
    """The axis of steps of each value of which rows are cut out along another axis than the first, or parts of rows."""
    steps: dict[tuple[Value, int], set[object]] = {}
    other: set[tuple[Value, int]] = set()
    for node in graph.nodes:
        if not isinstance(node.op, Slice):
            continue
        (x,), op = node.operands, node.op
        for axis, size in enumerate(x.type.shape):
            if isinstance(size, int) and size >= least and _is_row(node, axis):
                steps.setdefault((x, axis), set()).add(op.starts[axis])
                rest = _without(op.starts, axis), _without(op.limits, axis)
                if axis or rest != ((0,) * (x.type.rank - 1), x.type.shape[1:]):
                    other.add((x, axis))
    found: dict[Value, int] = {}
    for (x, axis), starts in steps.items():
        if x not in found and len(starts) >= max(least, -(-x.type.shape[axis] // 2)):  # type: ignore[operator]
            found[x] = axis
    return {x: axis for x, axis in found.items() if (x, axis) in other}


def _is_row(node: Node, axis: int) -> bool:
    """Whether a slice takes one step along the axis."""
    op = node.op
    assert isinstance(op, Slice)
    one = node.results[0].type.shape[axis] == 1 and isinstance(op.starts[axis], int)
    return one and all(s == 1 for s in op.strides)


def _joined(op: Concat, operands: Sequence[Value], least: int) -> Value | None:
    """A concat of steps along another axis than the first, as one along the first."""
    if op.axis == 0 or len(operands) < least:
        return None
    values: list[Value] = []
    for operand in operands:
        made = operand.node
        if made is None or not isinstance(made.op, Reshape) or operand.type.shape[op.axis] != 1:
            return None
        (value,) = made.operands
        if value.type.shape != _without(operand.type.shape, op.axis):
            return None
        values.append(value)
    stack = b.concat([b.reshape(v, (1, *v.type.shape)) for v in values], 0)
    order = list(range(1, stack.type.rank))
    order.insert(op.axis, 0)
    return b.permute(stack, order)


def _first(rank: int, axis: int) -> list[int]:
    return [axis, *(a for a in range(rank) if a != axis)]


def _without(entries: tuple[T, ...], axis: int) -> tuple[T, ...]:
    return entries[:axis] + entries[axis + 1 :]
