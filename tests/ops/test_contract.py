"""The contract that every op keeps, held on the instances of the table."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
from strategies import Instance, arrays, instances

from nervure.ir.cost import node_cost
from nervure.ir.dims import evaluate_dim, symbol
from nervure.ir.errors import TypeInferenceError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import OPS, Accuracy, Cost, Level
from nervure.ir.ops.constant import Constant, Literal
from nervure.ir.ops.nn import LogSoftmax, Softmax
from nervure.ir.program import Program
from nervure.ir.text import parse_program, print_program
from nervure.ir.types import Array, TensorType, f64
from nervure.ir.verify import verify_graph

EVERY = sorted(OPS)
DOCSTRING = ("Equation:", "Shapes:", "Args:", "Gradient:", "Numerics:", "Raises:", "Source:")
ATOL_EPS = 64
"""Values of the table are around 1; a decomposition may differ by so many roundings of it."""


def graph_of(instance: Instance) -> Graph:
    operands, results = instance.apply()
    return Graph("f", operands, results)


def run(graph: Graph, instance: Instance, operands: list[Array]) -> list[Array]:
    return evaluate_graph(graph, operands, env=instance.env)[0]


@pytest.mark.parametrize("name", EVERY)
def test_the_op_says_what_it_does_in_the_order_of_the_house(name: str):
    op = OPS[name]
    text = inspect.getdoc(op)
    assert text and op.__doc__, "no docstring of its own"
    first, _, rest = text.partition("\n")
    assert first.endswith(".")
    assert len(first) <= 110
    found = [line.split()[0] for line in rest.splitlines() if line and not line[0].isspace()]
    heads = [word for word in found if word in DOCSTRING]
    assert heads == sorted(heads, key=DOCSTRING.index)
    if rest.strip():
        assert "Shapes:" in heads


@pytest.mark.parametrize("name", EVERY)
def test_the_op_is_a_frozen_dataclass_with_a_mnemonic_a_level_and_an_accuracy(name: str):
    op = OPS[name]
    assert op.mnemonic == name
    assert isinstance(op.level, Level)
    assert isinstance(op.accuracy, Accuracy)
    for instance in instances(name):
        again = type(instance.op)(**{f.name: getattr(instance.op, f.name) for f in fields(instance.op)})
        assert again == instance.op
        assert hash(again) == hash(instance.op)


@pytest.mark.parametrize("name", EVERY)
def test_infer_and_evaluate_agree_on_shape_and_dtype(name: str):
    assert instances(name)
    for instance in instances(name):
        graph = graph_of(instance)
        verify_graph(graph)
        for result, array in zip(graph.outputs, run(graph, instance, arrays(instance)), strict=True):
            assert array.shape == result.type.concrete(instance.env), str(instance)
            assert array.dtype == result.type.dtype.numpy, str(instance)


@pytest.mark.parametrize("name", EVERY)
def test_evaluation_leaves_its_operands_alone_and_repeats_to_the_bit(name: str):
    for instance in instances(name):
        graph, operands = graph_of(instance), arrays(instance)
        before = [x.tobytes() for x in operands]
        first = [x.tobytes() for x in run(graph, instance, operands)]
        assert [x.tobytes() for x in operands] == before, str(instance)
        assert [x.tobytes() for x in run(graph, instance, operands)] == first, str(instance)


@pytest.mark.parametrize("name", EVERY)
def test_the_op_prints_and_parses_back(name: str):
    for instance in instances(name):
        graph = graph_of(instance)
        text = print_program(Program("p", [graph]), digits=None)
        data = {
            n.op.value.digest: n.op.value.array
            for n in graph.nodes
            if isinstance(n.op, Constant) and not n.op.value.is_inline
        }
        again = parse_program(text, data.get)
        assert print_program(again, digits=None) == text
        assert [n.op for n in again.main.nodes] == [n.op for n in graph.nodes], text
        assert [n.op for n in again.main.walk()] == [n.op for n in graph.walk()]


@pytest.mark.parametrize("name", EVERY)
def test_the_cost_is_a_count_of_operations_and_bytes(name: str):
    for instance in instances(name):
        _, results = instance.apply()
        node = results[0].node
        assert node is not None
        cost = node_cost(node)
        assert isinstance(cost, Cost)
        assert evaluate_dim(cost.flops, instance.env) >= 0
        moved = sum(
            r.type.dtype.bytes for r in results if r.type.is_static and 0 not in r.type.static_shape()
        )
        assert evaluate_dim(cost.bytes, instance.env) >= moved


@pytest.mark.parametrize("name", [n for n in EVERY if OPS[n].level is Level.NN])
def test_a_composite_decomposes_to_the_same_values(name: str):
    for instance in instances(name):
        operands, results = instance.apply()
        found = instance.op.decompose(*operands)
        simpler = found if isinstance(found, tuple) else (found,)
        assert [v.type for v in simpler] == [v.type for v in results], str(instance)
        given = arrays(instance)
        whole = run(Graph("f", operands, results), instance, given)
        parts = run(Graph("f", operands, simpler), instance, given)
        for want, got, r in zip(whole, parts, results, strict=True):
            exact = instance.op.accuracy is Accuracy.EXACT or not r.type.dtype.is_float
            atol = 0.0 if exact else ATOL_EPS * r.type.dtype.eps
            np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=atol, atol=atol)


@pytest.mark.parametrize("name", EVERY)
def test_a_fold_returns_an_existing_value_of_the_same_type_and_content(name: str):
    for instance in instances(name):
        operands, results = instance.apply()
        found = instance.op.fold(*operands)
        if found is None:
            continue
        assert found in operands, str(instance)
        assert found.type == results[0].type
        given = arrays(instance)
        want = run(Graph("f", operands, results), instance, given)[0]
        got = given[list(operands).index(found)]
        np.testing.assert_array_equal(got, want)


def test_folds_that_the_table_does_not_meet_are_there():
    x = Value(TensorType(f64, (2, 3)))
    from nervure.ir.ops import elementwise, move, reduce

    assert move.Reshape((2, 3)).fold(x) is x
    assert move.Permute((0, 1)).fold(x) is x
    assert move.Slice((0, 0), (2, 3), (1, 1)).fold(x) is x
    assert move.Concat(0).fold(x) is x
    assert elementwise.Cast(f64).fold(x) is x
    assert reduce.ReduceSum(()).fold(x) is x
    assert move.Reverse((0,)).fold(x) is None


def test_literals_are_equal_by_bits():
    assert Literal(0.0, f64) != Literal(-0.0, f64)
    assert Literal(np.nan, f64) == Literal(np.nan, f64)
    (a,) = make(Constant(Literal([1.0], f64)))
    (b,) = make(Constant(Literal([1.0], f64)))
    assert a is not b and a.op == b.op


@pytest.mark.parametrize("op", [Softmax(1), LogSoftmax(1)], ids=lambda op: op.mnemonic)
def test_what_normalises_by_the_largest_element_needs_one(op: Softmax | LogSoftmax):
    for size in (0, symbol("N", 0, 4)):
        with pytest.raises(TypeInferenceError, match="axis 1 may be empty and has no largest element then"):
            make(op, Value(TensorType(f64, (2, size))))
    make(op, Value(TensorType(f64, (0, 2))))
