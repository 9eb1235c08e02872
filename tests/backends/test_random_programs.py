"""Every backend agrees with the reference on seeded random programs.

Programs run in worker processes that are renewed, so that a crash names its seeds and memory is given back.
NERVURE_RANDOM_PROGRAMS says how many programs there are a backend, 2,000 if unset.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import pytest
from random_runner import Report, run_chunk

from nervure.ir.op import OPS

PROGRAMS = int(os.environ.get("NERVURE_RANDOM_PROGRAMS", "2000"))
CHUNK = 250
"""Programs of one test."""

TASK = 125
"""Programs of one worker's life."""

PATIENCE = 900
"""Seconds that one worker may take."""

EXCUSED = 0.001
NODES_AN_OP = 3
"""In each full chunk: over 2,000 programs at least 24 of each op."""

BACKENDS = ("llvm", "onnx")
REFUSED = {"llvm": 0.0, "onnx": 0.25}
"""The share of programs that a backend may refuse with a reason: stock onnxruntime lacks kernels for many types."""


def chunks() -> list[range]:
    return [range(start, min(start + CHUNK, PROGRAMS)) for start in range(0, PROGRAMS, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backend_agrees_with_the_reference(
    backend: str, seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path))
    report = Report()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        parts = [seeds[k : k + TASK] for k in range(0, len(seeds), TASK)]
        for part, task in [(part, pool.submit(run_chunk, part, backend)) for part in parts]:
            try:
                report.merge(task.result(timeout=PATIENCE))
            except BrokenProcessPool:
                pytest.fail(f"{backend}: the worker of seeds {part.start} to {part.stop - 1} died")
    print(f"{backend}: {report}")
    for reason, count in report.refused.most_common():
        print(f"  refused {count}: {reason}")
    assert not report.wrong, "\n".join([f"{len(report.wrong)} are wrong", *report.wrong[:20]])
    assert report.excused <= EXCUSED * report.elements
    assert sum(report.refused.values()) <= REFUSED[backend] * report.programs
    if len(seeds) == CHUNK:
        rare = {name: report.nodes[name] for name in sorted(OPS) if report.nodes[name] < NODES_AN_OP}
        assert not rare
