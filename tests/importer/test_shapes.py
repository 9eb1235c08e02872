"""Shapes that a model computes: arithmetic on dims leaves no node; what inputs decide is bound; symbols learn."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import nervure as nv

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=None, opset=17):
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def flattened():
    """x.reshape(x.shape[0], -1) as exporters write it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axes"], ["nu"]),
        helper.make_node("Concat", ["nu", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    weights = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    return model(nodes, [info("x", ["N", 3, "W"])], [info("y", ["N", "M"])], weights)


def test_the_plumbing_of_shapes_becomes_symbolic_dims():
    program = nv.import_onnx(flattened())
    assert [n.op.mnemonic for n in program.main.nodes] == ["reshape"]
    assert str(program.main.outputs[0].type) == "f32[N,3*W]"
    run = nv.compile(program)
    for shape in ((1, 3, 5), (7, 3, 2)):
        assert run(np.zeros(shape, np.float32)).shape == (shape[0], 3 * shape[2])


def reshaping():
    return model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"], "there")],
        [info("x", [2, 6]), info("shape", [2], INT)],
        [info("y", [None, None])],
    )


def test_an_input_that_decides_a_shape_is_named_and_can_be_bound():
    with pytest.raises(nv.NervureError) as caught:
        nv.import_onnx(reshaping())
    assert caught.value.report.needs == ("shape",)
    assert "bind={'shape': ...}" in str(caught.value)
    program = nv.import_onnx(reshaping(), bind={"shape": [3, -1]})
    assert [v.name for v in program.main.inputs] == ["x"]
    assert str(program.main.outputs[0].type) == "f32[3,4]"


def test_a_window_gives_its_symbol_a_least_size():
    weights = {"w": np.ones((1, 1, 5, 5), np.float32)}
    given = model(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Conv", ["c", "w"], ["y"])],
        [info("x", [1, 1, "H", 20])],
        [info("y", [1, 1, "h", 12])],
        weights,
    )
    program = nv.import_onnx(given)
    (symbol,) = program.symbols
    assert (symbol.name, symbol.lo) == ("H", 9)


def test_sizes_that_have_to_be_equal_become_one():
    given = model(
        [helper.make_node("Add", ["x", "z"], ["y"])],
        [info("x", ["N", 4]), info("z", ["M", 4])],
        [info("y", ["N", 4])],
    )
    program = nv.import_onnx(given)
    assert len(program.symbols) == 1
    with pytest.raises(nv.NervureError):
        nv.compile(program)(np.zeros((2, 4), np.float32), np.zeros((3, 4), np.float32))


def test_types_sizes_and_ranges_can_be_given():
    given = flattened()
    assert str(nv.import_onnx(given, dims={"N": 4}).main.inputs[0].type) == "f32[4,3,W]"
    assert nv.import_onnx(given, dims={"W": (8, 64)}).symbols[1].hi == 64
    assert str(nv.import_onnx(given, inputs={"x": "f32[2,3,5]"}).main.outputs[0].type) == "f32[2,15]"


@pytest.mark.parametrize("argument", ["inputs", "bind", "dims"])
def test_an_argument_that_names_nothing_says_what_there_is(argument):
    with pytest.raises(nv.NervureError, match=r"'q'.*(x|N, W)"):
        nv.import_onnx(flattened(), **{argument: {"q": 1 if argument != "inputs" else "f32[1]"}})


@pytest.mark.parametrize("size", [11, 12, 13])
def test_same_padding_of_a_symbolic_size_is_that_of_each_size(size):
    """The low end depends on the remainder: 3 wide, stride 2."""
    weights = {"w": np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)}
    options = {"auto_pad": "SAME_UPPER", "strides": [2, 2], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], **options),
        helper.make_node("MaxPool", ["c"], ["y"], **options),
    ]
    given = model(nodes, [info("x", [1, 1, "H", "W"])], [info("y", [1, 2, "h", "w2"])], weights)
    x = np.random.default_rng(1).normal(size=(1, 1, size, size + 1)).astype(np.float32)
    want = onnxruntime.InferenceSession(given.SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(nv.compile(nv.import_onnx(given))(x), want, rtol=1e-5, atol=1e-5)


def test_names_of_outputs_survive_import_and_export(tmp_path):
    given = flattened()
    path = tmp_path / "again.onnx"
    nv.export_onnx(nv.import_onnx(given), path)
    session = onnxruntime.InferenceSession(str(path))
    assert [o.name for o in session.get_outputs()] == ["y"]
    assert [i.name for i in session.get_inputs()] == ["x"]
    assert str(nv.import_onnx(path).main.outputs[0].type) == "f32[N,3*W]"


def test_a_model_older_than_the_table_is_converted_first():
    given = model(
        [helper.make_node("Dropout", ["x"], ["d"], is_test=1), helper.make_node("Relu", ["d"], ["y"])],
        [info("x", [2, 3])],
        [info("y", [2, 3])],
        opset=6,
    )
    assert [n.op.mnemonic for n in nv.import_onnx(given).main.nodes] == ["relu"]


def test_functions_of_the_model_are_written_in_place():
    function = helper.make_function(
        "mine",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"], "inner")],
        [helper.make_opsetid("", 17)],
    )
    nodes = [helper.make_node("Double", ["x"], ["y"], "outer", domain="mine")]
    given = model(nodes, [info("x", ["N"])], [info("y", ["N"])])
    given.functions.append(function)
    given.opset_import.append(helper.make_opsetid("mine", 1))
    program = nv.import_onnx(given)
    assert '@ "g#outer/inner"' in str(program)
    np.testing.assert_array_equal(nv.compile(program)(np.ones(3, np.float32)), 2 * np.ones(3))


def test_a_roll_along_an_axis_of_any_length_is_two_slices():
    """As torch.roll is exported: both parts count from the end of a symbolic axis."""
    weights = {"end": np.array([-1]), "far": np.array([2**62]), "zero": np.array([0]), "axis": np.array([1])}
    nodes = [
        helper.make_node("Slice", ["x", "end", "far", "axis"], ["last"]),
        helper.make_node("Slice", ["x", "zero", "end", "axis"], ["rest"]),
        helper.make_node("Concat", ["last", "rest"], ["y"], axis=1),
    ]
    program = nv.import_onnx(model(nodes, [info("x", ["N", "T"])], [info("y", ["N", "T"])], weights))
    assert str(program.main.outputs[0].type) == "f32[N,T]"
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    np.testing.assert_array_equal(nv.compile(program)(x), np.roll(x, 1, 1))


def test_a_constant_is_not_computed_through_a_tensor_that_is_too_large():
    weights = {"shape": np.array([2**20, 2**12]), "axes": np.array([0, 1])}
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["large"]),
        helper.make_node("ReduceMax", ["large", "axes"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    program = nv.import_onnx(model(nodes, [info("x", [2])], [info("y", [2])], weights, opset=18))
    assert "reduce_max" in str(program)


def test_what_changes_within_a_loop_cannot_be_bound():
    """A carry that decides a shape: the refusal names no input, and has no hint to bind one."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Range", ["zero", "n", "one"], ["places"]),
            helper.make_node("ReduceMax", ["places"], ["n_next"], keepdims=0),
        ],
        "body",
        [info("k", [], INT), info("go", [], TensorProto.BOOL), info("n", [], INT)],
        [info("go_on", [], TensorProto.BOOL), info("n_next", [], INT)],
    )
    nodes = [
        helper.make_node("Add", ["start", "one"], ["first"]),
        helper.make_node("Loop", ["count", "", "first"], ["y"], "round", body=body),
    ]
    weights = {"count": np.array(100), "zero": np.array(0), "one": np.array(1)}
    given = model(nodes, [info("start", [], INT)], [info("y", [], INT)], weights)
    with pytest.raises(nv.NervureError, match="must be known before the program runs") as caught:
        nv.import_onnx(given)
    assert caught.value.report.needs == ()
    assert "bind" not in str(caught.value)
