"""torch.compile with its default backend."""

from __future__ import annotations

from typing import Any

import torch

from ..contest import Built
from ..workloads import Case
from .torch_net import Module
from .torch_peer import trained


def build(case: Case, threads: int) -> Built:
    torch.set_num_threads(threads)
    torch._inductor.config.compile_threads = 1
    torch._inductor.config.force_disable_caches = True
    if case.workload.training:
        return trained(case, torch.compile)
    torch._inductor.config.freezing = True
    run = torch.compile(Module(case).eval())
    x = torch.from_numpy(case.x)

    def call() -> Any:
        with torch.inference_mode():
            return run(x)

    return Built(call, lambda y: y.numpy())
