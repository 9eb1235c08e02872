"""A product of two matrices whose rows lie along k, where the dot tile is the quicker one."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ....ir.graph import Value
from ....ir.origin import Origins
from ....ir.types import DType
from .. import kernel_ir as k
from ..affine import flat_strides
from ..dot_schedule import DotSchedule, choose_dot
from ..extents import decompose, known, rest_of, times
from .lowering import Lowering
from .memory import KernelScope, Memory
from .pull import Index, Pull

__all__ = ["Operand", "Product", "dot_rows"]


class Operand(NamedTuple):
    """An operand, its free dims, and its index in terms of those and of the dims of k."""

    value: Value
    free: list[k.LoopDim]
    at: Index


class Product(NamedTuple):
    """What a contraction statement needs: rows of a and columns of b."""

    rows: list[k.LoopDim]
    column: k.LoopDim
    a: k.Expr
    b: k.Expr
    schedule: DotSchedule


def dot_rows(
    lowering: Lowering,
    scope: KernelScope,
    pull: Pull,
    x: Operand,
    y: Operand,
    depth: list[k.LoopDim],
    acc: DType,
    origins: Origins,
) -> Product | None:
    """The product of x and y, which has one free dim, with lanes along k; None where lanes over columns serve better.

    Weights that do not change are packed in pieces of such rows, unless they lie so. A single column is a single row instead,
    so that its results lie side by side.
    """
    fixed = _is_fixed(lowering, y.value)
    m, n, long = (known(times([d.extent for d in dims])) for dims in (x.free, y.free, depth))
    schedule = choose_dot(lowering.target, acc, m, n, long, turned=not fixed)
    if schedule is None:
        return None
    if n == 1:
        if len(x.free) != 1:
            return None
        x, y = y, x
        fixed = _is_fixed(lowering, y.value)
    trial = lowering.pull(KernelScope())
    a, b = trial.read(x.value, x.at).cast(acc), trial.read(y.value, y.at).cast(acc)
    if flat_strides(a, depth) != 1 or not isinstance(flat_strides(a, x.free), int):
        return None
    row = flat_strides(b, y.free)
    if flat_strides(b, depth) != 1 or not isinstance(row, int):
        row = None
    if not fixed and row is None:
        return None
    a = pull.read(x.value, x.at).cast(acc)
    if fixed and (row is None or row % schedule.lanes or long != schedule.kc):
        b = _packed(lowering, scope, y, depth, acc, schedule, origins)
    else:
        b = pull.read(y.value, y.at).cast(acc)
    return Product(x.free, y.free[0], a, b, schedule)


def _is_fixed(lowering: Lowering, value: Value) -> bool:
    memory = lowering.memory_of(value)
    return memory is not None and lowering.is_fixed(memory)


def _packed(
    lowering: Lowering,
    scope: KernelScope,
    y: Operand,
    depth: list[k.LoopDim],
    acc: DType,
    s: DotSchedule,
    origins: Origins,
) -> k.Expr:
    """The weights in pieces of k, each of whole rows side by side, which begin at whole registers; what lies between is never read."""
    (column,) = y.free
    columns, long = known(column.extent), known(times([d.extent for d in depth]))
    assert columns is not None and long is not None
    shape = (-(-long // s.kc), columns, -(-s.kc // s.lanes) * s.lanes)
    place = Memory("prepared", acc, prod(shape))
    filling = KernelScope()
    piece, at = k.Var("piece"), k.Var("at")
    element = lowering.pull(filling).read(y.value, y.at).cast(acc)
    store = filling.output(place, shape).store((piece, column.var, at), element)
    row = k.For(
        at, rest_of(long, piece * s.kc, s.kc), (*decompose(piece * s.kc + at, depth), store), "vector"
    )
    body: list[k.Stmt] = [
        k.For(piece, shape[0], (k.For(column.var, columns, (row,), "parallel"),), "parallel")
    ]
    lowering.prepare(filling, "pack", body, origins)
    flat: k.Expr = depth[0].var
    for dim in depth[1:]:
        flat = flat * k.as_index(dim.extent) + dim.var
    return k.Load(scope.view(place, shape), (flat // s.kc, column.var, flat % s.kc))
