"""A region with two reductions over rows, such as a softmax, as one kernel: a row at a time, its exponentials kept beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.graph import Graph, Node, Value
from ....ir.ops.reduce import Accumulation, Reduction
from .. import kernel_ir as k
from .loops import nest
from .memory import KernelScope, Tail
from .pull import MAPS, ZERO

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["softmax"]

LONGEST = 4096
"""Elements of a row that waits in scratch memory."""


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
    rows = tuple(ZERO if d == 1 else k.Var(f"i{a}") for a, d in enumerate(shape[:-1]))
    inside = second.operands[0]
    kept = k.Buffer("row", inside.type.dtype, (width,), align=64)
    columns = [k.Var(f"r{n}") for n in range(4)]

    from .reduce import MONOIDS

    def reduced(reduction: Node, column: k.Var) -> k.Stmt:
        x, result = reduction.operands[0], reduction.results[0]
        op, dtype = reduction.op, result.type.dtype
        acc = op.accumulator(dtype) if isinstance(op, Accumulation) else dtype
        total = k.Var("r", acc)
        element = pull.read(x, (*rows, column)).cast(acc)
        monoid = k.monoid(MONOIDS[op.mnemonic], acc)  # type: ignore[arg-type]
        pull.give(result, rows, total.cast(dtype))
        return k.Reduce((total,), monoid, (k.LoopDim(column, width),), (element,))

    highest = reduced(first, columns[0])
    fill = k.For(
        columns[1], width, (kept.store((columns[1],), pull.read(inside, (*rows, columns[1]))),), "vector"
    )
    for column in columns[2:]:
        pull.give(inside, (*rows, column), kept[column])
    total = reduced(second, columns[2])
    lowering.storing = (output,)
    tail = Tail(output, memory)
    element = pull.read(output, (*rows, columns[3]))
    store = scope.output(tail.memory, shape).store((*rows, columns[3]), element)
    last = k.For(columns[3], width, (store,), "vector")
    loops = [(i, d) for i, d in zip(rows, shape, strict=False) if isinstance(i, k.Var)]
    lowering.launch(scope, "softmax", nest([highest, fill, total, last], loops), node.origins, (kept,))
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
