"""The nine CNN graphs of the onnx wheel with weights that tell answers apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

__all__ = ["LIGHT", "light_model", "open_batch"]

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT = sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx"))
STATISTICS = {"BatchNormalization": {1: "scale", 2: "shift", 3: "mean", 4: "var"}}


def light_model(name: str, seed: int = 0) -> Any:
    """A graph of the wheel whose weights, all one number there, are drawn anew: scaled to keep variances near 1."""
    model = onnx.load(str(FOLDER / f"light_{name}.onnx"))
    graph, rng = model.graph, np.random.default_rng(seed)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    roles = {
        node.input[k]: role for node in graph.node for k, role in STATISTICS.get(node.op_type, {}).items()
    }
    kept: list[Any] = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(d) for d in shapes[node.input[0]])
        array = _drawn(rng, shape, roles.get(node.output[0], ""))
        graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in node.input}
    for group in (graph.initializer, graph.input):
        left = [item for item in group if item.name in used]
        del group[:]
        group.extend(left)
    if model.ir_version < 4:
        for tensor in graph.initializer:
            if tensor.name not in {i.name for i in graph.input}:
                graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    _level(model)
    return model


def open_batch(model: Any) -> None:
    """The batch, which is 1 in the files, becomes a symbol: in the input, and where a reshape writes it out."""
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in stored:
            sizes = numpy_helper.to_array(stored[node.input[1]]).copy()
            sizes[0] = 0 if sizes[0] == 1 else sizes[0]  # as in the operand
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(sizes, node.input[1]))
    for value in (*graph.input, *graph.output):
        if value.name not in stored and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]


def _level(model: Any) -> None:
    """Scale the last layer so that what softmax gets has a deviation of 2: it then says neither 0 and 1 nor all the same."""
    made = {o: node for node in model.graph.node for o in node.output}
    last = made[model.graph.output[0].name]
    if last.op_type != "Softmax":
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probe.SerializeToString())
    (given,) = [i for i in session.get_inputs() if i.name not in {t.name for t in model.graph.initializer}]
    x = np.random.default_rng(1).normal(size=given.shape).astype(np.float32)
    scale = 2 / float(np.std(session.run([last.input[0]], {given.name: x})[0]))
    layer = made[last.input[0]]
    while layer.op_type not in ("Gemm", "Conv"):
        layer = made[layer.input[0]]
    for tensor in model.graph.initializer:
        if tensor.name in layer.input[1:]:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(scale), tensor.name)
            )


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], role: str) -> Any:
    if role in ("scale", "var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if role in ("shift", "mean") or len(shape) < 2:
        return rng.normal(0, 0.1, shape).astype(np.float32)
    fan = int(np.prod(shape[1:]))
    return (rng.normal(0, 1, shape) * np.sqrt(2 / fan)).astype(np.float32)
