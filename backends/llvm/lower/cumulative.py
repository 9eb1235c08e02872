"""Running sums and products: loops over the other axes, and along the axis a fold that stores each step."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.common import accumulator
from ....ir.ops.cumulative import Cumulative
from .. import kernel_ir as k
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope

__all__ = ["around_lines", "cumulative"]


def cumulative(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """In the order of the axis; lines side by side where they lie so in memory."""
    op = node.op
    assert isinstance(op, Cumulative)
    (tail,) = tails
    x, dtype = node.operands[0], node.results[0].type.dtype
    shape, acc = x.type.shape, accumulator(dtype, None)
    scope = KernelScope()
    pull = lowering.pull(scope)
    loops = [k.Var(f"i{axis}") for axis in range(len(shape))]
    step = loops[op.axis]
    place = pull.affine(step, -1, shape[op.axis] - 1) if op.reverse else step
    at = (*loops[: op.axis], place, *loops[op.axis + 1 :])
    element, so_far = k.Var("x", acc), k.Var("sum", acc)
    total = so_far * element if op.mnemonic == "cumprod" else so_far + element
    # the element is read before the result is written, which may be to the same memory
    read = k.Let(element, pull.read(x, at).cast(acc))
    stored = so_far if op.exclusive else total
    store = scope.output(tail.memory, shape).store(at, stored.cast(dtype))
    carry = k.Carry(so_far, k.const(op.identity, acc), total)
    fold = k.For(step, shape[op.axis], (read, store), "serial", (carry,))
    lowering.launch(scope, op.mnemonic, around_lines([fold], loops, shape, op.axis), node.origins)


def around_lines(
    body: Sequence[k.Stmt], loops: Sequence[k.Var], shape: Sequence[Dim], axis: int, *, vectors: bool = True
) -> list[k.Stmt]:
    """The body of one line along the axis inside loops over all lines; those of the last axis side by side, unless
    the body has vector loops or memory that lines share."""
    around = [(loops[other], shape[other]) for other in range(len(shape)) if other != axis]
    return nest(body, around, vector=vectors and axis != len(shape) - 1, parallel=vectors)
