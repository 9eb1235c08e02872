"""The verifier of loops, branches and trees: what a text or a builder gives that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from nervure.ir import build as b
from nervure.ir.cost import graph_cost
from nervure.ir.dims import symbol
from nervure.ir.errors import TypeInferenceError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.ops.control import Scan
from nervure.ir.ops.loops import If, While
from nervure.ir.ops.tree import TreeFold
from nervure.ir.types import TensorType, bool_, f32, i64

ROW, ROWS, FLAG = TensorType(f32, (3,)), TensorType(f32, (4, 3)), TensorType(bool_, ())


def leaf(t: TensorType) -> Value:
    return Value(t, name="v")


def same(*types: TensorType) -> Graph:
    inputs = [leaf(t) for t in types]
    return Graph("body", inputs, inputs)


def returns(result: TensorType, *types: TensorType) -> Graph:
    return Graph("body", [leaf(t) for t in types], [b.full(result, 0)])


TABLE = TensorType(i64, (5, 2))
KIDS, WIDE = TensorType(f32, (2, 2, 3)), TensorType(f32, (2, 3))


@pytest.mark.parametrize(
    ("op", "types", "regions", "message"),
    [
        (Scan(-1, 1, 0), (ROW,), (same(ROW),), "scan: length, carries and xs may not be negative"),
        (Scan(4, -1, 1), (ROWS,), (same(ROW),), "scan: length, carries and xs may not be negative"),
        (Scan(5, 1, 1), (ROW, ROWS), (same(ROW, ROW),), "scan: f32[4,3] is not 5 steps long on axis 0"),
        (Scan(4, 1, 0), (ROW,), (returns(FLAG, ROW),), "scan: carry 0 is bool[], expected f32[3]"),
        (If(), (ROW, ROW), (same(ROW), same(ROW)), "if: the condition is f32[3], expected bool[]"),
        (If(), (FLAG, ROW), (same(ROW), returns(FLAG, ROW)), "if: result of the second body 0 is bool[], expected f32[3]"),
        (While(0), (ROW,), (returns(FLAG, ROW), same(ROW)), "while: carries is 0, expected 1..1"),
        (While(1, -1), (ROW,), (returns(FLAG, ROW), same(ROW)), "while: max_trip -1 may be negative"),
        (While(1), (ROW,), (same(ROW), same(ROW)), "while: result of the condition 0 is f32[3], expected bool[]"),
        (TreeFold(0, 0, 2), (TABLE,), (same(),), "tree_fold: 0 operands, expected at least 0 xs and 1 states"),
        (TreeFold(-1, 1, 2), (TABLE, ROW), (same(KIDS),), "tree_fold: 1 operands, expected at least -1 xs and 1 states"),
        (TreeFold(0, 1, 0), (TABLE, ROW), (same(KIDS),), "tree_fold: width is 0, expected at least 1"),
        (TreeFold(0, 1, 2), (TABLE, ROW), (same(KIDS),), "tree_fold: state 0 is f32[2,2,3], expected f32[2,3]"),
        (TreeFold(0, 1, 2), (ROWS, ROW), (same(KIDS),), "tree_fold: children are f32[4,3], expected i64[N,K]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_both_types(
    op: Any, types: Any, regions: Any, message: str
) -> None:
    with pytest.raises(TypeInferenceError) as caught:
        make(op, *map(leaf, types), regions=regions)
    assert caught.value.message == message


def test_a_loop_costs_its_body_as_often_as_it_may_run() -> None:
    steps = symbol("T", 0, 9)
    x, rows, flag = leaf(ROW), leaf(TensorType(f32, (steps, 3))), leaf(FLAG)
    c, r = leaf(ROW), leaf(ROW)
    body = Graph("body", [c, r], [b.add(b.mul(c, r), r)])
    (last,) = b.scan(body, [x], [rows], [], steps)
    assert graph_cost(Graph("f", [x, rows], [last])).flops == 6 * steps
    p, q = leaf(ROW), leaf(ROW)
    y, z = leaf(ROW), leaf(ROW)
    (out,) = b.if_(
        flag,
        Graph("then", [p, q], [b.mul(p, q)]),
        Graph("otherwise", [y, z], [b.add(b.mul(y, z), z)]),
        [x, x],
    )
    assert graph_cost(Graph("f", [flag, x], [out])).flops == 6, "the dearer body"
    v = leaf(ROW)
    (end,) = b.while_(returns(FLAG, ROW), Graph("body", [v], [b.mul(v, v)]), [x], [], 7)
    assert graph_cost(Graph("f", [x], [end])).flops >= 7 * 3
