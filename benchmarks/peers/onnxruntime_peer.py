"""onnxruntime, with or without bound buffers, whichever is faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from ..contest import Absent, Built, fastest
from ..workloads import Case


def build(case: Case, threads: int) -> Built:
    if case.workload.training:
        raise Absent("onnxruntime trains only what somebody else differentiated")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session: Any = ort.InferenceSession(str(case.onnx), options, providers=["CPUExecutionProvider"])
    x = case.x
    y = np.empty(case.net.steps[-1].shape, np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(y))
    feeds, names = {"x": x}, ["y"]

    def bound() -> Any:
        session.run_with_iobinding(binding)

    call = fastest(lambda: session.run(names, feeds), bound)
    return Built(call, lambda found: binding.get_outputs()[0].numpy() if found is None else found[0])
