"""nv.tree_fold: states of the nodes of trees, from the leaves up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, dim_text
from ..ir.errors import InputError, TraceError
from ..ir.graph import Graph, Value
from ..ir.ops.tree import levels_of
from ..ir.types import i64
from .arguments import callable_with, constant_of, extent, table
from .branches import made
from .tensor import Tensor
from .tracing import current, user_lines
from .trees import alike, build, leaves, tree_text

__all__ = ["tree_fold"]


def tree_fold(body: Callable[..., Any], children: Any, xs: Any, init: Any, *, width: Dim = 32) -> Any:
    """The states of all nodes of trees, each from those of its children: ``state = body(x, kids)``.

    Leaves come first, then what has only leaves below, level by level; several trees may stand in one table.

    Args:
        body:     takes rows of xs [W, ...] and the states of their children [W, K, ...], and returns states [W, ...]; its
                  row i depends on row i alone. Outer tensors and parameters may be used inside
        children: integers [N, K]: the children of each node, below 0 where there is none
        xs:       a tensor of one row a node, or tuples and lists of them
        init:     the state of a child that is not there, without an axis of nodes; tuples and lists as the states
        width:    W, how many nodes of a level are computed together

    Returns:
        the states of all nodes, [N, ...], built as init

    Raises:
        TraceError: types do not fit, or the table is known now and is that of no tree
        InputError: when the program runs, a child is no node, or a node is below itself
    """
    kin = _table(children)
    nodes, arity = kin.type.shape
    inits, rows = leaves(init, "tree_fold", "init"), leaves(xs, "tree_fold", "xs")
    callable_with("tree_fold", "the body", body, "x", "kids")
    width = extent("tree_fold", "width", width, 1)
    for k, row in enumerate(rows):
        if not row.type.shape or row.type.shape[0] != nodes:
            raise _error(f"xs {k} is {row.type}, expected a row for each of {dim_text(nodes)} nodes")
    many = min(width, nodes) if isinstance(width, int) and isinstance(nodes, int) and nodes else width
    with current().region("tree_fold") as frame:
        own = [Value(v.type.with_shape((many, *v.type.shape[1:])), name=v.name or "x") for v in rows]
        kids = [Value(v.type.with_shape((many, arity, *v.type.shape)), name="kids") for v in inits]
        result = body(build(xs, list(map(Tensor, own))), build(init, list(map(Tensor, kids))))
        after = leaves(result, "tree_fold", "the state that the body returns")
    _check_states(inits, after, many, init, result)
    graph = Graph("body", [*own, *kids, *frame.captured.values()], after)
    found = b.tree_fold(graph, kin, rows, inits, list(frame.captured), many)
    return build(init, list(map(Tensor, found)))


def _table(children: Any) -> Value:
    found = table("tree_fold", "the table of children", children).value
    if found.type.rank != 2 or not found.type.dtype.is_integer:
        raise _error(
            f"children are {found.type}, expected integers [N,K]", hint="a row a node, below 0 for no child"
        )
    known = constant_of(found)
    if known is not None:
        try:
            levels_of(known)
        except InputError as error:
            raise _error(error.message, hint=error.hint) from error
    return b.cast(found, i64)


def _check_states(inits: Sequence[Value], after: Sequence[Value], many: Dim, one: Any, other: Any) -> None:
    if not inits:
        raise _error("init has no tensors")
    if not alike(one, other):
        raise _error(
            f"init is {tree_text(one)}, the body returns {tree_text(other)}",
            hint="return a state as init is built",
        )
    for k, (first, last) in enumerate(zip(inits, after, strict=True)):
        want = first.type.with_shape((many, *first.type.shape))
        if last.type != want:
            raise _error(
                f"state {k} is {last.type}, expected {want}",
                [f"init:   {first.type}{made(first)}", f"state:  {last.type}{made(last)}"],
                hint="a state is as init, with an axis of nodes in front",
            )


def _error(message: str, details: Sequence[str] = (), hint: str | None = None) -> TraceError:
    return TraceError(f"tree_fold: {message}", details=details, where=user_lines(), hint=hint)
