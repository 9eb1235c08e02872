"""Graphs, store and verifier."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.errors import InputError, NervureError, TypeInferenceError, VerifyError
from nervure.ir.graph import Graph, Node, Value, collect, make_one, rebuild
from nervure.ir.interpret import evaluate_graph
from nervure.ir.ops.elementwise import Add, Neg
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32, f64
from nervure.ir.verify import verify_graph, verify_program

VECTOR = TensorType(f32, (3,))


def test_a_chain_of_100000_nodes_is_collected_rebuilt_printed_and_evaluated():
    x = Value(VECTOR, name="x")
    y = x
    for _ in range(100_000):
        y = b.neg(y)
    graph = Graph("f", [x], [y])
    assert len(graph.nodes) == 100_000

    def halve(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
        inner = operands[0].node
        return (
            [inner.operands[0]] if isinstance(node.op, Neg) and inner and isinstance(inner.op, Neg) else None
        )

    folded = rebuild(graph, halve)
    assert folded.nodes == ()
    assert len(repr(graph)) < 100
    verify_graph(graph)
    (result,), _ = evaluate_graph(graph, [np.ones(3, np.float32)])
    np.testing.assert_array_equal(result, np.ones(3, np.float32))


def test_a_rebuild_that_changes_nothing_returns_the_graph_itself():
    x = Value(VECTOR)
    graph = Graph("f", [x], [b.add(x, x)])
    assert rebuild(graph, lambda node, operands: None) is graph


def test_a_rewrite_inherits_the_origin_of_the_node_it_replaces():
    x = Value(VECTOR)
    with origins_of((Origin("net.py", 7),)):
        y = b.add(x, x)
    graph = rebuild(
        Graph("f", [x], [y]), lambda node, ops: [b.neg(ops[0])] if isinstance(node.op, Add) else None
    )
    assert graph.nodes[0].origins == (Origin("net.py", 7),)


def test_operands_come_first_in_the_order_of_nodes():
    x = Value(VECTOR)
    a, c = b.neg(x), b.abs(x)
    nodes = collect([b.add(b.add(a, c), a)])
    seen: set[Value] = {x}
    for node in nodes:
        assert set(node.operands) <= seen
        seen.update(node.results)


def test_a_type_error_names_op_types_and_the_users_line():
    x, y = Value(VECTOR), Value(TensorType(f64, (3,)))
    with origins_of((Origin("net.py", 9, "__call__"),)), pytest.raises(TypeInferenceError) as caught:
        b.add(x, y)
    assert str(caught.value) == (
        "add: element types differ: f32 and f64\n  operand 0: f32[3]\n  operand 1: f64[3]\n"
        "  at net.py:9, in __call__\n  hint: cast one with .astype('f32')"
    )
    assert str(copy.copy(caught.value)) == str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), TypeInferenceError)


def test_a_wrong_number_of_operands_is_a_type_error():
    with pytest.raises(TypeInferenceError, match="another number of operands than 1"):
        make_one(Add(), Value(VECTOR))


def test_the_verifier_finds_a_use_before_its_definition():
    x = Value(VECTOR)
    y = b.neg(x)
    z = b.neg(y)
    assert z.node and y.node
    with pytest.raises(VerifyError, match="not defined before it"):
        verify_graph(Graph("f", [x], [z], nodes=[z.node, y.node]))


def test_the_verifier_finds_a_region_that_names_an_outer_value():
    x, inner = Value(VECTOR, name="x"), Value(VECTOR, name="i")
    body = Graph("", [inner], [b.add(inner, x)])
    (y,) = b.fuse("add", body, [x])
    with pytest.raises(VerifyError, match="not defined before it"):
        verify_graph(Graph("f", [x], [y]))


def test_the_verifier_finds_updates_of_unknown_entries_and_of_another_type():
    entry = Entry("w", VECTOR, "param", True, np.zeros(3, np.float32))
    program = Program("p", [Graph("f", [], [], [("v", b.full(VECTOR, 1))])], Store([entry]))
    with pytest.raises(VerifyError, match="updates @v"):
        verify_program(program)
    program = Program("p", [Graph("f", [], [], [("w", b.full(TensorType(f32, (4,)), 1))])], Store([entry]))
    with pytest.raises(VerifyError, match="update of @w"):
        verify_program(program)


def test_entries_used_together_share_one_ledger_and_its_version_moves():
    a, c, d = (Entry(n, VECTOR, "param", True, np.zeros(3, np.float32)) for n in "acd")
    first = Store([a, c])
    seen = (first.ledger, first.ledger.version)
    second = Store([c, d])
    assert first.ledger is second.ledger
    d.assign(np.ones(3, np.float32))
    assert (first.ledger, first.ledger.version) != seen
    before = first.ledger.version
    a.assign(np.ones(3, np.float32))
    assert second.ledger.version == before + 1


def test_a_ledger_that_was_absorbed_moves_too():
    a, c = (Entry(n, VECTOR, "param", True, np.zeros(3, np.float32)) for n in "ac")
    small, large = Store([a]), Store([c, Entry("d", VECTOR), Entry("e", VECTOR)])
    ledger, version = small.ledger, small.ledger.version
    Store([*small.values(), *large.values()])
    assert small.ledger is not ledger
    assert ledger.version != version


def test_an_entrys_array_stays_where_it_is_and_is_aligned():
    entry = Entry("w", VECTOR, "param", True, np.zeros(3, np.float32))
    address = entry.data.ctypes.data
    entry.assign(np.ones(3, np.float32))
    assert entry.data.ctypes.data == address
    assert address % 64 == 0
    with pytest.raises(InputError, match=r"@w is f32\[3\], got an array of float64\[3\]"):
        entry.assign(np.ones(3))


def test_an_entry_without_data_says_so():
    with pytest.raises(InputError, match="has no data"):
        _ = Entry("w", VECTOR).data


def test_two_entries_of_one_name_are_refused():
    with pytest.raises(NervureError, match="two store entries"):
        Store([Entry("w", VECTOR), Entry("w", VECTOR)])


def test_a_rewrite_to_a_value_that_is_there_names_nothing_in_the_graph_that_is_given() -> None:
    x = Value(TensorType(f32, (3,)), name="x")
    inner = b.neg(x)
    twice = b.neg(b.neg(inner))
    assert twice.node is not None
    twice.name = "twice"
    graph = Graph("f", [x], [twice, inner])
    after = rebuild(graph, lambda node, _: [inner] if node is twice.node else None)
    assert after.outputs == (inner, inner)
    assert inner.name == ""
