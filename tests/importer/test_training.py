"""An imported model is fine-tuned, and its training step is exported again."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import nervure as nv
from nervure import nn, optim


def small_cnn():
    rng = np.random.default_rng(0)

    def weight(name, *shape, scale=0.3):
        return numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "act"),
        helper.make_node("MaxPool", ["r"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], "head", transB=1),
    ]
    weights = [weight("w1", 4, 1, 3, 3), weight("w2", 3, 16), weight("b2", 3)]
    weights += [numpy_helper.from_array(np.full(4, v, np.float32), n) for n, v in
                (("scale", 1.0), ("shift", 0.1), ("mean", 0.2), ("var", 0.8))]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def batch():
    rng = np.random.default_rng(1)
    return rng.normal(size=(6, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 6)


def test_statistics_are_state_and_weights_learn():
    program = nv.import_onnx(small_cnn())
    assert {n for n, e in program.store.items() if e.kind == "state"} == {"mean", "var"}
    step = nv.compile(nv.training_step(program, nn.cross_entropy, optim.SGD(lr=0.1), "i64[N]"))
    x, y = batch()
    before = program.store["w1"].data.copy()
    losses = [float(step(x, y)) for _ in range(30)]
    assert losses[-1] < 0.2 * losses[0]
    assert np.abs(program.store["w1"].data - before).max() > 1e-3
    run = nv.compile(program)
    assert (run(x).argmax(1) == y).all(), "the program shares its weights with the step"


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_the_first_step_is_that_of_central_differences(backend):
    program = nv.import_onnx(small_cnn())
    x, y = batch()
    step = nv.compile(
        nv.training_step(program, nn.cross_entropy, optim.SGD(lr=1.0), "i64[N]"), backend=backend
    )
    entry = program.store["w2"]
    old = entry.data.copy()
    step(x, y)
    slope = old - entry.data

    def loss(weight):
        entry.assign(weight)
        logits = nv.compile(program, backend="reference")(x).astype(np.float64)
        return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]))

    program2 = nv.import_onnx(small_cnn())
    program.store["w1"].assign(program2.store["w1"].data)
    for name in ("b2", "scale", "shift"):
        program.store[name].assign(program2.store[name].data)
    direction = np.random.default_rng(2).normal(size=old.shape).astype(np.float32)
    numeric = (loss(old + 1e-2 * direction) - loss(old - 1e-2 * direction)) / 2e-2
    assert abs(numeric - float((slope * direction).sum())) < 2e-3


def test_the_step_of_an_imported_model_trains_on_a_stock_onnxruntime(tmp_path):
    program = nv.import_onnx(small_cnn())
    step = nv.training_step(program, nn.cross_entropy, optim.SGD(lr=0.1), "i64[N]")
    path = tmp_path / "step.onnx"
    nv.export_onnx(step, path)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    x, y = batch()
    feeds = {i.name: step.store[i.name].data.copy() for i in session.get_inputs() if i.name in step.store}
    rest = [i.name for i in session.get_inputs() if i.name not in step.store]
    feeds |= dict(zip(rest, (x, y), strict=True))
    run, losses = nv.compile(step), []
    for _ in range(5):
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
        losses.append((float(next(iter(outputs.values()))), float(run(x, y))))
        feeds |= {n.removesuffix(".next"): v for n, v in outputs.items() if n.endswith(".next")}
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)
    assert losses[-1][0] < losses[0][0]
