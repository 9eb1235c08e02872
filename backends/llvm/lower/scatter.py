"""Writing at computed positions: a copy of x, then the updates one after the other in row-major order."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.graph import Node
from ....ir.ops.index import ScatterElements
from .. import kernel_ir as k
from .lowering import Lowering, Tail
from .memory import KernelScope

__all__ = ["scatter_elements"]

_COMBINE: dict[str, k.Combine | None] = {"set": None, "add": "add", "mul": "mul", "min": "min", "max": "max"}


def scatter_elements(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """Two kernels: the copy, a map; and serial loops over the updates, so that their order is fixed."""
    op = node.op
    assert isinstance(op, ScatterElements)
    (tail,) = tails
    x, indices, updates = node.operands
    lowering.map_kernel(node.results[0], tail.memory, source=x)
    scope = KernelScope()
    pull = lowering.pull(scope)
    loops = tuple(k.Var(f"i{axis}") for axis in range(indices.type.rank))
    where = pull.clamped(pull.read(indices, loops), x.type.shape[op.axis])
    at = (*loops[: op.axis], where, *loops[op.axis + 1 :])
    element = pull.read(updates, loops)
    out = scope.output(tail.memory, x.type.shape)
    statements: list[k.Stmt] = [out.store(at, element, combine=_COMBINE[op.mode])]
    for var, extent in reversed(list(zip(loops, indices.type.shape, strict=True))):
        statements = [k.For(var, extent, tuple(statements), "serial")]
    lowering.launch(scope, op.mnemonic, statements, node.origins)
