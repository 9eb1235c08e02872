"""A carry that is written beside what the next step puts next to it.

A loop whose product reads x[t] and a carry side by side would copy both into one matrix at each step. Here that matrix has two slots,
as a carry has: a step copies x[t] into its columns of one, reads it whole, and what makes the next carry writes it into
its columns of the other. A writer whose form does not allow that writes as always, and its result is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ....ir.dims import Dim, product
from ....ir.graph import Graph, Node, Value
from ....ir.ops.move import Concat
from .. import kernel_ir as k
from ..kernel_ir import Buffer, Contract, For, Load, Stmt, Store
from ..walk import all_exprs
from .loops import nest
from .memory import KernelScope, Launch, Memory, Step

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Columns", "beside", "redirected"]


def beside(body: Graph, carries: int, xs: int) -> dict[int, tuple[Node, int]]:
    """For each carry that serves: the concat along the last axis that alone reads it, beside rows of xs, and its first column."""
    uses = body.uses()
    found: dict[int, tuple[Node, int]] = {}
    rows = body.inputs[carries : carries + xs]
    for node in body.nodes:
        if (
            not isinstance(node.op, Concat)
            or node.op.axis != node.results[0].type.rank - 1
            or not node.op.axis
        ):
            continue
        held = [v for v in node.operands if v in body.inputs[:carries]]
        widths = [v.type.shape[-1] for v in node.operands]
        if len(held) != 1 or not all(v in rows or v in held for v in node.operands):
            continue
        (carry,) = held
        alone = len(uses.get(carry, ())) == 1 and carry not in body.outputs
        if alone and all(isinstance(d, int) for d in widths):
            at = node.operands.index(carry)
            found[body.inputs.index(carry)] = node, sum(d for d in widths[:at] if isinstance(d, int))
    return found


@dataclass(frozen=True)
class Columns:
    """Some columns of a matrix in memory.

    Args:
        memory: of the whole matrix
        total:  its columns
        first:  the first of these
        shape:  of these
    """

    memory: Memory
    total: int
    first: int
    shape: tuple[Dim, ...]

    @cached_property
    def part(self) -> Memory:
        """From the first element of these to the last of the matrix."""
        return self.memory.part(self.first, self.memory.size - self.first, self.first or self.total)

    @property
    def strides(self) -> tuple[Dim, ...]:
        return (*(product(self.shape[a + 1 : -1]) * self.total for a in range(len(self.shape) - 1)), 1)

    def buffer(self, name: str) -> Buffer:
        return Buffer(name, self.memory.dtype, self.shape, self.strides, self.part.align)

    def copy(self, lowering: Lowering, value: Value) -> None:
        """Add a kernel that writes a value here."""
        scope, index = self._kernel()
        element = lowering.pull(scope).read(value, index)
        self._launch(lowering, scope, index, self._view(scope).store(index, element))

    def copied(self, lowering: Lowering) -> Memory:
        """Add a kernel that copies these to memory of their own."""
        scope, index = self._kernel()
        result = Memory("arena", self.memory.dtype, product(self.shape))
        store = scope.output(result, self.shape).store(index, self._view(scope)[index])
        self._launch(lowering, scope, index, store)
        return result

    def _kernel(self) -> tuple[KernelScope, tuple[k.Var, ...]]:
        return KernelScope(), tuple(k.Var(f"i{a}") for a in range(len(self.shape)))

    def _view(self, scope: KernelScope) -> Buffer:
        found = scope.buffers[self.part, self.shape] = self.buffer(f"b{len(scope.buffers)}")
        return found

    def _launch(self, lowering: Lowering, scope: KernelScope, index: Sequence[k.Var], store: Store) -> None:
        if store.buffer is scope.buffers[self.part, self.shape]:
            scope.written[self.part] = None
        loops = list(zip(index, self.shape, strict=True))
        lowering.launch(scope, "map", nest([store], loops, vector=True), ())


def redirected(steps: Sequence[Step], plain: Memory, columns: Columns) -> tuple[Step, ...] | None:
    """The steps with the only kernel that touches `plain` writing into columns instead; None where that is not possible."""
    touching = [s for s in steps if isinstance(s, Launch) and plain in s.arguments]
    others = [s for s in steps if not isinstance(s, Launch)]
    if len(touching) != 1 or others:
        return None
    (launch,) = touching
    old = [b for b, m in zip(launch.kernel.buffers, launch.arguments, strict=True) if m is plain]
    if len(old) != 1 or old[0].shape != columns.shape:
        return None
    if any(isinstance(e, Load) and e.buffer is old[0] for e in all_exprs(launch.kernel.body)):
        return None
    new = columns.buffer(old[0].name)

    def moved(body: Sequence[Stmt]) -> tuple[Stmt, ...] | None:
        result: list[Stmt] = []
        for s in body:
            match s:
                case Store():
                    result.append(replace(s, buffer=new) if s.buffer is old[0] else s)
                case Contract():
                    after = moved(s.epilogue)
                    if after is None:
                        return None
                    result.append(replace(s, epilogue=after))
                case For():
                    inside = moved(s.body)
                    if inside is None:
                        return None
                    result.append(replace(s, body=inside))
                case k.Let():
                    result.append(s)
                case _:
                    return None
        return tuple(result)

    body = moved(launch.kernel.body)
    if body is None:
        return None
    kernel = replace(
        launch.kernel,
        body=body,
        buffers=tuple(new if b is old[0] else b for b in launch.kernel.buffers),
    )

    def there(memories: Sequence[Memory]) -> tuple[Memory, ...]:
        return tuple(columns.part if m is plain else m for m in memories)

    changed = replace(launch, kernel=kernel, arguments=there(launch.arguments), writes=there(launch.writes))
    return tuple(changed if s is launch else s for s in steps)
