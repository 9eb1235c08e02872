"""A scan over blocks of steps, each computed again for its derivative: what is kept are the carries between blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..dims import Dim

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["scan_in_blocks"]


def scan_in_blocks(
    run: Callable[[Sequence[Value], Sequence[Value], Sequence[Value], Dim], Sequence[Value]],
    inits: Sequence[Value],
    xs: Sequence[Value],
    consts: Sequence[Value],
    steps: Dim,
    size: int,
    reverse: bool,
) -> tuple[Value, ...]:
    """The last carries and the ys of a scan, whose steps behind the last whole block are one shorter block.

    Args:
        run:  scans so many steps: (carries, xs, consts, their number) -> the last carries and the ys
        size: steps of a block
    """
    from .. import build as b
    from ..graph import Graph, Value

    count = len(inits)
    size = min(size, max(1, steps)) if isinstance(steps, int) else size
    whole = steps // size
    rest = steps - whole * size

    def part(x: Value, start: Dim, stop: Dim, shape: tuple[Dim, ...]) -> Value:
        row = x.type.shape[1:]
        found = b.slice_(x, (start, *(0 for _ in row)), (stop, *row))
        return b.reshape(found, (*shape, *row))

    def again(
        carries: Sequence[Value], rows: Sequence[Value], outer: Sequence[Value], many: Dim
    ) -> list[Value]:
        operands = [*carries, *rows, *outer]
        inner = [Value(v.type, name=v.name) for v in operands]
        middle = len(carries) + len(rows)
        found = run(inner[:count], inner[count:middle], inner[middle:], many)
        return list(b.remat(Graph("body", inner, list(found)), operands))

    def blocks(carries: Sequence[Value]) -> list[Value]:
        heads = [part(x, 0, whole * size, (whole, size)) for x in xs]
        inner = [Value(v.type, name=v.name) for v in carries]
        rows = [Value(h.type.with_shape(h.type.shape[1:]), name=h.name) for h in heads]
        outer = [Value(v.type, name=v.name) for v in consts]
        block = Graph("body", [*inner, *rows, *outer], again(inner, rows, outer, size))
        found = b.scan(block, carries, heads, consts, whole, reverse=reverse)
        ys = [b.reshape(y, (whole * size, *y.type.shape[2:])) for y in found[count:]]
        return [*found[:count], *ys]

    def left(carries: Sequence[Value]) -> list[Value]:
        return again(carries, [part(x, whole * size, steps, (rest,)) for x in xs], consts, rest)

    if isinstance(rest, int) and not rest:
        return tuple(blocks(inits))
    if reverse:
        late = left(inits)
        early = blocks(late[:count])
        last = early
    else:
        early = blocks(inits)
        late = left(early[:count])
        last = late
    ys = [b.concat([p, q], axis=0) for p, q in zip(early[count:], late[count:], strict=True)]
    return (*last[:count], *ys)
