"""How a load's address depends on loop variables: the strides that let an operand be read where it lies."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from .kernel_ir import Binary, Const, Expr, Load, LoopDim, Packed, Size, Var
from .walk import expr_children, rewrite

__all__ = ["apart", "coefficient", "flat_strides", "row_length", "split_rows", "stride"]


def uses(e: Expr, var: Var) -> bool:
    stack, seen = [e], set[int]()
    while stack:
        x = stack.pop()
        if x is var:
            return True
        if id(x) not in seen:
            seen.add(id(x))
            stack.extend(expr_children(x))
    return False


def _value(e: Expr) -> Dim | None:
    if isinstance(e, Const):
        return int(e.value)
    return e.dim if isinstance(e, Size) else None


def coefficient(e: Expr, var: Var) -> Dim | None:
    """The factor of var in an i64 expression that is linear in it; None where it is not seen to be."""
    if e is var:
        return 1
    if not uses(e, var):
        return 0
    if isinstance(e, Binary):
        a, b = coefficient(e.a, var), coefficient(e.b, var)
        if a is None or b is None:
            return None
        if e.op == "add":
            return a + b
        if e.op == "sub":
            return a - b
        if e.op == "mul":
            x, y = _value(e.a), _value(e.b)
            return a * y if y is not None else b * x if x is not None else None
    return None


def apart(e: Expr, known: dict[Expr, tuple[Expr | None, int]]) -> tuple[Expr | None, int]:
    """An i64 expression as one without a constant addend, None for 0, and that constant.

    Args:
        known: what was found before, of shared parts too
    """
    found = known.get(e)
    if found is None:
        found = known[e] = _apart(e, known)
    return found


def _apart(e: Expr, known: dict[Expr, tuple[Expr | None, int]]) -> tuple[Expr | None, int]:
    match e:
        case Const():
            return None, int(e.value)
        case Binary(op="add" | "sub"):
            (a, x), (b, y) = apart(e.a, known), apart(e.b, known)
            constant = x + y if e.op == "add" else x - y
            if not x and not y and a is not None and b is not None:
                return e, 0
            if b is None:
                return a, constant
            if a is None and e.op == "add":
                return b, constant
            return Binary(e.op, Const(0, e.dtype) if a is None else a, b), constant
        case Binary(op="mul", b=Const() as factor):
            moving, constant = apart(e.a, known)
            if moving is e.a:
                return e, 0
            return (None if moving is None else Binary("mul", moving, factor)), constant * int(factor.value)
        case _:
            return e, 0


def stride(load: Load, var: Var) -> Dim | None:
    """How many elements further a load reads for the next value of var; None where that is not one number."""
    total: Dim = 0
    for index, step in zip(load.index, load.buffer.steps, strict=True):
        c = coefficient(index, var)
        if c is None:
            return None
        total = total + c * step
    return total


def flat_strides(e: Expr | Packed, dims: Sequence[LoopDim]) -> Dim | None:
    """The stride of a plain load in the row-major product of dims; None where there is no single one."""
    if not isinstance(e, Load) or e.inside is not None:
        return None
    result: Dim | None = None
    extent: Dim | None = 1
    for dim in reversed(dims):
        step = stride(e, dim.var)
        if step is None:
            return None
        if isinstance(dim.extent, int) and dim.extent == 1:
            continue
        if result is None:
            result = step
        elif extent is None or step != result * extent:
            return None
        size = _value(dim.extent) if isinstance(dim.extent, Expr) else dim.extent
        extent = None if size is None or extent is None else extent * size
    return 0 if result is None else result


def row_length(e: Expr, var: Var) -> Dim | None:
    """W, where an expression uses var only as var // W and var % W: var counts the pixels of rows of W."""
    found: Dim | None = None
    stack, seen = [e], set[int]()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, Binary) and x.op in ("floordiv", "mod") and x.a is var:
            size = _value(x.b)
            if size is None or (found is not None and found != size):
                return None
            found = size
        elif x is var:
            return None
        else:
            stack.extend(expr_children(x))
    return found


def split_rows(e: Expr, var: Var, row: Expr, column: Expr) -> Expr:
    """The expression with var // W and var % W replaced."""

    def change(x: Expr) -> Expr | None:
        if isinstance(x, Binary) and x.a is var and x.op in ("floordiv", "mod"):
            return row if x.op == "floordiv" else column
        return None

    return rewrite(e, change)
