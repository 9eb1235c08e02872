"""Every backend agrees with the reference on seeded random programs, a quarter of them with their derivatives.

Programs run in worker processes that are renewed, so that a crash names its seeds and memory is given back.
NERVURE_RANDOM_PROGRAMS says how many programs there are a backend, 2,000 if unset; a long test goes on
to 10,000, with the last pass alone.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import pytest
from random_programs import random_program
from random_runner import Report, run_chunk

from nervure.ir.op import OPS

PROGRAMS = int(os.environ.get("NERVURE_RANDOM_PROGRAMS", "2000"))
MANY = 10_000
CHUNK = 250
"""Programs of one test."""

TASK = 125
"""Programs of one worker's life."""

PATIENCE = 900
"""Seconds that one worker may take."""

EXCUSED = 0.001
NODES_AN_OP = 20
"""Over all programs that every run takes."""

BACKENDS = ("llvm", "onnx")
REFUSED = {"llvm": 0.0, "onnx": 0.25}
"""The share of programs that a backend may refuse with a reason: stock onnxruntime lacks kernels for many types."""


def chunks(first: int, count: int) -> list[range]:
    return [range(start, min(start + CHUNK, count)) for start in range(first, count, CHUNK)]


def named(seeds: range) -> str:
    return f"{seeds.start}-{seeds.stop - 1}"


@pytest.mark.parametrize(
    "seeds",
    [
        *chunks(0, PROGRAMS),
        *(pytest.param(c, marks=pytest.mark.long, id=named(c)) for c in chunks(PROGRAMS, MANY)),
    ],
    ids=named,
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backend_agrees_with_the_reference(
    backend: str, seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path))
    report, brief = Report(), seeds.start >= PROGRAMS
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        parts = [seeds[k : k + TASK] for k in range(0, len(seeds), TASK)]
        for part, task in [(part, pool.submit(run_chunk, part, backend, brief)) for part in parts]:
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


@pytest.mark.parametrize("seed", [3580, 4452, 4640, 8825])
def test_where_a_kernel_is_off_its_error_is_followed_to_the_results(seed: int) -> None:
    """Sums and products that lose what they have in common: onnxruntime's tanh and sigmoid are off by a few ulp."""
    report = run_chunk([seed], "onnx")
    assert not report.wrong
    assert report.excused


@pytest.mark.skipif(PROGRAMS < 2000, reason="counts the nodes of 2,000 programs")
def test_every_op_is_generated_often_and_a_quarter_of_the_programs_is_differentiated() -> None:
    nodes, differentiated = Counter[str](), 0
    for seed in range(PROGRAMS):
        program, _ = random_program(seed)
        nodes.update(node.op.mnemonic for node in program.main.nodes)
        differentiated += any(v.name.startswith("g") for v in program.main.inputs)
    assert {name: nodes[name] for name in sorted(OPS) if nodes[name] < NODES_AN_OP} == {}
    assert differentiated >= PROGRAMS / 8
