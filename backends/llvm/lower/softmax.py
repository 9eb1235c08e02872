"""A region with two reductions over rows, such as a softmax, as one kernel: some rows at a time, their exponentials kept beside them.

Each row is a chain: its maximum, exponentials, their sum, the quotients. Short rows go through each stage together, so that the
machine has other rows to work at while it waits for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.graph import Graph, Node, Value
from ....ir.ops.reduce import Accumulation, Reduction
from .. import kernel_ir as k
from ..extents import ceil_div, rest_of
from .loops import nest
from .memory import KernelScope, Tail
from .pull import MAPS, ZERO

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["softmax"]

LONGEST = 4096
"""Elements of a row that waits in scratch memory."""
TOGETHER = 1024
"""Elements of the rows that go through a stage together,"""
ROWS = 16
"""and the most rows."""


def softmax(lowering: Lowering, node: Node, body: Graph) -> None:
    """Compute a region's result by one kernel; nothing is written where the region has another form."""
    (output,) = body.outputs
    reductions = [n for n in body.nodes if isinstance(n.op, Reduction)]
    others = [n for n in body.nodes if n not in reductions and n.op.mnemonic not in MAPS]
    shape = output.type.shape
    if len(reductions) != 2 or others or not shape or not _over_rows(reductions, output):
        return
    memory = lowering.new_memory(output)
    sources = [lowering.memory_of(v) for v in body.inputs]
    if memory.layout is not None or any(m is not None and m.layout is not None for m in sources):
        return
    first, second = reductions
    width = shape[-1]
    assert isinstance(width, int)
    scope = KernelScope()
    pull = lowering.pull(scope)
    outer = [k.Var(f"i{a}") for a in range(len(shape) - 1)]
    extents: list[k.Index] = list(shape[:-1])
    inside = second.operands[0]
    count = max(1, min(ROWS, TOGETHER // width)) if outer and extents[-1] != 1 else 1
    first_row = outer[-1] * count if outer else ZERO
    together = rest_of(extents[-1], first_row, count) if outer else k.as_index(1)
    kept = k.Buffer("rows", inside.type.dtype, (count, width), align=64)

    from .reduce import MONOIDS

    def stage() -> tuple[k.Var, tuple[k.Expr, ...], k.Var]:
        """Which of the rows, its index, and the column."""
        row, column = k.Var("row"), k.Var("r")
        index: list[k.Expr] = [ZERO if d == 1 else i for i, d in zip(outer, extents, strict=True)]
        if count > 1:
            index[-1] = first_row + row
        return row, tuple(index), column

    def over(row: k.Var, *body: k.Stmt) -> k.Stmt:
        return k.For(row, together, body)

    def reduced(name: str, reduction: Node, given: Value | None = None) -> tuple[k.Stmt, k.Buffer]:
        """The loop that reduces rows into a buffer; `given` lies in `kept`."""
        x, result = reduction.operands[0], reduction.results[0]
        op, dtype = reduction.op, result.type.dtype
        acc = op.accumulator(dtype) if isinstance(op, Accumulation) else dtype
        row, index, column = stage()
        if given is not None:
            pull.give(given, (*index, column), kept[row, column])
        total, results = k.Var("r", acc), k.Buffer(name, dtype, (count,), align=64)
        element = pull.read(x, (*index, column)).cast(acc)
        monoid = k.monoid(MONOIDS[op.mnemonic], acc)  # type: ignore[arg-type]
        reduce = k.Reduce((total,), monoid, (k.LoopDim(column, width),), (element,))
        return over(row, reduce, results.store((row,), total.cast(dtype))), results

    highest, maxima = reduced("largest", first)
    row, index, column = stage()
    pull.give(first.results[0], index, maxima[row])
    fill = k.For(column, width, (kept.store((row, column), pull.read(inside, (*index, column))),), "vector")
    fill = over(row, fill)
    total, sums = reduced("totals", second, inside)
    row, index, column = stage()
    pull.give(first.results[0], index, maxima[row])
    pull.give(second.results[0], index, sums[row])
    pull.give(inside, (*index, column), kept[row, column])
    lowering.storing = (output,)
    tail = Tail(output, memory)
    element = pull.read(output, (*index, column))
    store = scope.output(tail.memory, shape).store((*index, column), element)
    last = over(row, k.For(column, width, (store,), "vector"))
    if count > 1:
        extents[-1] = ceil_div(extents[-1], count)
    loops = [(i, d) for i, d in zip(outer, extents, strict=True) if d != 1]
    stages = nest([highest, fill, total, last], loops)
    lowering.launch(scope, "softmax", stages, node.origins, (kept, maxima, sums))
    lowering.memory[output] = memory


def _over_rows(reductions: list[Node], output: Value) -> bool:
    """Whether both reduce the last axis of the output's shape, a short one."""
    shape = output.type.shape
    width, last = shape[-1], len(shape) - 1
    if not isinstance(width, int) or not 16 <= width <= LONGEST:
        return False
    for node in reductions:
        op, x = node.op, node.operands[0]
        assert isinstance(op, Reduction)
        if op.axes != (last,) or x.type.shape != shape or node.results[0].type.shape != shape[:-1]:
            return False
    return output not in [r for n in reductions for r in n.results]
