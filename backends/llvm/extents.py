"""Arithmetic of extents: integers stay integers, so that what is known is known to the emitter."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim, bounds
from .kernel_ir import Const, Expr, Index, Let, LoopDim, Size, Stmt, as_index, minimum

__all__ = ["ceil_div", "decompose", "known", "may_be_empty", "rest_of", "times"]


def known(x: Index) -> int | None:
    """An extent that is an integer."""
    if isinstance(x, Const):
        return int(x.value)
    return x if isinstance(x, int) else None


def times(extents: Sequence[Index]) -> Index:
    """The product of extents."""
    dims: Dim = 1
    rest: list[Expr] = []
    for x in extents:
        if isinstance(x, Size):
            dims = dims * x.dim
        elif isinstance(x, Expr):
            rest.append(x)
        else:
            dims = dims * x
    result: Index = dims
    for e in rest:
        result = e if isinstance(result, int) and result == 1 else as_index(result) * e
    return result


def decompose(flat: Expr, dims: Sequence[LoopDim]) -> list[Stmt]:
    """Bindings of the dims' vars for a flat, row-major index."""
    found: list[Stmt] = []
    for dim in reversed(dims[1:]):
        extent = as_index(dim.extent)
        found.append(Let(dim.var, flat % extent))
        flat = flat // extent
    if dims:
        found.append(Let(dims[0].var, flat))
    return found


def may_be_empty(x: Index) -> bool:
    """Whether an extent can be 0."""
    value = known(x)
    if value is not None:
        return value <= 0
    return isinstance(x, Expr) or bounds(x)[0] <= 0


def ceil_div(x: Index, step: int) -> Expr:
    """x / step, rounded up."""
    value = known(x)
    return as_index(-(-value // step)) if value is not None else (as_index(x) + (step - 1)) // step


def rest_of(x: Index, start: Expr, step: int) -> Expr:
    """min(step, x - start)."""
    value = known(x)
    if value is not None and value % step == 0:
        return as_index(step)
    if value is not None and value < step:
        return as_index(value)
    return minimum(as_index(x) - start, step)
