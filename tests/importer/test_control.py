"""If, Loop and Scan: bodies known at import vanish, others become branches and loops; all agree with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import nervure as nv

BACKENDS = ["reference", "llvm", "onnx"]


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=()):
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def agree(given, arrays, backend):
    session = onnxruntime.InferenceSession(given.SerializeToString())
    feeds = dict(zip([i.name for i in session.get_inputs()], arrays, strict=True))
    wanted = session.run(None, feeds)
    found = nv.compile(nv.import_onnx(given), backend=backend)(*arrays)
    for a, want in zip(found if isinstance(found, tuple | list) else [found], wanted, strict=True):
        assert a.shape == want.shape
        np.testing.assert_allclose(a, want, rtol=1e-6, atol=1e-6)


def branching():
    then = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["t"])], "then", [], [info("t", ["N", 4])])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [info("e", ["N", 4])])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"zero": np.float32(0), "w": np.arange(4, dtype=np.float32)}
    return model(nodes, [info("x", ["N", 4])], [info("y", ["N", 4])], weights)


def halving(trips):
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["a", "half"], ["b"]),
            helper.make_node("ReduceMax", ["b"], ["most"], keepdims=0),
            helper.make_node("Greater", ["most", "one"], ["go"]),
        ],
        "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("a", ["N", 4])],
        [info("go", [], TensorProto.BOOL), info("b", ["N", 4])],
        [numpy_helper.from_array(np.float32(v), n) for n, v in (("half", 0.5), ("one", 1.0))],
    )
    inputs = [info("trips", [], TensorProto.INT64)] if trips else []
    node = helper.make_node("Loop", ["trips" if trips else "", "true", "x"], ["y"], body=body)
    return model([node], [*inputs, info("x", ["N", 4])], [info("y", ["N", 4])], {"true": np.array(True)})


def summing(count):
    """A state and a result a step, with outer names inside; the number of steps is a constant."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["a", "w"], ["b"]),
            helper.make_node("Identity", ["c"], ["go"]),
            helper.make_node("Mul", ["b", "b"], ["square"]),
        ],
        "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("a", ["N", 4])],
        [info("go", [], TensorProto.BOOL), info("b", ["N", 4]), info("square", ["N", 4])],
    )
    node = helper.make_node("Loop", ["count", "true", "x"], ["y", "z"], body=body)
    weights = {"count": np.array(count), "true": np.array(True), "w": np.ones(4, np.float32)}
    return model([node], [info("x", ["N", 4])], [info("y", ["N", 4]), info("z", [count, "N", 4])], weights)


def growing():
    body = helper.make_graph(
        [helper.make_node("Concat", ["a", "x"], ["b"], axis=0), helper.make_node("Identity", ["c"], ["go"])],
        "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("a", None)],
        [info("go", [], TensorProto.BOOL), info("b", None)],
    )
    node = helper.make_node("Loop", ["count", "true", "x"], ["y"], body=body)
    weights = {"count": np.array(3), "true": np.array(True)}
    return model([node], [info("x", [2, 4])], [info("y", [8, 4])], weights)


X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shift", [5, -5])
def test_a_branch_is_taken_by_what_the_program_computes(backend, shift):
    agree(branching(), [X + np.float32(shift)], backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_ends_by_its_condition_or_its_count(backend):
    agree(halving(False), [X * 100], backend)
    agree(halving(True), [np.array(3), X * 100], backend)
    agree(halving(True), [np.array(0), X], backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_counted_loop_is_a_scan_with_results_of_each_step(backend):
    given = summing(4)
    assert "scan{" in str(nv.import_onnx(given))
    agree(given, [X], backend)


def test_a_loop_whose_state_grows_is_written_out():
    given = growing()
    assert "scan" not in str(nv.import_onnx(given)) and "while" not in str(nv.import_onnx(given))
    agree(given, [X[:2]], "reference")


def test_a_condition_known_at_import_leaves_no_branch():
    given = branching()
    given.graph.node[2].input[0] = "yes"
    given.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    program = nv.import_onnx(given)
    assert [n.op.mnemonic for n in program.main.nodes] == ["broadcast_in_dim", "mul"]


def counting(length, stop="T"):
    """A recurrence as exporters of TensorFlow write it: beside the count a condition on two counters, rows by number.

    Args:
        length: of the sequence, a number or a name
        stop:   what the counters are held against: the length T, or T - 1, which ends the loop a step early
    """
    nodes = [
        helper.make_node("Gather", ["x", "i"], ["row"]),
        helper.make_node("Add", ["h", "row"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["new"]),
        helper.make_node("Identity", ["new"], ["y"]),
        helper.make_node("Add", ["i", "one"], ["next"]),
        *(helper.make_node("Cast", [n], [f"{n}.f"], to=1) for n in ("next", "limit", "step")),
        helper.make_node("Less", ["next.f", "limit.f"], ["a"]),
        helper.make_node("Less", ["step.f", "limit.f"], ["b"]),
        helper.make_node("And", ["a", "b"], ["go"]),
    ]
    whole, state = TensorProto.INT32, info("h", ["N", 4])
    body = helper.make_graph(
        nodes,
        "body",
        [info("step", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("i", [], whole), state, info("limit", [], whole)],
        [info("go", [], TensorProto.BOOL), info("next", [], whole), info("new", ["N", 4]), info("limit", [], whole), info("y", ["N", 4])],
        [numpy_helper.from_array(np.int32(1), "one")],
    )  # fmt: skip
    outer = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["T"]),
        helper.make_node("Sub", ["T", "one64"], ["T - 1"]),
        helper.make_node("Cast", [stop], ["stop"], to=whole),
        helper.make_node("Cast", ["stop"], ["stop.f"], to=1),
        helper.make_node("Less", ["zero.f", "stop.f"], ["going"]),
        helper.make_node("Loop", ["T", "going", "first", "h0", "stop"], ["n", "last", "l", "ys"], body=body),
    ]
    weights = {"zero": np.int64(0), "one64": np.int64(1), "zero.f": np.float32(0), "first": np.int32(0)}
    outputs = [info("last", ["N", 4]), info("ys", [None, "N", 4])]
    return model(outer, [info("x", [length, "N", 4]), info("h0", ["N", 4])], outputs, weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_condition_that_says_what_the_count_says_ends_no_loop_early(backend):
    given = counting("T")
    program = nv.import_onnx(given)
    (scan,) = (n for n in program.main.nodes if n.op.mnemonic == "scan")
    assert not any(n.op.mnemonic == "gather" for n in scan.regions[0].nodes), "rows come with the steps"
    for length in (1, 2, 9):
        agree(given, [np.random.default_rng(length).normal(size=(length, 3, 4)).astype("f4"), X], backend)


def test_such_a_loop_of_known_length_is_not_written_out():
    program = nv.import_onnx(counting(20))
    assert [n.op.mnemonic for n in program.main.nodes].count("tanh") == 0
    agree(counting(20), [np.random.default_rng(1).normal(size=(20, 3, 4)).astype("f4"), X], "llvm")


def test_a_condition_that_ends_a_loop_a_step_early_is_seen():
    with pytest.raises(nv.NervureError, match="a condition may end early have no known length"):
        nv.import_onnx(counting("T", "T - 1"))
    agree(counting(5, "T - 1"), [np.random.default_rng(1).normal(size=(5, 3, 4)).astype("f4"), X], "llvm")
