"""OpenVINO, from the ONNX model, in float32 and for latency."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov

from ..contest import Absent, Built
from ..workloads import Case


def build(case: Case, threads: int) -> Built:
    if case.workload.training:
        raise Absent("OpenVINO is run for inference only")
    core = ov.Core()
    wanted = {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip
    model = core.compile_model(core.read_model(str(case.onnx)), "CPU", wanted)
    request: Any = model.create_infer_request()
    y = np.empty(case.net.steps[-1].shape, np.float32)
    request.set_input_tensor(ov.Tensor(case.x, shared_memory=True))
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))

    def call() -> Any:
        request.infer()
        return y

    return Built(call)
