"""Nests of loops around a body whose iterations write each an element of their own."""

from __future__ import annotations

from collections.abc import Sequence

from .. import kernel_ir as k
from ..extents import rest_of

__all__ = ["ROWS", "nest", "nest_in_parts"]

ROWS = 7
"""Of a part of a map, where there are more than two, so that what a block of channels needs is read again seldom."""


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


def nest_in_parts(
    body: Sequence[k.Stmt],
    loops: Sequence[tuple[k.Var, k.Index]],
    *,
    vector: bool = False,
    least: int = ROWS,
) -> list[k.Stmt]:
    """As `nest`, of images, blocks of channels, rows and whatever is in them, in another order: each image in a few parts of
    equally many rows (the last has what is left), all channels of one part before the next. So threads share rows, which the next kernel reads where
    they were written, whatever it does with channels.
    """
    (image, (block, blocks), (row, rows), *inner) = loops
    parts = _parts(rows, least) if isinstance(rows, int) and blocks != 1 else 1
    if parts == 1:
        return nest(body, loops, vector=vector)
    assert isinstance(rows, int)
    part, within, each = k.Var("part"), k.Var("within"), -(-rows // parts)
    statements = nest(body, inner, vector=vector) if inner else list(body)
    start = k.Let(row, part * each + within)
    around = [image, (part, -(-rows // each)), (block, blocks), (within, rest_of(rows, part * each, each))]
    return nest([start, *statements], around)


def _parts(rows: int, least: int) -> int:
    """Two, or as many as eight threads share evenly, of so many rows at least."""
    return next((parts for parts in (8, 4) if rows >= parts * least), 2 if rows > 1 else 1)
