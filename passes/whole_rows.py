"""Steps as `reroll` looks for them: rows of a sequence are whole and along axis 0, and so are joined.

x[:, t, 4:8]                reshape(permute(x)[t])[:, 4:8]        exporters cut gates out of x, and batches come first
concat{axis=1} (y_t ...)    permute(concat{axis=0} (y_t ...))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from ..ir import build as b
from ..ir.dims import Dim, Shape
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
    steps: set[Value] = set()

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
        if isinstance(node.op, Slice) and node.operands[0] in axes:
            axis, op = axes[node.operands[0]], node.op
            t = op.starts[axis]
            if not isinstance(t, int) or not _is_row(node, axis):
                return None
            found = part(operands[0], axis, t, _without(op.starts, axis), _without(op.limits, axis))
            steps.add(found)
            return [b.reshape(found, node.results[0].type.shape)]
        inner = operands[0].node if isinstance(node.op, Reshape) else None
        if inner is None or not isinstance(inner.op, Reshape) or inner.operands[0] not in steps:
            return None
        return [b.reshape(inner.operands[0], node.results[0].type.shape)]

    return rebuild(graph, rewrite)


def _axes(graph: Graph, least: int) -> dict[Value, int]:
    """The axis of steps of each value of which rows are cut out along another axis than the first, or parts of rows, or
    that are used with another shape.
    """
    steps: dict[tuple[Value, int], set[object]] = {}
    other: set[tuple[Value, int]] = set()
    users = graph.uses()
    for node in graph.nodes:
        if not isinstance(node.op, Slice):
            continue
        (x,), op = node.operands, node.op
        for axis, size in enumerate(x.type.shape):
            if isinstance(size, int) and size >= least and _is_row(node, axis):
                steps.setdefault((x, axis), set()).add(op.starts[axis])
                rest = _without(op.starts, axis), _without(op.limits, axis)
                whole = not axis and rest == ((0,) * (x.type.rank - 1), x.type.shape[1:])
                if not whole or not all(_takes_away(u, x.type.shape[1:]) for u in users[node.results[0]]):
                    other.add((x, axis))
    found: dict[Value, int] = {}
    for (x, axis), starts in steps.items():
        if x not in found and len(starts) >= max(least, -(-x.type.shape[axis] // 2)):  # type: ignore[operator]
            found[x] = axis
    return {x: axis for x, axis in found.items() if (x, axis) in other}


def _takes_away(user: Node | None, shape: Shape) -> bool:
    return user is not None and isinstance(user.op, Reshape) and user.op.shape == shape


def _is_row(node: Node, axis: int) -> bool:
    """Whether a slice takes one step along the axis."""
    op = node.op
    assert isinstance(op, Slice)
    one = node.results[0].type.shape[axis] == 1 and isinstance(op.starts[axis], int)
    return one and all(s == 1 for s in op.strides)


def _joined(op: Concat, operands: Sequence[Value], least: int) -> Value | None:
    """A concat of steps of extent 1 as one of steps without that axis, along the first."""
    if len(operands) < least or any(o.type.shape[op.axis] != 1 for o in operands):
        return None
    shape = _without(operands[0].type.shape, op.axis)
    steps = [
        o.node.operands[0] if o.node is not None and isinstance(o.node.op, Reshape) else o for o in operands
    ]
    plain = [v.type.shape == shape for v in steps]
    if all(plain) and op.axis == 0:
        return None
    steps = [v if same else b.reshape(o, shape) for v, o, same in zip(steps, operands, plain, strict=True)]
    stack = b.concat([b.reshape(v, (1, *shape)) for v in steps], 0)
    order = list(range(1, stack.type.rank))
    order.insert(op.axis, 0)
    return b.permute(stack, order)


def _first(rank: int, axis: int) -> list[int]:
    return [axis, *(a for a in range(rank) if a != axis)]


def _without(entries: tuple[T, ...], axis: int) -> tuple[T, ...]:
    return entries[:axis] + entries[axis + 1 :]
