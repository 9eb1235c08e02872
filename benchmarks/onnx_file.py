"""A net as an ONNX model, for the contestants that read one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .nets import Net, Step

Array = np.ndarray[Any, Any]

__all__ = ["onnx_model"]


def onnx_model(net: Net, weights: Mapping[str, Array]) -> Any:
    """Inputs x, output y, weights as initializers; opset 17."""
    writer = _Writer(weights)
    for step in net.steps:
        WRITERS[step.op](writer, step)
    last = net.steps[-1]
    writer.nodes[-1].output[0] = "y"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, net.input)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, last.shape)
    graph = helper.make_graph(writer.nodes, "net", [x], [y], writer.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Writer:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, array: Array) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(
        self, op: str, inputs: list[str], out: str, outputs: list[str] | None = None, **attrs: Any
    ) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs or [out], name=f"n{len(self.nodes)}", **attrs))
        return out


def _linear(w: _Writer, step: Step) -> None:
    weight, bias = (w.weights[name] for name in step.weights)
    if len(step.shape) == 2:
        names = [w.constant(name, w.weights[name]) for name in step.weights]
        w.node("Gemm", [step.args[0], *names], step.out, transB=1)
        return
    product = w.node("MatMul", [step.args[0], w.constant(step.weights[0], weight.T)], step.out + "m")
    w.node("Add", [product, w.constant(step.weights[1], bias)], step.out)


def _conv(w: _Writer, step: Step) -> None:
    names = [w.constant(name, w.weights[name]) for name in step.weights]
    ph, pw = step.attrs["pad"]
    stride = step.attrs["stride"]
    w.node(
        "Conv", [step.args[0], *names], step.out, strides=[stride, stride], pads=[ph, pw, ph, pw],
        group=step.attrs["groups"], kernel_shape=list(w.weights[names[0]].shape[2:]),
    )  # fmt: skip


def _max_pool(w: _Writer, step: Step) -> None:
    k, s, p = (step.attrs[n] for n in ("kernel", "stride", "pad"))
    w.node("MaxPool", list(step.args), step.out, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)


def _mean(w: _Writer, step: Step) -> None:
    w.node("Flatten", [w.node("GlobalAveragePool", list(step.args), step.out + "g")], step.out)


def _relu6(w: _Writer, step: Step) -> None:
    zero = w.constant(step.out + "zero", np.float32(0).reshape(()))
    w.node("Clip", [step.args[0], zero, w.constant(step.out + "six", np.float32(6).reshape(()))], step.out)


def _recurrent(w: _Writer, step: Step) -> None:
    """PyTorch orders an LSTM's gates i, f, g, o; ONNX i, o, f, c."""
    wi, wh, bi, bh = (w.weights[name] for name in step.weights)
    hidden = wh.shape[1]
    order = np.arange(len(wi)) if step.op == "rnn" else np.concatenate(
        [np.arange(k * hidden, (k + 1) * hidden) for k in (0, 3, 1, 2)]
    )  # fmt: skip
    names = [
        w.constant(step.weights[0], wi[order][None]),
        w.constant(step.weights[1], wh[order][None]),
        w.constant(step.weights[2], np.concatenate([bi[order], bh[order]])[None]),
    ]
    long = step.out + "d"
    w.node(step.op.upper(), [step.args[0], *names], long, hidden_size=hidden)
    w.node("Squeeze", [long, w.constant(step.out + "axis", np.array([1], np.int64))], step.out)


def _plain(op: str, **attrs: Any) -> Callable[[_Writer, Step], None]:
    def write(w: _Writer, step: Step) -> None:
        names = [w.constant(name, w.weights[name]) for name in step.weights]
        w.node(op, [*step.args, *names], step.out, **attrs)

    return write


WRITERS: dict[str, Callable[[_Writer, Step], None]] = {
    "linear": _linear,
    "matmul": _plain("MatMul"),
    "conv": _conv,
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "add": _plain("Add"),
    "softmax": _plain("Softmax", axis=-1),
    "max_pool": _max_pool,
    "mean": _mean,
    "flatten": _plain("Flatten"),
    "rnn": _recurrent,
    "lstm": _recurrent,
}
