"""Write the steps of a loop out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.ops.control import Scan
from ..ir.types import TensorType
from .base import Pass, Remarks
from .inline import inline
from .regions import map_regions

__all__ = ["Unroll", "unrolled"]


@dataclass(frozen=True)
class Unroll(Pass):
    """Replace scans of constant length by copies of their body.

    Args:
        max: longer scans stay
    """

    name: ClassVar[str] = "unroll"
    max: int = 64

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def expand(g: Graph) -> Graph:
            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                if not isinstance(node.op, Scan):
                    return None
                length = node.op.length
                if not isinstance(length, int):
                    remarks.note(f"unroll: scan refused: its length {length} is not constant")
                    return None
                if length > self.max:
                    remarks.note(f"unroll: scan refused: {length} steps are more than max={self.max}")
                    return None
                return unrolled(node, operands) if remarks.allow("unroll") else None

            return rebuild(g, rewrite)

        return map_regions(graph, expand)


def unrolled(node: Node, operands: Sequence[Value]) -> list[Value]:
    """What stands for the results of a scan of constant length, step by step."""
    op = node.op
    assert isinstance(op, Scan) and isinstance(op.length, int), "only scans of constant length unroll"
    (body,) = node.regions
    carry = list(operands[: op.carries])
    xs = operands[op.carries : op.carries + op.xs]
    consts = operands[op.carries + op.xs :]
    rows: list[list[Value]] = [[] for _ in body.outputs[op.carries :]]
    steps = range(op.length)
    for t in reversed(steps) if op.reverse else steps:
        found = inline(body, [*carry, *(_row(x, t) for x in xs), *consts])
        carry = found[: op.carries]
        for row, y in zip(rows, found[op.carries :], strict=True):
            row.append(b.reshape(y, (1, *y.type.shape)))
    stacked: list[Value] = []
    for row, y in zip(rows, body.outputs[op.carries :], strict=True):
        if row:
            stacked.append(b.concat(row[::-1] if op.reverse else row, axis=0))
        else:
            stacked.append(b.full(TensorType(y.type.dtype, (0, *y.type.shape)), 0))
    return [*carry, *stacked]


def _row(x: Value, t: int) -> Value:
    rest = x.type.shape[1:]
    row = b.slice_(x, (t, *(0 for _ in rest)), (t + 1, *rest))
    return b.reshape(row, rest)
