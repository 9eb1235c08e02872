"""Move permutes and reshapes towards the outputs, where they meet and cancel or a contraction takes them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.op import Op
from ..ir.ops.contract import DotGeneral
from ..ir.ops.move import BroadcastInDim, Permute, Reshape
from .base import Pass, Remarks
from .driver import to_fixed_point
from .rules.base import ELEMENTWISE, is_constant, producer
from .rules.broadcast import permute_of_broadcast, reshape_of_broadcast

__all__ = ["SinkTransposes"]


@dataclass(frozen=True)
class SinkTransposes(Pass):
    """f(permute(x), permute(y)) = permute(f(x, y)), the same for reshape, f elementwise; broadcasts move along.

    A permute or reshape sinks only where nothing else uses it, so that no node is added; one of a store entry stays,
    because split-prepare does it once. dot_general takes in a permute that keeps the order of its free axes. Exact.
    """

    name: ClassVar[str] = "sink-transposes"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def sweep(g: Graph) -> Graph:
            uses = {value: len(users) for value, users in g.uses().items()}

            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                found: Value | None = None
                if isinstance(node.op, DotGeneral):
                    found = _into_dot(node.op, operands)
                elif isinstance(node.op, ELEMENTWISE):
                    free = all(
                        uses.get(old, 0) == node.operands.count(old)
                        for old, new in zip(node.operands, operands, strict=True)
                        if producer(new, Permute) is not None or producer(new, Reshape) is not None
                    )
                    found = (
                        _below(node, operands, Permute) or _below(node, operands, Reshape) if free else None
                    )
                return [found] if found is not None and remarks.allow("sink-transposes") else None

            return rebuild(g, rewrite)

        return to_fixed_point(graph, sweep, remarks, name=self.name)


def _below(node: Node, operands: tuple[Value, ...], kind: type[Op]) -> Value | None:
    """permute(f(...)) for f(permute(...), ...): every operand is permuted alike, or a broadcast."""
    movers = [m for m in (producer(o, kind) for o in operands) if m is not None]
    if not movers or all(m.operands[0].is_leaf and m.operands[0].entry is not None for m in movers):
        return None
    first = movers[0]
    shape = first.operands[0].type.shape
    inner: list[Value] = []
    for operand in operands:
        mover = producer(operand, kind)
        if mover is not None:
            if mover.op != first.op or mover.operands[0].type.shape != shape:
                return None
            inner.append(mover.operands[0])
            continue
        moved = _moved_back(operand, first)
        if moved is None:
            return None
        inner.append(moved)
    if is_constant(first.operands[0]):
        return None
    return make_one(first.op, make_one(node.op, *inner))


def _moved_back(value: Value, mover: Node) -> Value | None:
    """A broadcast as it stands before the permute or reshape, if it is one there too."""
    spread = producer(value, BroadcastInDim)
    if spread is None:
        return None
    if isinstance(mover.op, Permute):
        back = make_one(Permute(inverse(mover.op.axes)), value)
        assert back.node is not None
        found = permute_of_broadcast(back.node, (value,))
        source = None if found is None else producer(found, BroadcastInDim)
        return found if source is not None and source.operands[0] is spread.operands[0] else None
    back = make_one(Reshape(mover.operands[0].type.shape), value)
    assert back.node is not None
    return reshape_of_broadcast(back.node, (value,))


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes this one."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _into_dot(op: DotGeneral, operands: tuple[Value, ...]) -> Value | None:
    """dot_general(permute(x), y) = dot_general(x, y) with other axes, where the result's axes keep their order."""
    x, y = operands
    free_x, free_y = op.free_axes(x.type.rank, y.type.rank)
    left = _absorbed(x, free_x)
    if left is not None:
        source, p = left
        axes = replace(op, lhs_contract=_through(p, op.lhs_contract), lhs_batch=_through(p, op.lhs_batch))
        return make_one(axes, source, y)
    right = _absorbed(y, free_y)
    if right is not None:
        source, p = right
        axes = replace(op, rhs_contract=_through(p, op.rhs_contract), rhs_batch=_through(p, op.rhs_batch))
        return make_one(axes, x, source)
    return None


def _absorbed(value: Value, free: Sequence[int]) -> tuple[Value, tuple[int, ...]] | None:
    node = producer(value, Permute)
    if node is None or not isinstance(node.op, Permute):
        return None
    kept = _through(node.op.axes, free)
    return (node.operands[0], node.op.axes) if list(kept) == sorted(kept) else None


def _through(permutation: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(permutation[a] for a in axes)
