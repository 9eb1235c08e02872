"""A matrix operand as panels of columns, filled where its content last changes: by `prepare`, or before a loop around."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from ....ir.graph import Node, Value
from ....ir.types import DType
from .. import kernel_ir as k
from ..affine import flat_strides
from ..schedule import choose_schedule
from .memory import KernelScope, Memory
from .pull import Index

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["panels_of"]


def panels_of(
    lowering: Lowering,
    scope: KernelScope,
    node: Node,
    y: Value,
    acc: DType,
    depth: Sequence[k.LoopDim],
    column: k.LoopDim,
    at: Index,
    parts: int = 1,
) -> k.Packed | None:
    """The panels; None where the operand changes as often as it is read, or has an extent that is not known.

    Args:
        scope:  the kernel that reads them
        y:      the operand, an element of which stands `at` an index in the variables of depth and column
        parts:  blocks of as many columns, one after another, that get panels of their own
    """
    memory = lowering.memory_of(y)
    extents = [d.extent for d in (*depth, column)]
    if memory is None or not all(isinstance(e, int) for e in extents):
        return None
    outside = None if lowering.is_fixed(memory) else lowering.outside(memory)
    if outside is None and not lowering.is_fixed(memory):
        return None
    *lengths, width = (e for e in extents if isinstance(e, int))
    long = prod(lengths)
    if not long or not width:
        return None
    columns = choose_schedule(lowering.target, acc, None, width, long, in_place=True).columns
    panels = -(-width // columns)
    shape = (panels, *((parts,) if parts > 1 else ()), long, columns)
    place = Memory("prepared" if outside is None else "arena", acc, prod(shape))
    filling = KernelScope()
    pull = lowering.pull(filling)
    part, panel, lane = k.Var("part"), k.Var("panel"), k.Var("j")
    around = [k.LoopDim(panel, panels), *([k.LoopDim(part, parts)] if parts > 1 else [])]
    within = panel * columns + lane
    whole = within + part * width if parts > 1 else within
    steps = tuple(whole if i is column.var else i for i in at)
    inside = None if width % columns == 0 else within < width
    element = pull.read(y, steps, inside).cast(acc)
    flat: k.Expr = depth[0].var
    for dim, length in zip(depth[1:], lengths[1:], strict=True):
        flat = flat * length + dim.var
    target = filling.output(place, shape)
    index = tuple(d.var for d in around)
    lanes = min(lowering.target.lanes(acc.bytes), columns)
    row = flat_strides(element, [k.LoopDim(lane, columns)])
    if (
        isinstance(element, k.Load)
        and row not in (None, 1)
        and flat_strides(element, depth) == 1
        and lanes > 1
    ):
        first = [k.Let(lane, k.as_index(0)), *(k.Let(d.var, k.as_index(0)) for d in depth)]
        into = target[*index, 0, 0]
        turn = k.Turn(
            lanes, element, k.as_index(row), into, k.as_index(columns), k.as_index(columns), k.as_index(long)
        )
        statements: list[k.Stmt] = [*first, turn]
    else:
        statements = [k.For(lane, columns, (target.store((*index, flat, lane), element),), "vector")]
        for dim in reversed(depth):
            statements = [k.For(dim.var, dim.extent, tuple(statements))]
    for dim in reversed(around):
        statements = [k.For(dim.var, dim.extent, tuple(statements), "parallel")]
    if outside is None:
        lowering.prepare(filling, "pack", statements, node.origins)
    else:
        lowering.launch(filling, "pack", statements, node.origins, steps=outside)
    return k.Packed(scope.view(place, shape))
