"""What a model asks of the sizes it leaves open: multiples, ranges, and branches that ask nothing."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import nervure as nv
from nervure.frontend.onnx.equations import solution
from nervure.ir.dims import evaluate_dim, floordiv, free_symbols, substitute, symbol

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=None):
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def random(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def same_as_onnxruntime(program, given, *arrays, backend="llvm"):
    session = onnxruntime.InferenceSession(given.SerializeToString())
    wanted = session.run(None, {i.name: a for i, a in zip(session.get_inputs(), arrays, strict=True)})
    found = nv.compile(program, backend=backend)(*arrays)
    for a, want in zip(found if isinstance(found, list | tuple) else [found], wanted, strict=True):
        close(a, want)


def close(a, want):
    np.testing.assert_allclose(a, want, rtol=0, atol=1e-5 * np.abs(want).max())


H = symbol("H", 1, 1 << 20)
W = symbol("W", 1, 1 << 20)
HALF = floordiv(H - 1, 2) + 1
QUARTER = floordiv(floordiv(H - 1, 2), 2) + 1


@pytest.mark.parametrize(
    ("difference", "name", "text"),
    [
        (2 * HALF - H, "H", "2*H"),  # halved and doubled: even
        (4 * QUARTER - H, "H", "4*H"),
        (2 * QUARTER - HALF, "H", "4*H"),
        (2 * floordiv(H - 3, 2) + 3 - H, "H", "2*H+1"),  # a window of 3 without pad, doubled, and 3 more: odd
        (floordiv(H - 192, 512), "H", "H"),
        (120 * W * floordiv(H - 5, 3) * floordiv(W + 2, 2), "H", "H"),  # one factor alone can be 0
        (H * W - 6 * W, "H", "6"),
        (W - H - 3, "W", "H+3"),
    ],
)
def test_what_a_symbol_has_to_be(difference, name, text):
    found = solution(difference)
    assert found is not None
    assert (found[0], str(found[1])) == (name, text)
    left = substitute(difference, dict([found]))
    names = {s.name: s for s in free_symbols(left)}
    for k in range(50):
        sizes = {n: min(s.lo + k, s.hi) for n, s in names.items()}
        assert evaluate_dim(left, sizes) == 0


@pytest.mark.parametrize("difference", [H - H - 1, floordiv(H, 2) - floordiv(W, 3) - H * W, H + 1])
def test_what_no_size_does(difference):
    assert solution(difference) is None


def unet(weights):
    """A window of stride 2 twice, doubled again, beside what came before."""
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["half"], strides=[2, 2], **pads),
        helper.make_node("Conv", ["half", "b"], ["quarter"], strides=[2, 2], **pads),
        helper.make_node("Resize", ["quarter", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Concat", ["half", "up"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "c"], ["y"], **pads),
    ]
    return model(nodes, [info("x", ["N", 3, "H", "W"])], [info("y", ["N", 2, "h", "w"])], weights)


WEIGHTS = {
    "a": random(4, 3, 3, 3),
    "b": random(4, 4, 3, 3),
    "c": random(2, 8, 3, 3),
    "scales": np.array([1, 1, 2, 2], np.float32),
}


@pytest.mark.parametrize("backend", ["llvm", "onnx", "reference"])
def test_a_network_that_halves_and_doubles_takes_multiples(backend):
    given = unet(WEIGHTS)
    program = nv.import_onnx(given)
    assert str(program.main.inputs[0].type) == "f32[N,3,4*H,4*W]"
    assert str(program.main.outputs[0].type) == "f32[N,2,2*H,2*W]"
    for shape in ((1, 3, 8, 12), (2, 3, 20, 4)):
        same_as_onnxruntime(program, given, random(*shape), backend=backend)


def test_another_size_is_refused_with_what_would_do():
    run = nv.compile(nv.import_onnx(unet(WEIGHTS)))
    with pytest.raises(nv.NervureError, match=r"input x: axis 2 is 10, expected 4\*H with H in 1\.\.262144"):
        run(random(1, 3, 10, 8))


def test_the_export_of_multiples_runs_on_onnxruntime(tmp_path):
    program = nv.import_onnx(unet(WEIGHTS))
    nv.export_onnx(program, tmp_path / "again.onnx")
    x = random(2, 3, 8, 16)
    again = onnxruntime.InferenceSession(str(tmp_path / "again.onnx")).run(None, {"x": x})[0]
    close(nv.compile(program)(x), again)
    assert str(nv.import_onnx(tmp_path / "again.onnx").main.inputs[0].type).count("4*") == 2


def test_an_input_of_the_users_own_may_be_a_multiple():
    program = nv.trace(lambda x: x.reshape(-1, 2).sum(axis=1), "f32[2*N]")
    run = nv.compile(program)
    np.testing.assert_array_equal(run(np.arange(6, dtype=np.float32)), [1, 5, 9])
    with pytest.raises(nv.NervureError, match=r"axis 0 is 7, expected 2\*N"):
        run(np.zeros(7, np.float32))


def test_an_axis_that_does_not_say_what_its_symbols_are_is_an_error():
    run = nv.compile(nv.trace(lambda x: x + 1, "f32[M*N]"), backend="reference")
    with pytest.raises(nv.NervureError, match=r"axis 0 is M\*N, which does not say what M is"):
        run(np.zeros(6, np.float32))


def test_a_size_without_a_name_is_one_of_its_own():
    """`?` at two axes, and -1, as some exporters write open sizes."""
    given = model(
        [helper.make_node("Relu", ["x"], ["y"])], [info("x", [1, "?", "?"])], [info("y", [1, "?", "?"])]
    )
    given.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    program = nv.import_onnx(given)
    assert len(program.symbols) == 3
    assert nv.compile(program)(random(2, 3, 4)).shape == (2, 3, 4)


@pytest.mark.parametrize("size", [3, 8])
def test_a_range_up_to_a_size_that_was_made_a_float(size):
    """The grid of a detector: Shape, Cast to float, Range, half a cell on."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["w"], axis=0),
        helper.make_node("Cast", ["w"], ["wf"], to=FLOAT),
        helper.make_node("Mul", ["wf", "two"], ["w2"]),
        helper.make_node("Range", ["zero", "w2", "unit"], ["places"]),
        helper.make_node("Add", ["places", "half"], ["y"]),
    ]
    floats = {"two": 2, "zero": 0, "unit": 1, "half": 0.5}
    weights = {k: np.array(v, np.float32) for k, v in floats.items()} | {"one": np.array(1)}
    given = model(nodes, [info("x", [1, "W"])], [info("y", ["V"])], weights)
    program = nv.import_onnx(given)
    assert str(program.main.outputs[0].type) == "f32[2*W]"
    same_as_onnxruntime(program, given, random(1, size))


def test_a_float_range_with_halves_is_refused_where_its_end_is_open():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["w"], axis=0),
        helper.make_node("Cast", ["w"], ["wf"], to=FLOAT),
        helper.make_node("Range", ["start", "wf", "unit"], ["y"]),
    ]
    weights = {"start": np.array(0.5, np.float32), "unit": np.array(1, np.float32), "one": np.array(1)}
    given = model(nodes, [info("x", [1, "W"])], [info("y", ["V"])], weights)
    with pytest.raises(nv.NervureError, match="numbers that are not whole"):
        nv.import_onnx(given)


def two_rates():
    """One of two windows by a flag; either leaves a single step for its own lengths, and the step's axis goes."""

    def branch(name, stride):
        nodes = [
            helper.make_node("Conv", ["x", f"w{stride}"], [f"{name}_c"], strides=[stride]),
            helper.make_node("Squeeze", [f"{name}_c", "last"], [f"{name}_y"]),
        ]
        return helper.make_graph(nodes, name, [], [info(f"{name}_y", ["N", 2])])

    weights = {"w4": random(2, 1, 4), "w8": random(2, 1, 8), "last": np.array([2])}
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("slow", 4), else_branch=branch("fast", 8))
    ]
    inputs = [info("x", ["N", 1, "T"]), info("flag", [], TensorProto.BOOL)]
    return model(nodes, inputs, [info("y", ["N", 2])], weights)


def test_a_branch_asks_nothing_of_sizes_that_the_other_one_takes():
    given = two_rates()
    program = nv.import_onnx(given)
    same_as_onnxruntime(program, given, random(2, 1, 15), np.array(False))
    run = nv.compile(program)
    assert np.isnan(run(random(2, 1, 15), np.array(True))).all()  # three steps, where one is meant


def test_a_squeeze_if_there_is_one_step_narrows_the_length():
    """As PyTorch exports x.squeeze(2) of an open length."""
    then = helper.make_graph(
        [helper.make_node("Squeeze", ["c", "last"], ["t"])], "then", [], [info("t", ["N", 2])]
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["e"])], "else", [], [info("e", ["N", 2, "L"])]
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[8]),
        helper.make_node("Shape", ["c"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["d"], axis=0),
        helper.make_node("Equal", ["d", "one"], ["single"]),
        helper.make_node("If", ["single"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": random(2, 1, 8), "last": np.array([2]), "one": np.array(1), "two": np.array(2)}
    given = model(nodes, [info("x", ["N", 1, "T"])], [info("y", None)], weights)
    program = nv.import_onnx(given)
    (length,) = [s for s in program.symbols if s.name == "T"]
    assert (length.lo, length.hi) == (8, 15)
    same_as_onnxruntime(program, given, random(3, 1, 12))
