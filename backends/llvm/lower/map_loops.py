"""The loops of an elementwise kernel, and whether what it computes needs the parts of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from ....ir.dims import Dim, product
from ....ir.graph import Value
from ....ir.ops.move import Concat
from ....ir.origin import Origins
from ....ir.types import i64
from .. import kernel_ir as k
from ..affine import stride
from ..walk import rewrite
from .loops import nest
from .memory import KernelScope, Memory
from .pull import Pull

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Loops", "longest_loops", "map_kernel", "uses_any"]

MAX_WAYS = 4
"""Rows that are interleaved in registers; more are gathered."""
WIDE = 16
"""Columns from which on a piece of each row has a loop of its own."""


def uses_any(element: k.Expr, parts: set[k.Expr]) -> bool:
    """Whether an expression is made from one of the parts."""
    stack: list[object] = [element]
    seen: set[k.Expr] = set()
    while stack:
        current = stack.pop()
        if isinstance(current, tuple):
            stack += current  # type: ignore[arg-type]
        elif isinstance(current, k.Expr) and current not in seen:
            if current in parts:
                return True
            seen.add(current)
            stack += [getattr(current, f.name) for f in fields(current)]  # type: ignore[arg-type]
    return False


class Loops:
    """Loops over a shape: the first `kept` axes each, the rest as one, so that the innermost is long and of unit stride.

    Axes of one place have no loop, but the last where `column` asks for it.
    """

    def __init__(self, pull: Pull, shape: Sequence[Dim], kept: int, column: bool = False) -> None:
        last = len(shape) - 1
        long = [axis for axis, d in enumerate(shape) if d != 1 or (column and axis == last)]
        long = long or [*range(len(shape))[-1:]]
        rest = long[kept:]
        dims = [shape[axis] for axis in long[:kept]]
        if rest:
            dims.append(product(tuple(shape[axis] for axis in rest)))
        self.vars = [k.Var(f"i{axis}") for axis in range(len(dims))]
        self.extents = dims
        index: list[k.Expr] = [k.const(0, i64)] * len(shape)
        for axis, var in zip(long, self.vars, strict=False):
            index[axis] = var
        self.parts = set[k.Expr]()
        if len(rest) > 1:
            sizes = tuple(shape[axis] for axis in rest)
            split = pull.reshaped((self.vars[-1],), (dims[-1],), sizes)
            for axis, part in zip(rest, split, strict=True):
                index[axis] = part
            self.parts = set(split) - {self.vars[-1]}
            pull.flatten(split, sizes, self.vars[-1])
        self.index: tuple[k.Expr, ...] = tuple(index)

    def store(self, scope: KernelScope, memory: Memory, element: k.Expr) -> k.Store:
        return scope.output(memory, self.extents).store(tuple(self.vars), element)

    def woven(self, scope: KernelScope, memory: Memory, element: k.Expr, lanes: int) -> list[k.Stmt] | None:
        """The loops where the last axis is short and steps through rows that the axis before runs along; else None."""
        if len(self.vars) < 2 or not isinstance(element, k.Load) or element.inside is not None:
            return None
        along, across, ways = self.vars[-2], self.vars[-1], self.extents[-1]
        row = stride(element, across)
        if (
            not isinstance(ways, int)
            or not 2 <= ways <= MAX_WAYS
            or row is None
            or stride(element, along) != 1
        ):
            return None
        start = k.const(0, i64)
        index = tuple(rewrite(e, lambda x: start if x in (along, across) else None) for e in element.index)
        target = k.Load(scope.output(memory, self.extents), (*self.vars[:-2], start, start))
        source = k.Load(element.buffer, index)
        length = k.as_index(self.extents[-2])
        statement = k.Interleave(ways, lanes, source, k.as_index(row), target, length)
        return nest([statement], list(zip(self.vars[:-2], self.extents[:-2], strict=True)))

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        """The body inside the loops, the innermost a vector loop."""
        return nest(body, list(zip(self.vars, self.extents, strict=True)), vector=True)


def longest_loops(
    lowering: Lowering, values: Sequence[Value], shape: Sequence[Dim], *, column: bool = False
) -> tuple[KernelScope, Loops, list[k.Expr]]:
    """The fewest loops over a shape in which no index is taken apart, and the elements of the values there.

    Args:
        column: whether the last axis has a loop of its own
    """
    kept = max(0, len(shape) - 1) if column else 0
    while True:
        scope = KernelScope()
        pull = lowering.pull(scope)
        loops = Loops(pull, shape, kept, column)
        elements = [pull.read(value, loops.index) for value in values]
        kept += 1
        if not any(uses_any(e, loops.parts) for e in elements):
            return scope, loops, elements


def map_kernel(lowering: Lowering, read: Value, target: Memory, origins: Origins) -> None:
    """The kernel that computes a value into memory that lies as its type says, or has as many elements."""
    if _rows_of_pieces(lowering, read, target, origins):
        return
    scope, loops, (element,) = longest_loops(lowering, [read], read.type.shape)
    size = read.type.dtype.bytes
    woven = loops.woven(scope, target, element, lowering.target.lanes(size)) if size >= 4 else None
    body = loops.around([loops.store(scope, target, element)]) if woven is None else woven
    lowering.launch(scope, "map", body, origins)


def _rows_of_pieces(lowering: Lowering, read: Value, target: Memory, origins: Origins) -> bool:
    """A concat along the last axis of pieces that are wide enough: a loop each, instead of a choice at each element."""
    value = lowering.resolve(read)
    node = value.node
    if node is None or not isinstance(node.op, Concat) or lowering.memory_of(value) is not None:
        return False
    *rows, _ = shape = value.type.shape
    widths = [operand.type.shape[-1] for operand in node.operands]
    if not rows or node.op.axis != len(rows) or not all(isinstance(w, int) and w >= WIDE for w in widths):
        return False
    scope = KernelScope()
    pull = lowering.pull(scope)
    around = [k.Var(f"i{axis}") for axis in range(len(rows))]
    body: list[k.Stmt] = []
    start: Dim = 0
    for operand, width in zip(node.operands, widths, strict=True):
        j = k.Var("j")
        store = scope.output(target, shape).store(
            (*around, pull.affine(j, 1, start)), pull.read(operand, (*around, j))
        )
        body.append(k.For(j, width, (store,), "vector"))
        start = start + width
    scope.computed[value] = None
    lowering.launch(scope, "map", nest(body, list(zip(around, rows, strict=True))), origins)
    return True
