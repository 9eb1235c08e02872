"""MNN, from the ONNX model by its converter, with or without its expression interface, whichever is faster."""

from __future__ import annotations

from typing import Any

import MNN
import MNN.nn
import numpy as np

from ..contest import Absent, Built, convert, fastest
from ..workloads import Case

CONVERTER = "from MNN.tools.mnnconvert import main; main()"


def build(case: Case, threads: int) -> Built:
    if case.workload.training:
        raise Absent("MNN is run for inference only")
    path = case.folder / "net.mnn"
    aside = path.with_suffix(".mnn.part")
    spent = convert(
        path,
        [
            "-c",
            CONVERTER,
            "-f",
            "ONNX",
            "--modelFile",
            str(case.onnx),
            "--MNNModel",
            str(aside),
            "--bizCode",
            "bench",
        ],
    )
    config = {"backend": "CPU", "numThread": threads, "precision": "high", "memory": "high", "power": "high"}
    x, shape = case.x, case.net.steps[-1].shape
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession(config)
    given: Any = interpreter.getSessionInput(session, "x")
    found: Any = interpreter.getSessionOutput(session, "y")
    source = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)
    y = np.empty(shape, np.float32)
    target = MNN.Tensor(shape, MNN.Halide_Type_Float, y, MNN.Tensor_DimensionType_Caffe)

    def by_session() -> Any:
        given.copyFrom(source)
        interpreter.runSession(session)
        found.copyToHostTensor(target)
        return target

    def result(returned: Any) -> Any:
        if returned is target:
            return np.array(target.getNumpyData()).reshape(shape).copy()
        return np.array(returned.read()).reshape(shape)

    manager = MNN.nn.create_runtime_manager((config,))
    module = MNN.nn.load_module_from_file(str(path), ["x"], ["y"], runtime_manager=manager)
    variable = MNN.expr.placeholder(x.shape, MNN.expr.NCHW)
    variable.write(x)

    def by_module() -> Any:
        variable.write(x)
        returned = module.forward(variable)
        returned.read()
        return returned

    return Built(fastest(by_session, by_module), result, converted=spent)
