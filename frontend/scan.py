"""nv.scan: a loop over the steps of a sequence, as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from ..ir import build as b
from ..ir.dims import Dim, dim_text
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from .arguments import callable_with, extent, steps_of_a_block, whole
from .branches import check_carry
from .lengths import lengths
from .scan_forms import blocks_of, counted, in_blocks, masked, truncated
from .tensor import Tensor
from .tracing import current, user_lines
from .trees import build, leaves

__all__ = ["scan"]


def scan(
    body: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: Dim | None = None,
    reverse: bool = False,
    unroll: int = 1,
    *,
    seq_lens: Any = None,
    remat: int | bool = False,
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Run ``carry, y = body(carry, x)`` over the leading axis of xs.

    Args:
        body:     takes the carry and one slice of xs; returns the next carry and y. Outer tensors may be used inside,
                  and state that it changes, such as the key of dropout, goes from step to step
        init:     the first carry: a tensor, or tuples and lists of them; None for no carry
        xs:       as init, all of one length on axis 0; None where `length` is given, the body then gets None
        length:   how many steps; xs have as many. Of no steps, the last carry is the first and ys are empty
        reverse:  from the last step to the first
        unroll:   steps a trip of the compiled loop
        seq_lens: the length of each sequence, integers [N], where carries and ys have N sequences on axis 0: behind its
                  end a sequence keeps its carry and its ys are 0; in reverse, a sequence begins at its own end. Steps
                  behind the end of all change no state; a step that one sequence has gives batch norm the rows of all
        remat:    for the derivative, keep the carry of every so many steps alone and compute the steps between again;
                  True takes the root of the length, with memory that grows as that root
        truncate: derivatives do not pass from a block of so many steps to the one before (truncated backpropagation
                  through time)

    Returns:
        the last carry, and every y along a new axis 0, both built as the body returned them

    Raises:
        TraceError: a carry changes its type from step to step, lengths differ, or a sequence has another length than
            0..length
    """
    callable_with("scan", "the body", body, "carry", "x")
    known = (
        None
        if length is None
        else extent("scan", "length", length, rest="; what ends by a value is nv.while_loop")
    )
    steps = _length(leaves(xs, "scan", "xs"), known)
    unroll, remat = whole("scan", "unroll", unroll, rest=" step"), steps_of_a_block("scan", remat)
    if seq_lens is None and truncate is None and not remat:
        return _scan(body, init, xs, steps, reverse, unroll)

    def inner(carry: Any, given: Any) -> tuple[Any, Any]:
        return _pair(body(carry, given[2]))

    step = inner if seq_lens is None else masked(inner, lengths("scan", seq_lens, steps))
    step = step if truncate is None else truncated(step, truncate)
    given = (*counted(steps, reverse), xs)
    if not remat:
        return _scan(step, init, given, steps, reverse, unroll)

    def run(carry: Any, part: Any, many: Dim) -> tuple[Any, Any]:
        return _scan(step, carry, part, many, reverse, unroll)

    return in_blocks(run, init, given, steps, blocks_of(remat, steps), reverse)


def _scan(
    body: Callable[..., Any], init: Any, xs: Any, steps: Dim, reverse: bool, unroll: int
) -> tuple[Any, Any]:
    state = current()
    inits, rows = leaves(init, "scan", "init"), leaves(xs, "scan", "xs")
    with state.region(updates=True) as frame:
        carries = [Value(v.type, name=v.name or "carry") for v in inits]
        slices = [Value(v.type.with_shape(v.type.shape[1:]), name=v.name or "x") for v in rows]
        result = _pair(body(build(init, list(map(Tensor, carries))), build(xs, list(map(Tensor, slices)))))
        after = leaves(result[0], "scan", "the carry that the body returns")
        ys = leaves(result[1], "scan", "what the body returns as y")
    check_carry("scan", inits, after, init, result[0])
    written = frame.written
    states = [state.hold(entry, frame) for entry in written]  # what the body changes is a carry
    fixed = {entry: value for entry, value in frame.held.items() if entry not in written}
    inputs = [*carries, *states, *slices, *frame.captured.values(), *fixed.values()]
    graph = Graph("body", inputs, [*after, *written.values(), *ys])
    before = [*inits, *map(state.read, written)]
    consts = [*frame.captured, *map(state.read, fixed)]
    found = b.scan(graph, before, rows, consts, steps, reverse=reverse, unroll=unroll)
    for entry, value in zip(written, found[len(inits) :], strict=False):
        state.update(entry, value)
    tensors = list(map(Tensor, found))
    return build(init, tensors[: len(inits)]), build(result[1], tensors[len(before) :])


def _pair(result: Any) -> Any:
    parts = cast("tuple[Any, ...]", result)
    if not isinstance(result, tuple) or len(parts) != 2:
        many = f" of {len(parts)}" if isinstance(result, tuple) else ""
        raise _error(f"the body returns {type(parts).__name__}{many}, expected a pair (carry, y)")
    return parts


def _length(rows: Sequence[Value], length: Dim | None) -> Dim:
    for k, row in enumerate(rows):
        if not row.type.shape:
            raise _error(f"xs {k} is {row.type}, which has no axis to go over")
    sizes: list[Dim] = list(dict.fromkeys(row.type.shape[0] for row in rows))
    if length is not None and length not in sizes:
        sizes.append(length)
    if not sizes:
        raise _error("neither xs nor length is given")
    if len(sizes) > 1:
        raise _error(
            f"lengths differ: {' and '.join(map(dim_text, sizes))}",
            [f"xs {k}: {row.type}" for k, row in enumerate(rows)],
        )
    return sizes[0]


def _error(message: str, details: Sequence[str] = (), hint: str | None = None) -> TraceError:
    return TraceError(f"scan: {message}", details=details, where=user_lines(), hint=hint)
