"""Nests of loops around a body whose iterations write each an element of their own."""

from __future__ import annotations

from collections.abc import Sequence

from .. import kernel_ir as k

__all__ = ["nest"]


def nest(
    body: Sequence[k.Stmt],
    loops: Sequence[tuple[k.Var, k.Index]],
    *,
    vector: bool = False,
    parallel: bool = True,
) -> list[k.Stmt]:
    """The body inside the loops, outermost first.

    Args:
        vector:   whether iterations of the innermost run side by side
        parallel: whether threads may share iterations: none reads or writes what another writes, scratch memory apart
    """
    statements: list[k.Stmt] = list(body)
    for depth, (var, extent) in enumerate(reversed(loops)):
        kind: k.LoopKind = "parallel" if parallel else "serial"
        if vector and depth == 0:
            kind = "parallel vector" if parallel and len(loops) == 1 else "vector"
        statements = [k.For(var, extent, tuple(statements), kind)]
    return statements
