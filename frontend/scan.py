"""nv.scan: a loop over the steps of a sequence, as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, dim_text
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from .branches import check_carry
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
) -> tuple[Any, Any]:
    """Run ``carry, y = body(carry, x)`` over the leading axis of xs.

    Args:
        body:    takes the carry and one slice of xs; returns the next carry and y. Outer tensors may be used inside
        init:    the first carry: a tensor, or tuples and lists of them; None for no carry
        xs:      as init, all of one length on axis 0; None where `length` is given, the body then gets None
        length:  how many steps; xs have as many
        reverse: from the last step to the first
        unroll:  steps a trip of the compiled loop

    Returns:
        the last carry, and every y along a new axis 0, both built as the body returned them

    Raises:
        TraceError: a carry changes its type from step to step, or lengths differ
    """
    state = current()
    inits, rows = leaves(init), leaves(xs)
    steps = _length(rows, length)
    with state.region() as frame:
        carries = [Value(v.type, name=v.name or "carry") for v in inits]
        slices = [Value(v.type.with_shape(v.type.shape[1:]), name=v.name or "x") for v in rows]
        result: Any = body(build(init, list(map(Tensor, carries))), build(xs, list(map(Tensor, slices))))
        if not _is_pair(result):
            raise _error(f"the body returns {type(result).__name__}, expected a pair (carry, y)")
        after, ys = leaves(result[0]), leaves(result[1])
    check_carry("scan", inits, after)
    graph = Graph("body", [*carries, *slices, *frame.captured.values()], [*after, *ys])
    consts = list(frame.captured)
    found = b.scan(graph, inits, rows, consts, steps, reverse=reverse, unroll=unroll)
    tensors = list(map(Tensor, found))
    return build(init, tensors[: len(inits)]), build(result[1], tensors[len(inits) :])


def _is_pair(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2  # pyright: ignore[reportUnknownArgumentType]


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
