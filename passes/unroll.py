"""Write the steps of a loop out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..ir import build as b
from ..ir.dims import Dim, dim_text
from ..ir.errors import InputError
from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.ops.control import Scan
from ..ir.ops.move import Reshape
from ..ir.types import TensorType
from .base import Pass, Remarks
from .inline import inline
from .regions import map_regions
from .rules.base import ELEMENTWISE
from .scan_form import VIRTUAL

if TYPE_CHECKING:
    from .manager import Pipeline

__all__ = ["Unroll", "unrolled", "unrolled_by", "within_budget"]

NODE_SECONDS = 0.4e-3
"""What a node costs in compile time on llvm, about: 0.53 s for the 1,286 nodes of an LSTM of 64 steps written out, 2.0 s
for the 5,126 of 256."""


@dataclass(frozen=True)
class Unroll(Pass):
    """Replace scans by copies of their body. Exact.

    Args:
        max:    all steps of scans that are no longer than this are written out
        factor: of other ones, so many steps are put into each step of a shorter scan; what is left over becomes a scan
                of its own. 0 asks each scan for its own `unroll`
        auto:   write out what is cheap: loops of maps alone, whose steps become one kernel, within the budget
        budget: milliseconds of compile time that auto may spend
        cap:    nodes that the result may have

    Raises:
        InputError: it would have more; the error names the scan's line and the numbers. Or a number below 0
    """

    name: ClassVar[str] = "unroll"
    max: int = 32
    factor: int = 1
    auto: bool = False
    budget: int = 1000
    cap: int = 100_000

    def __post_init__(self) -> None:
        for name in ("max", "factor", "budget", "cap"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"unroll: {name} is {getattr(self, name)}, expected at least 0", code="NV0402"
                )

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        room = [self.cap - sum(1 for _ in graph.walk()), int(self.budget * 1e-3 / NODE_SECONDS)]

        def spend(node: Node, steps: int) -> None:
            more = steps * sum(1 for _ in node.regions[0].walk())
            if more > room[0]:
                raise InputError(
                    f"unroll: {steps} steps of {more // steps} nodes are {more} nodes, beyond the cap of {self.cap}",
                    where=[str(o) for o in node.origins],
                    hint="unroll by a factor, or leave the loop to the backend",
                )
            room[0] -= more
            room[1] -= more

        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, Scan):
                return None
            length, factor = node.op.length, self.factor or node.op.unroll
            whole = isinstance(length, int) and (length <= self.max or (factor >= length and factor > 1))
            if whole or (self.auto and _is_cheap(node, room[1])):
                if not remarks.allow("unroll"):
                    return None
                assert isinstance(length, int)
                spend(node, length)
                return unrolled(node, operands)
            if factor > 1:
                if not remarks.allow("unroll-factor"):
                    return None
                spend(node, factor)
                return unrolled_by(node, operands, factor)
            if not self.auto:
                remarks.note(f"unroll: refused: {_reason(length, self.max)}")
            return None

        return map_regions(graph, lambda g: rebuild(g, rewrite))


def within_budget(pipeline: Pipeline, seconds: float | None) -> Pipeline:
    """The pipeline, in which writing out loops may cost so much compile time.

    Raises:
        InputError: the number is negative
    """
    if seconds is None:
        return pipeline
    if not seconds >= 0:
        raise InputError(f"compile_budget is {seconds}, expected seconds, at least 0")
    from .manager import Pipeline

    budget = min(int(1000 * seconds), 10**9)
    return Pipeline(tuple(replace(p, budget=budget) if isinstance(p, Unroll) else p for p in pipeline.passes))


def _is_cheap(node: Node, nodes: int) -> bool:
    """Whether all steps together become few kernels: a short loop of elementwise nodes over few elements."""
    op, (body,) = node.op, node.regions
    assert isinstance(op, Scan)
    if not isinstance(op.length, int) or op.length * len(body.nodes) > min(nodes, 128):
        return False
    plain = all(isinstance(n.op, (*ELEMENTWISE, *VIRTUAL, Reshape)) for n in body.nodes)
    small = all(r.type.is_static and r.type.size <= 4096 for n in body.nodes for r in n.results)  # type: ignore[operator]
    return plain and small


def _reason(length: Dim, most: int) -> str:
    if not isinstance(length, int):
        return f"the length {dim_text(length)} of a scan is not constant"
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
    """What stands for the results of a scan: another one, `factor` times shorter, with as many steps in its body, and
    the steps that are left over, which come last.
    """
    op = node.op
    assert isinstance(op, Scan)
    first, last = op.carries, op.carries + op.xs
    trips = op.length // factor
    rest = op.length - trips * factor
    low, high = (rest, op.length) if op.reverse else (0, trips * factor)
    carry, blocks = _blocks(node, operands, factor, trips, low, high)
    if isinstance(rest, int) and not rest:
        return [*carry, *blocks]
    begin, end = (0, rest) if op.reverse else (high, op.length)
    parts = [_rows(x, begin, end) for x in operands[first:last]]
    left = make(
        replace(op, length=rest, unroll=1), *carry, *parts, *operands[last:], regions=node.regions,
        names=[r.name for r in node.results],
    )  # fmt: skip
    ys = zip(blocks, left[first:], strict=True)
    return [*left[:first], *(b.concat([q, p] if op.reverse else [p, q], axis=0) for p, q in ys)]


def _blocks(
    node: Node, operands: Sequence[Value], factor: int, trips: Dim, low: Dim, high: Dim
) -> tuple[list[Value], list[Value]]:
    """Carries and ys of a scan over blocks of steps low..high - 1."""
    op, (body,) = node.op, node.regions
    assert isinstance(op, Scan)
    first, last = op.carries, op.carries + op.xs

    def inner(value: Value, k: int) -> Value:
        block = (factor,) if first <= k < last else ()
        return Value(value.type.with_shape((*block, *value.type.shape)), name=value.name)

    inputs = [inner(v, k) for k, v in enumerate(body.inputs)]
    outputs = _steps(body, inputs[:first], inputs[first:last], inputs[last:], factor, op.reverse)
    rows = [_rows(x, low, high) for x in operands[first:last]]
    found = make(
        replace(op, length=trips, unroll=1),
        *operands[:first],
        *(b.reshape(x, (trips, factor, *x.type.shape[1:])) for x in rows),
        *operands[last:],
        regions=(Graph(body.name, inputs, outputs),),
        names=[r.name for r in node.results],
    )
    ys = [b.reshape(y, (trips * factor, *y.type.shape[2:])) for y in found[first:]]
    return list(found[:first]), ys


def _rows(x: Value, low: Dim, high: Dim) -> Value:
    shape = x.type.shape
    if low == 0 and high == shape[0]:
        return x
    return b.slice_(x, (low, *(0 for _ in shape[1:])), (high, *shape[1:]))
