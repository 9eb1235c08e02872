"""A fold over trees as loops: over chunks of nodes of one level, and the way back for its derivative.

level[n]   one more than the highest of its children, by a loop that ends when nothing changes
order      nodes by level
chunks     `width` nodes from a place of that order on, of which those of another level are not used: their states
           go to a row behind the last node
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.ops.tree import TreeFold
from ..ir.types import TensorType, bool_, i64
from .inline import inline

__all__ = ["folded", "unfolded"]

Chunk = Callable[["_Rows", list[Value], list[Value]], list[Value]]
"""Rows, the states that a loop carries, and values from outside: the next states."""


@dataclass(frozen=True)
class _Tree:
    """What loops over a tree read: the table, each node's level, and nodes by level."""

    children: Value
    level: Value
    order: Value


@dataclass(frozen=True)
class _Rows:
    """The nodes of a chunk.

    Args:
        nodes:  i64[width]; beyond the level, some node
        target: the same, or N for those beyond the level
        live:   bool[width], which are of the level
        kids:   i64[width, K], children, or N for absent ones
        absent: bool[width, K]
    """

    nodes: Value
    target: Value
    live: Value
    kids: Value
    absent: Value


def folded(node: Node, operands: Sequence[Value]) -> list[Value]:
    """What stands for a tree_fold's results: a loop over chunks from the leaves up."""
    op = node.op
    assert isinstance(op, TreeFold)
    (body,) = node.regions
    children, *rest = operands
    nodes = children.type.shape[0]
    inits = rest[op.xs : op.xs + op.states]
    first = [b.full(s.type.with_shape((nodes + 1, *s.type.shape)), 0) for s in inits]

    def chunk(rows: _Rows, states: list[Value], outer: list[Value]) -> list[Value]:
        given = _given(op, rows, states, outer)
        after = inline(body, [*given, *outer[op.xs + op.states :]])
        return [_put(s, rows.target, new, "set") for s, new in zip(states, after, strict=True)]

    last = _over_chunks(_levels(children), op.width, first, rest, chunk, upwards=True)
    return [_rows_of(s, nodes) for s in last]


def unfolded(
    node: Node,
    arriving: Sequence[Value | None],
    sweep: Callable[
        [Sequence[Node], Sequence[Value], Sequence[Value | None], Sequence[Value]], list[Value | None]
    ],
) -> list[Value | None]:
    """The cotangents of a tree_fold's operands: a loop over chunks from the roots down.

    Args:
        arriving: those of its results
        sweep:    autodiff's: nodes, heads, their cotangents, and by what
    """
    op = node.op
    assert isinstance(op, TreeFold)
    (body,) = node.regions
    children, *rest = node.operands
    nodes = children.type.shape[0]
    inits = rest[op.xs : op.xs + op.states]
    many = op.states
    floats = [k for k, v in enumerate(rest) if v.type.dtype.is_float]
    moving = [k for k in floats if not op.xs <= k < op.xs + many]
    slopes = [
        _longer(b.full_like(r, 0) if g is None else g) for r, g in zip(node.results, arriving, strict=True)
    ]
    sums = [b.full_like(_longer(rest[k]) if k < op.xs else rest[k], 0) for k in moving]
    lost = [b.full_like(s, 0) for s in inits]
    done = [_longer(r) for r in node.results]

    def chunk(rows: _Rows, state: list[Value], outer: list[Value]) -> list[Value]:
        slopes, lost, sums = state[:many], state[many : 2 * many], state[2 * many :]
        done = outer[len(rest) :]
        given = [*_given(op, rows, done, outer), *outer[op.xs + many : len(rest)]]
        inputs = [Value(v.type, name=v.name) for v in given]
        outputs = inline(body, inputs)
        heads = [Value(s.type, name="d_y") if s.type.dtype.is_float else None for s in outputs]
        found = sweep(Graph("", [], outputs).nodes, outputs, heads, inputs)
        taken = [v for v, g in zip(inputs, found, strict=True) if g is not None]
        leaves = [*inputs, *(h for h in heads if h is not None)]
        seeds = [_over(rows.live, b.gather(s, rows.nodes)) for s in slopes if s.type.dtype.is_float]
        made = inline(Graph("", leaves, [g for g in found if g is not None]), [*given, *seeds])
        slope = dict(zip(taken, made, strict=True))
        own = [slope.get(v) for v in inputs]
        after: list[Value] = []
        for s, g in zip(slopes, own[op.xs : op.xs + many], strict=True):
            after.append(s if g is None else _put_kids(s, rows.kids, g))
        for s, g in zip(lost, own[op.xs : op.xs + many], strict=True):
            after.append(s if g is None else b.add(s, b.reduce_sum(_over(rows.absent, g), (0, 1))))
        for k, total in zip(moving, sums, strict=True):
            g = own[k]
            if g is None:
                after.append(total)
            elif k < op.xs:
                after.append(_put(total, rows.target, g, "set"))
            else:
                after.append(b.add(total, g))
        return after

    last = _over_chunks(
        _levels(children), op.width, [*slopes, *lost, *sums], [*rest, *done], chunk, upwards=False
    )
    gradient: list[Value | None] = [None] * len(node.operands)
    for k in range(many):
        if rest[op.xs + k].type.dtype.is_float:
            gradient[1 + op.xs + k] = last[many + k]
    for k, g in zip(moving, last[2 * many :], strict=True):
        gradient[1 + k] = _rows_of(g, nodes) if k < op.xs else g
    return gradient


def _levels(children: Value) -> _Tree:
    nodes = children.type.shape[0]
    zero = b.full(TensorType(i64, (nodes,)), 0)

    def next_of(level: Value, table: Value) -> Value:
        below = b.select(b.lt(table, b.full_like(table, 0)), b.full_like(table, -1), b.gather(level, table))
        return b.add(b.reduce_max(below, (1,)), b.full_like(level, 1))

    def leaves() -> list[Value]:
        return [
            Value(zero.type, name="level"),
            Value(TensorType(bool_, ()), name="changed"),
            Value(children.type, name="children"),
        ]

    level, changed, table = leaves()
    test = Graph("cond", [level, changed, table], [changed])
    level, changed, table = leaves()
    after = next_of(level, table)
    body = Graph("body", [level, changed, table], [after, b.reduce_any(b.ne(after, level), (0,))])
    found, _ = b.while_(test, body, [zero, b.constant(True, bool_)], [children], nodes + 1)
    _, order = b.sort(found, 0)
    return _Tree(children, found, order)


def _over_chunks(
    tree: _Tree, width: Dim, carried: Sequence[Value], outer: Sequence[Value], chunk: Chunk, *, upwards: bool
) -> list[Value]:
    """Run chunk by chunk; the carried values behind the last."""
    nodes = tree.children.type.shape[0]
    given = [tree.children, tree.level, tree.order, *outer]
    count = len(carried)

    def leaves() -> tuple[Value, list[Value], list[Value]]:
        states = [Value(v.type, name=v.name or "state") for v in carried]
        return Value(TensorType(i64, ()), name="at"), states, [Value(v.type, name=v.name) for v in given]

    size = _size(nodes)
    at, states, inner = leaves()
    ends = Value(TensorType(i64, ()), name="nodes")
    test = Graph("cond", [at, *states, *inner, ends], [b.lt(at, ends)])
    at, states, inner = leaves()
    ends = Value(TensorType(i64, ()), name="nodes")
    rows, done = _chunk_rows(_Tree(*inner[:3]), at, ends, width, upwards)
    after = chunk(rows, states, inner[3:])
    body = Graph("body", [at, *states, *inner, ends], [b.add(at, done), *after])
    zero = b.constant(0, i64)
    found = b.while_(test, body, [zero, *carried], [*given, size], nodes)
    return list(found[1 : 1 + count])


def _chunk_rows(tree: _Tree, at: Value, nodes: Value, width: Dim, upwards: bool) -> tuple[_Rows, Value]:
    """The rows from a place on, and how many of them are of one level."""
    shape = (width,)
    places = b.add(b.broadcast_in_dim(at, shape, ()), b.iota(i64, shape, 0))
    inside = b.lt(places, b.broadcast_in_dim(nodes, shape, ()))
    first = at
    if not upwards:
        last = b.sub(nodes, b.constant(1, i64))
        places, first = b.sub(b.broadcast_in_dim(last, shape, ()), places), b.sub(last, at)
    rows = b.gather(tree.order, places)  # clamped
    own = b.gather(tree.level, b.gather(tree.order, first))
    live = b.and_(inside, b.eq(b.gather(tree.level, rows), b.broadcast_in_dim(own, shape, ())))
    dump = b.broadcast_in_dim(nodes, shape, ())
    kids = b.gather(tree.children, rows)
    absent = b.lt(kids, b.full_like(kids, 0))
    found = _Rows(
        rows,
        b.select(live, rows, dump),
        live,
        b.select(absent, b.broadcast_in_dim(nodes, kids.type.shape, ()), kids),
        absent,
    )
    return found, b.reduce_sum(b.cast(live, i64), (0,))


def _given(op: TreeFold, rows: _Rows, states: Sequence[Value], outer: Sequence[Value]) -> list[Value]:
    """The body's operands of a chunk: rows of xs, and states of children or the first state."""
    xs = [b.gather(x, rows.nodes) for x in outer[: op.xs]]
    kids: list[Value] = []
    for state, init in zip(states, outer[op.xs : op.xs + op.states], strict=True):
        taken = b.gather(state, rows.kids)
        shape = taken.type.shape
        absent = b.broadcast_in_dim(rows.absent, shape, (0, 1))
        kids.append(b.select(absent, b.broadcast_in_dim(init, shape, tuple(range(2, len(shape)))), taken))
    return [*xs, *kids]


def _over(mask: Value, x: Value) -> Value:
    """x where the mask of its first axes holds, 0 elsewhere."""
    wide = b.broadcast_in_dim(mask, x.type.shape, tuple(range(mask.type.rank)))
    return b.select(wide, x, b.full_like(x, 0))


def _put(x: Value, rows: Value, updates: Value, mode: str) -> Value:
    """x with rows set or added."""
    shape = updates.type.shape
    return b.scatter_elements(x, b.broadcast_in_dim(rows, shape, (0,)), updates, 0, mode)


def _put_kids(x: Value, kids: Value, updates: Value) -> Value:
    """x with the updates of all children added; those of absent ones go to the last row."""
    width, arity, *rest = updates.type.shape
    flat = b.reshape(updates, (width * arity, *rest))
    return _put(x, b.reshape(kids, (width * arity,)), flat, "add")


def _longer(x: Value) -> Value:
    """x with a further row of zeros."""
    return b.pad(x, b.constant(0, x.type.dtype), (0,) * x.type.rank, (1, *(0,) * (x.type.rank - 1)))


def _rows_of(x: Value, nodes: Dim) -> Value:
    rest = x.type.shape[1:]
    return b.slice_(x, (0, *(0 for _ in rest)), (nodes, *rest))


def _size(nodes: Dim) -> Value:
    if isinstance(nodes, int):
        return b.constant(nodes, i64)
    return b.reduce_sum(b.full(TensorType(i64, (nodes,)), 1), (0,))
