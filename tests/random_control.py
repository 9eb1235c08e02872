"""Random loops and branches, within each other."""

from __future__ import annotations

from op_tables import body, doubling, merging, two_bodies
from random_programs import Growth

from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.ops.control import Scan
from nervure.ir.ops.loops import If, While
from nervure.ir.ops.tree import TreeFold
from nervure.ir.types import TensorType, bool_, i32, i64

__all__ = ["if_", "scan", "tree_fold", "while_"]

FLOAT = ("float",)


def scan(g: Growth, name: str) -> None:
    x = g.pick(lambda t: t.dtype.is_float and t.rank >= 1 and isinstance(t.shape[0], int) and t.shape[0] <= 4)
    if x is None or g.chance(0.2):
        x = g.leaf(TensorType(g.dtype(FLOAT), (g.integer(1, 4), *g.shape(g.integer(0, 2)))))
    length, row = x.type.shape[0], x.type.with_shape(x.type.shape[1:])
    region = control_body(g, row, g.integer(0, 2)) if g.chance(0.5) else body("", (row,) * 3, "scan")
    op = Scan(length, 1, 1, g.chance(0.4), g.integer(1, 2))
    g.add(op, g.like(row), x, g.like(row), regions=(region,))


def control_body(g: Growth, row: TensorType, depth: int) -> Graph:
    """A carry, a row and a weight to a carry and a y, through loops and branches within each other."""
    state, x, weight = inputs = [Value(row, name=n) for n in ("state", "x", "weight")]
    if not depth:
        return body("", (row,) * 3, "scan")
    kind = g.integer(0, 2)
    inner = control_body(g, row, depth - 1)
    if kind == 0:
        rows = b.broadcast_in_dim(x, (g.integer(0, 3), *row.shape), tuple(range(1, row.rank + 1)))
        after, ys = b.scan(inner, [state], [rows], [weight], rows.type.shape[0], reverse=g.chance(0.5))
        return Graph("", inputs, [after, b.reduce_sum(ys, (0,))])
    half = b.constant(0.5, row.dtype)
    total = b.reduce_sum(state, tuple(range(row.rank)))
    if kind == 1:
        p, q, r = (Value(row, name=n) for n in "pqr")
        other = Graph("otherwise", [p, q, r], [b.tanh(r), q])
        after, y = b.if_(b.lt(total, half), inner, other, [state, x, weight])
        return Graph("", inputs, [after, y])
    counter = Value(TensorType(i32), name="n")
    p, q, r = (Value(row, name=n) for n in "pqr")
    test = Graph("cond", [counter, p, q, r], [b.lt(counter, b.constant(g.integer(0, 3), i32))])
    m = Value(TensorType(i32), name="m")
    a, c, d = (Value(row, name=n) for n in "acd")
    after, _ = b.scan(inner, [a], [b.reshape(c, (1, *row.shape))], [d], 1)
    turn = Graph("body", [m, a, c, d], [b.add(m, b.constant(1, i32)), after])
    _, last = b.while_(test, turn, [b.constant(0, i32), state], [x, weight], 4)
    return Graph("", inputs, [last, b.mul(last, x)])


def if_(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    g.add(If(), g.like(TensorType(bool_)), x, g.like(x.type), regions=two_bodies(x.type))


def while_(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    g.add(
        While(2, g.integer(0, 4)),
        g.leaf(TensorType(i32), "index:4"),
        x,
        g.like(x.type),
        regions=doubling(x.type),
    )


def tree_fold(g: Growth, name: str) -> None:
    row = TensorType(g.dtype(FLOAT), g.shape(g.integer(0, 1)) or (2,))
    nodes, width = g.integer(1, 6), g.integer(1, 4)
    table = g.leaf(TensorType(i64, (nodes, 2)), "forest")
    x = g.leaf(row.with_shape((nodes, *row.shape)), "unit")
    init, weight = g.leaf(row, "unit"), g.leaf(row, "unit")
    g.add(TreeFold(1, 1, width), table, x, init, weight, regions=(merging(row, width),))
