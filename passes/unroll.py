"""Write the steps of a loop out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import Dim, dim_text
from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.ops.control import Scan
from ..ir.types import TensorType
from .base import Pass, Remarks
from .inline import inline
from .regions import map_regions

__all__ = ["Unroll", "unrolled", "unrolled_by"]


@dataclass(frozen=True)
class Unroll(Pass):
    """Replace scans by copies of their body. Exact.

    Args:
        max:    all steps of scans that are no longer than this are written out
        factor: of longer ones, so many steps are put into each step of a shorter scan, where it divides the length
    """

    name: ClassVar[str] = "unroll"
    max: int = 32
    factor: int = 1

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, Scan):
                return None
            length = node.op.length
            if isinstance(length, int) and length <= self.max:
                return unrolled(node, operands) if remarks.allow("unroll") else None
            if self.factor > 1 and isinstance(length, int) and length % self.factor == 0:
                return unrolled_by(node, operands, self.factor) if remarks.allow("unroll-factor") else None
            remarks.note(f"unroll: refused: {_reason(length, self.max, self.factor)}")
            return None

        return map_regions(graph, lambda g: rebuild(g, rewrite))


def _reason(length: Dim, most: int, factor: int) -> str:
    if not isinstance(length, int):
        return f"the length {dim_text(length)} of a scan is not constant"
    if factor > 1:
        return f"{factor} does not divide the {length} steps of a scan"
    return f"a scan has {length} steps, more than max={most}"


def unrolled(node: Node, operands: Sequence[Value]) -> list[Value]:
    """What stands for the results of a scan of constant length, step by step."""
    op = node.op
    assert isinstance(op, Scan) and isinstance(op.length, int), "only scans of constant length unroll"
    (body,) = node.regions
    carry = list(operands[: op.carries])
    xs = operands[op.carries : op.carries + op.xs]
    consts = operands[op.carries + op.xs :]
    return _steps(body, carry, xs, consts, op.length, op.reverse)


def _steps(
    body: Graph,
    carry: Sequence[Value],
    xs: Sequence[Value],
    consts: Sequence[Value],
    length: int,
    reverse: bool,
) -> list[Value]:
    carry = list(carry)
    count = len(carry)
    rows: list[list[Value]] = [[] for _ in body.outputs[count:]]
    for t in reversed(range(length)) if reverse else range(length):
        found = inline(body, [*carry, *(_row(x, t) for x in xs), *consts])
        carry = found[:count]
        for row, y in zip(rows, found[count:], strict=True):
            row.append(b.reshape(y, (1, *y.type.shape)))
    stacked: list[Value] = []
    for row, y in zip(rows, body.outputs[count:], strict=True):
        if row:
            stacked.append(b.concat(row[::-1] if reverse else row, axis=0))
        else:
            stacked.append(b.full(TensorType(y.type.dtype, (0, *y.type.shape)), 0))
    return [*carry, *stacked]


def _row(x: Value, t: int) -> Value:
    rest = x.type.shape[1:]
    row = b.slice_(x, (t, *(0 for _ in rest)), (t + 1, *rest))
    return b.reshape(row, rest)


def unrolled_by(node: Node, operands: Sequence[Value], factor: int) -> list[Value]:
    """What stands for the results of a scan: another one, `factor` times shorter, with as many steps in its body."""
    op = node.op
    assert isinstance(op, Scan) and isinstance(op.length, int) and op.length % factor == 0
    (body,) = node.regions
    trips = op.length // factor
    first, last = op.carries, op.carries + op.xs

    def inner(value: Value, k: int) -> Value:
        block = (factor,) if first <= k < last else ()
        return Value(value.type.with_shape((*block, *value.type.shape)), name=value.name)

    inputs = [inner(v, k) for k, v in enumerate(body.inputs)]
    outputs = _steps(body, inputs[:first], inputs[first:last], inputs[last:], factor, op.reverse)
    blocks = [b.reshape(x, (trips, factor, *x.type.shape[1:])) for x in operands[first:last]]
    found = make(
        replace(op, length=trips),
        *operands[:first],
        *blocks,
        *operands[last:],
        regions=(Graph(body.name, inputs, outputs),),
        names=[r.name for r in node.results],
    )
    ys = [b.reshape(y, r.type.shape) for y, r in zip(found[first:], node.results[first:], strict=True)]
    return [*found[:first], *ys]
