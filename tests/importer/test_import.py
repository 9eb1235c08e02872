"""Models from elsewhere as programs: they compile, and agree with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import light_model

import nervure as nv


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def perceptron():
    rng = np.random.default_rng(0)
    shapes = {"fc1.weight": (16, 8), "fc1.bias": (16,), "fc2.weight": (16, 3), "fc2.bias": (3,)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], "/fc1/Gemm", transB=1),
        helper.make_node("Relu", ["h"], ["a"], "/act/Relu"),
        helper.make_node("MatMul", ["a", "fc2.weight"], ["m"], "/fc2/MatMul"),
        helper.make_node("Add", ["m", "fc2.bias"], ["y"], "/fc2/Add"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_perceptron_gives_what_onnxruntime_gives_at_every_batch(backend):
    model = perceptron()
    program = nv.import_onnx(model)
    run, other = nv.compile(program, backend=backend), session(model)
    for batch in (1, 7):
        x = np.random.default_rng(batch).normal(size=(batch, 8)).astype(np.float32)
        np.testing.assert_allclose(run(x), other.run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_names_of_weights_nodes_and_sizes_are_kept():
    program = nv.import_onnx(perceptron())
    assert list(program.store) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert all(entry.trainable for entry in program.store.values())
    assert [str(v.type) for v in program.main.inputs] == ["f32[batch,8]"]
    text = str(program)
    assert '@ "mlp#/fc1/Gemm":1' in text
    assert "%h = linear %x, @fc1.weight, @fc1.bias" in text


def test_paths_and_bytes_are_read_too(tmp_path):
    path = tmp_path / "mlp.onnx"
    onnx.save(perceptron(), str(path))
    texts = {
        str(nv.import_onnx(source)).partition("graph")[0] for source in (path, str(path), path.read_bytes())
    }
    assert len(texts) == 1


def test_a_cnn_of_the_onnx_wheel_agrees_with_onnxruntime():
    model = light_model("squeezenet")
    other = session(model)
    (given,) = other.get_inputs()
    x = np.random.default_rng(1).normal(size=given.shape).astype(np.float32)
    want = other.run(None, {given.name: x})[0]
    found = nv.compile(nv.import_onnx(model))(x)
    assert np.abs(found - want).max() <= 1e-3 * np.abs(want).max()
    assert want.std() > 0.01 * np.abs(want).max(), "the model tells its inputs apart"


def test_every_node_that_cannot_be_imported_is_reported_at_once():
    model = perceptron()
    model.graph.node[1].op_type = "Rulu"
    model.graph.node.append(helper.make_node("StringNormalizer", ["y"], ["z"], "odd"))
    with pytest.raises(nv.NervureError) as caught:
        nv.import_onnx(model)
    assert "2 nodes cannot be imported" in str(caught.value)
    assert [r.node for r in caught.value.report.refusals] == ["/act/Relu", "odd"]
