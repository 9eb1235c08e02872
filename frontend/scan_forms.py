"""What nv.scan writes around a body: sequences that end early, blocks that are computed again, cut derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text
from ..ir.errors import TraceError
from ..ir.graph import Value
from ..ir.types import i64
from .arguments import whole
from .derivatives import remat
from .tensor import Tensor
from .tracing import current, user_lines
from .trees import build, leaves

__all__ = ["blocks_of", "counted", "in_blocks", "masked", "truncated"]

Body = Callable[[Any, Any], tuple[Any, Any]]


def masked(body: Body, lens: Tensor) -> Body:
    """The body, given (t, done, x): behind its end a sequence keeps its carry, and its ys are 0; behind the end of all
    the state stays as it is.
    """
    longest = Tensor(b.reduce_max(lens.value, (0,)))

    def run(carry: Any, given: Any) -> tuple[Any, Any]:
        after, ys = body(carry, given)
        before = leaves(carry, "scan", "the carry")
        behind = leaves(after, "scan", "the carry that the body returns")
        if [v.type for v in before] != [v.type for v in behind]:
            return after, ys  # refused with both lines
        ends = lens.value
        live = b.lt(b.broadcast_in_dim(given[0].value, ends.type.shape, ()), ends)
        kept = [
            b.select(_over(live, new, "carry", k), new, old)
            for k, (new, old) in enumerate(zip(behind, before, strict=True))
        ]
        rows = [
            b.select(_over(live, y, "y", k), y, b.full_like(y, 0))
            for k, y in enumerate(leaves(ys, "scan", "what the body returns as y"))
        ]
        state = current()
        changed = dict(state.frame.written)
        for entry, new in changed.items():
            old = state.hold(entry, state.frame)
            runs = b.broadcast_in_dim(b.lt(given[0].value, longest.value), new.type.shape, ())
            state.update(entry, b.select(runs, new, old))
        return build(after, list(map(Tensor, kept))), build(ys, list(map(Tensor, rows)))

    return run


def _over(live: Value, value: Value, what: str, k: int) -> Value:
    if not value.type.shape or value.type.shape[0] != live.type.shape[0]:
        raise _error(
            f"{what} {k} is {value.type}, expected {dim_text(live.type.shape[0])} sequences on axis 0",
            hint="seq_lens needs the batch in front",
        )
    return b.broadcast_in_dim(live, value.type.shape, (0,))


def truncated(body: Body, every: int) -> Body:
    """The body, given (t, done, x): cotangents do not pass from a block of steps to the one before."""
    every = whole("scan", "truncate", every, rest=" step")

    def run(carry: Any, given: Any) -> tuple[Any, Any]:
        done = given[1].value
        zero = b.full_like(done, 0)
        begins = b.eq(b.rem(done, b.full_like(done, every)), zero)
        cut = b.and_(begins, b.ne(done, zero))
        kept = [
            b.select(b.broadcast_in_dim(cut, v.type.shape, ()), b.stop_gradient(v), v)
            if v.type.dtype.is_float
            else v
            for v in leaves(carry, "scan", "the carry")
        ]
        return body(build(carry, list(map(Tensor, kept))), given)

    return run


def blocks_of(every: int | bool, steps: Dim) -> int:
    """How many steps are a block; True stands for the root of the length, which takes the least memory."""
    return max(1, math.isqrt(max(1, bounds(steps)[1]))) if every is True else every


def in_blocks(
    run: Callable[[Any, Any, Dim], tuple[Any, Any]], init: Any, xs: Any, steps: Dim, size: int, reverse: bool
) -> tuple[Any, Any]:
    """A scan over blocks, each computed again for its derivative, and what is left of the steps behind them.

    Args:
        run: scans given steps: (carry, xs, their number) -> (carry, ys)
    """
    from .scan import scan  # which uses this

    many = steps // size
    rest = steps - many * size
    rows = leaves(xs, "scan", "xs")
    heads = [_block(v, 0, many * size, (many, size)) for v in rows]
    tails = [_block(v, many * size, steps, (rest,)) for v in rows]

    def block(carry: Any, part: Any) -> tuple[Any, Any]:
        def again(carry: Any, part: Any) -> tuple[Any, Any]:
            return run(carry, part, size)

        return remat(again)(carry, part)

    def blocks(carry: Any) -> tuple[Any, Any]:
        after, ys = scan(block, carry, build(xs, list(map(Tensor, heads))), length=many, reverse=reverse)
        flat = [b.reshape(y, (many * size, *y.type.shape[2:])) for y in leaves(ys, "scan", "ys")]
        return after, build(ys, list(map(Tensor, flat)))

    def left(carry: Any) -> tuple[Any, Any]:
        def again(carry: Any, part: Any) -> tuple[Any, Any]:
            return run(carry, part, rest)

        return remat(again)(carry, build(xs, list(map(Tensor, tails))))

    if isinstance(rest, int) and not rest:
        return blocks(init)
    if reverse:
        carry, last = left(init)
        carry, first = blocks(carry)
    else:
        carry, first = blocks(init)
        carry, last = left(carry)
    pairs = zip(leaves(first, "scan", "ys"), leaves(last, "scan", "ys"), strict=True)
    both = [b.concat([p, q], axis=0) for p, q in pairs]
    return carry, build(first, list(map(Tensor, both)))


def _block(value: Value, start: Dim, stop: Dim, shape: Sequence[Dim]) -> Value:
    rest = value.type.shape[1:]
    part = b.slice_(value, (start, *(0 for _ in rest)), (stop, *rest))
    return b.reshape(part, (*shape, *rest))


def counted(steps: Dim, reverse: bool) -> tuple[Tensor, Tensor]:
    """For each step its place t, and how many steps are done before it."""
    place = b.iota(i64, (steps,), 0)
    return Tensor(place), Tensor(b.reverse(place, (0,)) if reverse else place)


def _error(message: str, hint: str | None = None) -> TraceError:
    return TraceError(f"scan: {message}", where=user_lines(), hint=hint)
