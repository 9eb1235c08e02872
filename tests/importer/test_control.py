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


def stepping(nodes, first, count, *, x=None, weights=(), outputs=()):
    """A loop that counts its steps beside a state i and a tensor h of three; `nodes` say what becomes of i, h and go.

    Args:
        first:   of i, an array
        x:       a shape of an input that the body may read
        outputs: names of results of each step, with their shapes
    """
    whole = helper.np_dtype_to_tensor_dtype(first.dtype)
    i, h, boolean = list(first.shape), [3], TensorProto.BOOL
    body = helper.make_graph(
        [*nodes, helper.make_node("Add", ["n", "one.f"], ["n.next"])],
        "body",
        [info("step", [], TensorProto.INT64), info("c", [], boolean), info("i", i, whole), info("h", h), info("n", [])],
        [info("go", [], boolean), info("i.next", i, whole), info("h.next", h), info("n.next", []), *(info(name, shape) for name, shape in outputs)],
    )  # fmt: skip
    names = [f"all.{name}" for name, _ in outputs]
    loop = helper.make_node("Loop", ["count", "true", "first", "h0", "n0"], ["i.last", "h.last", "n.last", *names], body=body)  # fmt: skip
    inputs = [info("h0", h)] if x is None else [info("h0", h), info("x", x)]
    made = [info("i.last", i, whole), info("h.last", h), info("n.last", [])]
    own = {"count": np.int64(count), "true": np.array(True), "first": first, "n0": np.float32(0), "one.f": np.float32(1)}  # fmt: skip
    return model([loop], inputs, [*made, *(info(n, None) for n in names)], own | dict(weights))


H = np.arange(3, dtype=np.float32)
UP, STAYS = (
    helper.make_node("Add", ["i", "one"], ["i.next"]),
    helper.make_node("Identity", ["h"], ["h.next"]),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3)])
def test_a_counter_of_one_element_reads_rows_with_an_axis_of_length_one(shape, backend):
    rank = len(shape) - 1
    nodes = [
        UP,
        helper.make_node("Identity", ["c"], ["go"]),
        helper.make_node("Gather", ["x", "i"], ["row"]),
        helper.make_node("ReduceSum", ["row", "zero"], ["flat"], keepdims=0),
        *([helper.make_node("ReduceMax", ["flat"], ["max"], axes=[0], keepdims=0)] if rank == 2 else []),
        helper.make_node("Add", ["h", "max" if rank == 2 else "flat"], ["h.next"]),
        helper.make_node("Identity", ["row"], ["y"]),
    ]
    given = stepping(
        nodes, np.zeros(1, np.int64), 4, x=shape, outputs=[("y", [1, *shape[1:]])],
        weights={"one": np.ones(1, np.int64), "zero": np.zeros(1, np.int64)},
    )  # fmt: skip
    program = nv.import_onnx(given)
    (scan,) = (n for n in program.main.nodes if n.op.mnemonic == "scan")
    assert not any(n.op.mnemonic == "gather" for n in scan.regions[0].nodes), "rows come with the steps"
    agree(given, [H, np.arange(np.prod(shape), dtype=np.float32).reshape(shape)], backend)


def test_a_loop_that_counts_from_below_zero_is_seen_as_it_counts():
    for op, first, limit, count in (
        ("Max", -3, 3, 6),
        ("Max", -80, 20, 90),
        ("Max", 0, 6, 6),
        ("Abs", -3, 3, 6),
    ):
        operands = ["i", "zero"] if op == "Max" else ["i"]
        nodes = [
            helper.make_node(op, operands, ["m"]),
            helper.make_node("Add", ["m", "one"], ["i.next"]),
            STAYS,
            helper.make_node("Less", ["i.next", "limit"], ["go"]),
        ]
        weights = {"one": np.int64(1), "zero": np.int64(0), "limit": np.int64(limit)}
        agree(stepping(nodes, np.array(first), count, weights=weights), [H], "llvm")


WRAPS = {
    "u8": ([helper.make_node("Cast", ["i.next"], ["u"], to=TensorProto.UINT8)], np.array(253), 6),
    "i8": ([helper.make_node("Cast", ["i.next"], ["u"], to=TensorProto.INT8)], np.array(124), 6),
    "f32": ([helper.make_node("Cast", ["i.next"], ["u"], to=TensorProto.FLOAT)], np.array(2**24 - 2), 6),
    "sum": ([helper.make_node("Add", ["i.next", "most"], ["u"])], np.array(0, np.int32), 6),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_a_condition_that_wraps_ends_a_loop(kind):
    nodes, first, count = WRAPS[kind]
    back = helper.np_dtype_to_tensor_dtype(first.dtype)
    tests = [
        helper.make_node("Cast", ["u"], ["back"], to=back),
        helper.make_node("GreaterOrEqual", ["back", "i.next"], ["go"]),
    ]
    weights = {"one": np.ones((), first.dtype), "most": np.array(2**31 - 4, np.int32)}
    agree(stepping([UP, STAYS, *nodes, *tests], first, count, weights=weights), [H], "llvm")


def test_a_condition_on_counters_below_zero_is_seen_by_each_op():
    below = {
        "max": [helper.make_node("ReduceMax", ["i.next"], ["m"], keepdims=1)],
        "mod": [helper.make_node("Mod", ["i.next", "three"], ["m"], fmod=1)],
        "inf": [helper.make_node("Identity", ["i.next"], ["m"])],
    }
    for kind, nodes in below.items():
        last = (
            [
                helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Greater", ["f", "inf"], ["gone"]),
            ]
            if kind == "inf"
            else [helper.make_node("GreaterOrEqual", ["m", "zero"], ["gone"])]
        )
        weights = {
            "one": np.ones(1, np.int64),
            "zero": np.zeros(1, np.int64),
            "three": np.full(1, 3),
            "inf": np.full(1, np.inf, np.float32),
            "scalar": np.zeros(0, np.int64),
        }
        shaped = helper.make_node("Reshape", ["gone", "scalar"], ["go"])
        agree(stepping([UP, STAYS, *nodes, *last, shaped], np.full(1, -5), 4, weights=weights), [H], "llvm")


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("stop", [2, 9])
def test_a_step_number_of_one_element_is_what_the_body_gets(stop, rows):
    """All rows come with the steps, else each is gathered; a condition that ends the loop early makes it a while."""
    nodes = [
        UP,
        helper.make_node("Less", ["i.next", "limit"], ["go"]),
        helper.make_node("Gather", ["x", "step"], ["row"]),
        helper.make_node("ReduceSum", ["row", "zero"], ["flat"], keepdims=0),
        helper.make_node("Add", ["h", "flat"], ["h.next"]),
    ]
    weights = {"one": np.int64(1), "zero": np.zeros(1, np.int64), "limit": np.int64(stop)}
    given = stepping(nodes, np.array(0), 3, x=(rows, 3), weights=weights)
    given.graph.node[0].attribute[0].g.input[0].CopyFrom(info("step", [1], TensorProto.INT64))
    agree(given, [H, np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)], "llvm")
