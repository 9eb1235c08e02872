"""ExecuTorch with its XNNPACK backend; the export runs in a process of its own, so that torch is not in the memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import portable_lib

from ..contest import Absent, Built, convert
from ..workloads import Case, workload_named


def build(case: Case, threads: int) -> Built:
    if case.workload.training:
        raise Absent("ExecuTorch is run for inference only")
    path = case.folder / "net.pte"
    spent = convert(path, ["-m", "benchmarks.peers.executorch_peer", case.workload.name, str(case.folder)])
    portable_lib._unsafe_reset_threadpool(threads)
    module: Any = portable_lib._load_for_executorch(str(path))
    given = (torch.from_numpy(case.x),)
    return Built(lambda: module.forward(given), lambda found: found[0].numpy(), converted=spent)


def export(case: Case, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from .torch_net import Module

    program = torch.export.export(Module(case).eval(), (torch.from_numpy(case.x),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(lowered.buffer)


if __name__ == "__main__":
    row, folder = sys.argv[1:]
    export(Case.open(workload_named(row), Path(folder)), Path(folder) / "net.pte.part")
