"""nv.scan: a loop over the steps of a sequence, as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from .tensor import Tensor, as_tensor
from .tracing import current, user_origins

__all__ = ["scan"]


def scan(
    body: Callable[..., Any], init: Any, xs: Any = None, *, length: Dim | None = None, reverse: bool = False, unroll: int = 1
) -> tuple[Any, Any]:
    """Run ``carry, y = body(carry, x)`` over the leading axis of xs.

    Args:
        body:    takes the carry and one slice of xs; returns the next carry and y. Outer tensors may be used inside
        init:    the first carry, a tensor or a tuple of them
        xs:      a tensor or a tuple of them, all of one length on axis 0; None where `length` is given
        length:  how many steps, where there is no xs
        reverse: from the last step to the first
        unroll:  steps a trip of the compiled loop

    Returns:
        the last carry, and every y along a new axis 0

    Raises:
        TraceError: a carry changes its type from step to step, or lengths differ
    """
    state = current()
    inits, rows = _tuple(init), [] if xs is None else _tuple(xs)
    lengths = {t.shape[0] if t.ndim else None for t in rows}
    if len(lengths) > 1 or None in lengths:
        raise _error("xs differ in length on axis 0", [f"xs {k}: {t.type}" for k, t in enumerate(rows)])
    steps = next(iter(lengths), length)
    if steps is None:
        raise _error("neither xs nor length is given", [])
    start, row_values = [t.value for t in inits], [t.value for t in rows]
    with state.region() as frame:
        carries = [Value(v.type, name=v.name or "carry") for v in start]
        slices = [Value(v.type.with_shape(v.type.shape[1:]), name=v.name or "x") for v in row_values]
        result = body(_like(init, carries), None if xs is None else _like(xs, slices))
        if not isinstance(result, tuple) or len(result) != 2:
            raise _error("the body returns no pair (carry, y)", [])
        after = [t.value for t in _tuple(result[0])]
        ys = [] if result[1] is None else [t.value for t in _tuple(result[1])]
    if [v.type for v in after] != [v.type for v in start]:
        details = [f"before: {', '.join(str(v.type) for v in start)}", f"after:  {', '.join(str(v.type) for v in after)}"]
        raise _error("the carry changes its type", details)
    graph = Graph("", [*carries, *slices, *frame.captured.values()], [*after, *ys])
    consts = list(frame.captured)
    found = [Tensor(v) for v in b.scan(graph, start, row_values, consts, steps, reverse=reverse, unroll=unroll)]
    last, outs = found[: len(start)], found[len(start) :]
    y = None if not outs else outs[0] if not isinstance(result[1], (tuple, list)) else tuple(outs)
    return (tuple(last) if isinstance(init, (tuple, list)) else last[0]), y


def _tuple(x: Any) -> list[Tensor]:
    return [as_tensor(t) for t in x] if isinstance(x, (tuple, list)) else [as_tensor(x)]


def _like(x: Any, values: list[Value]) -> Any:
    tensors = tuple(map(Tensor, values))
    return tensors if isinstance(x, (tuple, list)) else tensors[0]


def _error(message: str, details: list[str]) -> TraceError:
    return TraceError(f"scan: {message}", details=details, where=[str(o) for o in user_origins()])
