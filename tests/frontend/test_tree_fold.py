"""nv.tree_fold: states and derivatives against recursion, on every backend, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError, TraceError

RNG = np.random.default_rng(21)
BACKENDS = ("reference", "llvm", "onnx")
SPECS = ("f64[N,4]", "i64[N,2]", "f64[4,3]", "f64[3,3]")
W, U = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))
ONE = np.array([[-1, -1], [-1, -1], [0, 1], [-1, -1], [2, 3], [-1, -1], [5, -1]])


def fold(x: Any, children: Any, w: Any, u: Any) -> Any:
    def body(x: Any, kids: Any) -> Any:
        return nn.tanh(x @ w + kids.sum(1) @ u)

    return nv.tree_fold(body, children, x, np.full(3, 0.1), width=2)


def recursive(x: Any, children: Any, w: Any, u: Any, tanh: Any = np.tanh) -> list[Any]:
    known: dict[int, Any] = {}

    def state(n: int) -> Any:
        if n not in known:
            kids = sum(state(c) if c >= 0 else np.full(3, 0.1) for c in children[n])
            known[n] = tanh(x[n] @ w + kids @ u)
        return known[n]

    return [state(n) for n in range(len(children))]


def forest(nodes: int, shuffled: bool) -> Any:
    """A random table in which each node has one parent at most; nodes stand in any order where shuffled."""
    table = np.full((nodes, 2), -1)
    free = list(range(nodes))
    for n in range(1, nodes):
        for k in range(2):
            if RNG.random() < 0.6 and any(f < n for f in free):
                kid = RNG.choice([f for f in free if f < n])
                table[n, k] = kid
                free.remove(kid)
    if shuffled:
        order = RNG.permutation(nodes)
        names = np.empty(nodes, int)
        names[order] = np.arange(nodes)
        table = np.where(table < 0, -1, names[table])[order]
    return table


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_are_those_of_the_recursion_for_any_forest(backend: str) -> None:
    run = nv.compile(fold, *SPECS, backend=backend)
    chain = np.array([[k - 1, -1] for k in range(9)])
    for table in (ONE, chain, np.array([[-1, -1]]), forest(40, False), forest(23, True)):
        x = RNG.normal(size=(len(table), 4))
        np.testing.assert_allclose(run(x, table, W, U), recursive(x, table, W, U), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_derivative_is_that_of_the_recursion(backend: str) -> None:
    for table in (ONE, forest(12, True)):
        x = RNG.normal(size=(len(table), 4))
        found = nv.compile(nv.grad(lambda *a: (fold(*a) ** 2).sum(), (0, 2, 3)), *SPECS, backend=backend)(
            x, table, W, U
        )

        def loss(x: Any, w: Any, u: Any, table: Any = table) -> Any:
            return sum((s * s).sum() for s in recursive(x, table, w, u, nn.tanh))

        wanted = nv.compile(nv.grad(loss, (0, 1, 2)), f"f64[{len(table)},4]", *SPECS[2:])(x, W, U)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_a_node_may_have_several_states_and_a_table_may_be_known() -> None:
    def lstm(x: Any, w: Any) -> Any:
        def body(x: Any, kids: Any) -> Any:
            h, c = kids
            gate = nn.sigmoid(x + h.sum(1) @ w)
            c = gate * c.sum(1) + nn.tanh(x)
            return gate * nn.tanh(c), c

        return nv.tree_fold(body, ONE, x, (np.zeros(3), np.zeros(3)))

    x = RNG.normal(size=(7, 3))
    found = nv.compile(lstm, "f64[7,3]", "f64[3,3]")(x, U)
    wanted = nv.compile(lstm, "f64[7,3]", "f64[3,3]", backend="reference", opt=0)(x, U)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


CYCLE = np.array([[1, -1], [2, -1], [0, -1], [-1, -1], [2, 3], [-1, -1], [5, -1]])
DANGLING = np.where(ONE == 5, 9, ONE)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CYCLE, r"children: node [012] is below itself"),
        (DANGLING, r"children: child 0 of node 6 is 9, there are 7 nodes"),
        (ONE[:, 0], r"tree_fold: children are i64\[7\], expected integers \[N,K\]"),
        (ONE[:3], r"tree_fold: xs 0 is f64\[7,4\], expected a row for each of 3 nodes"),
    ],
)
def test_a_table_of_no_tree_is_an_error_that_names_the_node_and_the_line(table: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        nv.trace(lambda x, w, u: fold(x, table, w, u), "f64[7,4]", *SPECS[2:])
    assert "test_tree_fold.py" in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_that_comes_with_the_call_is_looked_at_before_the_program_runs(backend: str) -> None:
    run = nv.compile(fold, *SPECS, backend=backend)
    x = RNG.normal(size=(7, 4))
    for table, message in (
        (CYCLE, r"input children: node [012] is below itself"),
        (DANGLING, r"input children: child 0 of node 6 is 9, there are 7 nodes"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            run(x, table, W, U)
        assert "test_tree_fold.py" in str(caught.value) and "in fold" in str(caught.value)
    np.testing.assert_allclose(run(x, ONE, W, U), recursive(x, ONE, W, U), rtol=1e-9)


def test_a_state_of_another_type_is_named_with_both_lines() -> None:
    with pytest.raises(TraceError, match=r"tree_fold: state 0 is f64\[7,4\], expected f64\[7,3\]"):
        nv.trace(lambda x: nv.tree_fold(lambda x, kids: x, ONE, x, np.zeros(3)), "f64[7,4]")


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_a_table_that_was_moved_is_checked_as_it_is_used(backend: str) -> None:
    table = np.array([[-1, -1], [-1, -1], [0, 1], [2, -1]])
    cycle = np.array([[-1, -1], [3, -1], [0, 1], [2, -1]])
    x = np.ones((4, 3), np.float32)

    def fold(x: Any, kin: Any) -> Any:
        return nv.tree_fold(lambda x, kids: x + kids.sum(1), kin, x, np.zeros(3, np.float32))

    forms: list[tuple[Any, str, Any]] = [
        (lambda x, c: fold(x, c.T), "i64[2,4]", np.transpose),
        (lambda x, c: fold(x, c.reshape(4, 2)), "i32[8]", lambda t: t.reshape(-1).astype(np.int32)),
        (lambda x, c: fold(x, c[::-1]), "i64[4,2]", lambda t: t[::-1]),
        (lambda x, c: nv.scan(lambda h, r: (fold(r, c), None), x, x[None])[0], "i64[4,2]", lambda t: t),
    ]
    for f, spec, moved in forms:
        run = nv.compile(f, "f32[4,3]", spec, backend=backend)
        np.testing.assert_array_equal(run(x, np.ascontiguousarray(moved(table)))[:, 0], [1, 1, 3, 4])
        with pytest.raises(InputError, match=r"input c: node [123] is below itself"):
            run(x, np.ascontiguousarray(moved(cycle)))


def test_a_deep_tree_is_looked_at_once() -> None:
    from time import process_time

    from nervure.ir.ops.tree import levels_of

    nodes = 20_000  # a search that goes over all nodes for each level takes 8 s
    chain = np.stack([np.arange(nodes) - 1, np.full(nodes, -7)], axis=1)
    start = process_time()
    assert levels_of(chain).tolist() == list(range(nodes))
    assert process_time() - start < 1
