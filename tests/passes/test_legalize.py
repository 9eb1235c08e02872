"""Legalize, decompose, unroll, dce, cse: what becomes of composites, loops and dead results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import BackendError, UnsupportedError
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_program
from nervure.ir.op import Level, Op
from nervure.ir.ops.control import Scan
from nervure.ir.ops.nn import CrossEntropy, Linear, Relu, Softmax
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.types import DType, TensorType, bf16, f32, i64
from nervure.passes.base import Remarks
from nervure.passes.legalize import Legalize
from nervure.passes.manager import Pipeline, run_pipeline

B = symbol("B", 1, 16)


def arg(name: str, *shape: Any, dtype: DType = f32) -> Value:
    return Value(TensorType(dtype, shape), name=name)


def ops(graph: Graph) -> list[str]:
    return [n.op.mnemonic for n in graph.nodes]


def core_only(op: Op, dtypes: tuple[DType, ...]) -> str | None:
    if op.level is not Level.CORE:
        return "it is no core op"
    return "no bf16 here" if any(d.name == "bf16" for d in dtypes) else None


def legalized(graph: Graph, supports: Any = core_only) -> Graph:
    return Legalize("toy", supports).run(graph, Remarks())


def test_composites_that_the_backend_has_stay_and_others_are_taken_apart():
    x, w = arg("x", B, 3), arg("w", 4, 3)
    graph = Graph("f", [x, w], [make_one(Softmax(1), make_one(Linear(), x, w))])

    def has_linear(op: Op, dtypes: tuple[DType, ...]) -> str | None:
        return None if op.mnemonic == "linear" else core_only(op, dtypes)

    found = ops(legalized(graph, has_linear))
    assert found[0] == "linear" and "softmax" not in found
    assert legalized(graph, lambda op, dtypes: None) is graph


def test_what_is_taken_apart_is_noted_once_with_the_reason():
    x = arg("x", B, 3)
    remarks = Remarks()
    graph = Graph("f", [x], [make_one(Relu(), b.neg(make_one(Relu(), x)))])
    Legalize("toy", core_only).run(graph, remarks)
    assert remarks.notes == ["legalize: relu is taken apart: it is no core op"]


def test_composites_within_composites_and_regions_are_taken_apart():
    logits, labels = arg("x", B, 3), arg("y", B, dtype=i64)
    v = arg("v", B, 3)
    (squashed,) = b.fuse("relu", Graph("", [v], [make_one(Relu(), v)]), [logits])
    graph = legalized(Graph("f", [logits, labels], [make_one(CrossEntropy(), squashed, labels)]))
    assert all(n.op.level is Level.CORE for n in graph.walk())


def test_a_composite_that_becomes_a_loop_is_taken_apart_within_it_too():
    x, w, r = arg("x", symbol("T"), 2, 3), arg("w", 1, 4, 3), arg("r", 1, 4, 4)

    def with_loops(op: Op, dtypes: tuple[DType, ...]) -> str | None:
        return None if isinstance(op, Scan) else core_only(op, dtypes)

    graph = Graph("main", [x, w, r], [b.rnn(x, w, r)[0]])
    pipeline = Pipeline.parse("decompose")
    for found in (legalized(graph, with_loops), run_pipeline(Program("p", [graph]), pipeline).program.main):
        (loop,) = (n for n in found.nodes if isinstance(n.op, Scan))
        assert ops(loop.regions[0]) == ["dot_general", "add", "tanh"]


def test_a_scan_of_constant_length_is_unrolled_where_the_backend_has_none():
    c, x = arg("c", 2), arg("x", 2)
    body = Graph("", [c, x], [b.add(c, x)])
    start, xs = arg("start", 2), arg("xs", 5, 2)
    graph = legalized(Graph("f", [start, xs], list(b.scan(body, [start], [xs], [], 5))))
    assert ops(graph).count("add") == 5


def test_what_cannot_run_is_listed_with_reason_and_line():
    c, x = arg("c", 2), arg("x", 2)
    start, xs = arg("start", 2), arg("xs", B, 2)
    with origins_of((Origin("rnn.py", 7),)):
        (last,) = b.scan(Graph("", [c, x], [b.add(c, x)]), [start], [xs], [], B)
    with origins_of((Origin("rnn.py", 8),)):
        narrow = b.cast(last, bf16)
    with pytest.raises(UnsupportedError) as found:
        legalized(Graph("f", [start, xs], [narrow]))
    assert found.value.message == "backend toy cannot run 2 of the program's nodes"
    assert found.value.details == (
        "scan(f32[2], f32[B,2]): it is no core op, at rnn.py:7",
        "cast(f32[2]): no bf16 here, at rnn.py:8",
    )
    assert found.value.where == ("rnn.py:7", "rnn.py:8")


def test_a_backend_that_does_not_exist_is_an_error():
    program = Program("p", [Graph("f", [arg("x", 2)], [arg("x", 2)])])
    with pytest.raises(BackendError, match="no backend is named nowhere"):
        run_pipeline(program, Pipeline.parse("legalize{backend=nowhere}"), verify=False)


def test_decompose_keeps_what_it_is_told_to():
    x = arg("x", B, 3)
    graph = Graph("f", [x], [make_one(Softmax(1), make_one(Relu(), x))])
    program = run_pipeline(Program("p", [graph]), Pipeline.parse("decompose{keep=relu}")).program
    assert ops(program.main)[0] == "relu" and "softmax" not in ops(program.main)


def looped(length: Any) -> Program:
    c, x, k = arg("c", 2), arg("x", 2), arg("k", 2)
    total = b.add(b.mul(c, k), x)
    body = Graph("", [c, x, k], [total, b.neg(total), b.tanh(c)])
    start, xs, kk = arg("start", 2), arg("xs", length, 2), arg("k", 2)
    found = b.scan(body, [start], [xs], [kk], length, reverse=True)
    return Program("p", [Graph("main", [start, xs, kk], [found[0], found[2]])])


def test_a_long_loop_gets_several_steps_a_trip_where_the_factor_divides_it():
    result = run_pipeline(looped(12), Pipeline.parse("unroll{max=4,factor=3}"))
    (scan,) = [n for n in result.program.main.nodes if isinstance(n.op, Scan)]
    assert isinstance(scan.op, Scan)
    assert (scan.op.length, ops(scan.regions[0]).count("tanh")) == (4, 3)


@pytest.mark.parametrize(
    ("length", "text", "reason"),
    [
        (40, "unroll", "a scan has 40 steps, more than max=32"),
        (B, "unroll", "the length B of a scan is not constant"),
    ],
)
def test_a_loop_that_stays_says_why(length: Any, text: str, reason: str):
    program = looped(length)
    result = run_pipeline(program, Pipeline.parse(text))
    assert result.program is program
    assert result.notes == (f"unroll: refused: {reason}",)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_of_no_steps_unrolls_to_its_start_and_empty_rows(reverse: bool):
    c, x = arg("c", 2), arg("x", 2)
    body = Graph("", [c, x], [b.add(c, x), b.neg(x)])
    start, xs = arg("start", 2), arg("xs", 0, 2)
    graph = Graph("main", [start, xs], list(b.scan(body, [start], [xs], [], 0, reverse=reverse)))
    after = run_pipeline(Program("p", [graph]), Pipeline.parse("unroll")).program.main
    assert after.outputs[0] is start
    assert str(after.outputs[1].type) == "f32[0,2]"


def test_dead_results_and_operands_of_loops_go():
    program = run_pipeline(looped(6), Pipeline.parse("dce")).program
    (scan,) = program.main.nodes
    assert len(scan.results) == 2
    assert ops(scan.regions[0]) == ["mul", "add", "tanh"]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((2,), (6, 2), (2,))]
    for old, new in zip(evaluate_program(looped(6), arrays), evaluate_program(program, arrays), strict=True):
        np.testing.assert_array_equal(new, old)


def test_an_operand_that_a_body_does_not_read_goes():
    v, unread = arg("v", 2), arg("u", 2)
    x, y = arg("x", 2), arg("y", 2)
    found = b.fuse("neg", Graph("", [unread, v], [b.neg(v), b.abs(v)]), [y, x])
    program = run_pipeline(Program("p", [Graph("main", [x, y], [found[0]])]), Pipeline.parse("dce")).program
    (node,) = program.main.nodes
    assert (node.operands, len(node.results), ops(node.regions[0])) == ((x,), 1, ["neg"])


def test_equal_loops_are_one_whatever_their_values_are_called():
    def body(name: str) -> Graph:
        c, x = arg(name, 2), arg(f"{name}_x", 2)
        return Graph("", [c, x], [b.add(c, x)])

    start, xs = arg("start", 2), arg("xs", 5, 2)
    first, second = (b.scan(body(n), [start], [xs], [], 5)[0] for n in ("c", "other"))
    third = b.scan(body("c"), [start], [xs], [], 5, reverse=True)[0]
    graph = Graph("main", [start, xs], [b.add(first, second), third])
    program = run_pipeline(Program("p", [graph]), Pipeline.parse("cse")).program
    assert ops(program.main) == ["scan", "add", "scan"]


def test_constants_that_differ_in_a_bit_stay_apart():
    x = arg("x", 2)
    plus, minus = (b.mul(x, b.full_like(x, z)) for z in (0.0, -0.0))
    graph = Graph("main", [x], [plus, minus])
    program = run_pipeline(Program("p", [graph]), Pipeline.parse("cse")).program
    assert ops(program.main).count("mul") == 2
