"""Other machines' vectors on this one: every op and every program of the suite, compiled for AVX2, for 128 bits without FMA,
and for the registers of NEON, gives the reference's values.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the shared tables stand one folder up

from backend_suite import CASES, Case
from differential import Yardstick
from strategies import instances

from nervure.backends.base import find_backend
from nervure.backends.llvm.target import Target, host_target, make_target
from nervure.ir.errors import UnsupportedError
from nervure.ir.op import OPS
from nervure.passes.manager import run_pipeline

from .test_every_op import NOT_HERE, program_of

HOST = host_target()
pytestmark = pytest.mark.skipif(HOST.arch != "x86_64" or HOST.vector_bytes < 32, reason="wants AVX2")

TARGETS: dict[str, Target] = {
    "haswell": make_target("haswell", HOST.triple),
    "x86-64": make_target("x86-64", HOST.triple),
    "neon": replace(HOST, vector_bytes=16, registers=32),
}
"""AVX2; SSE2; and this machine with 32 registers of 16 bytes, as aarch64 has."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_suite_agrees_with_the_reference(case: Case, target: str) -> None:
    case.run("llvm", target=TARGETS[target])


def wrong_results(op: str, target: Target) -> list[str]:
    """Where the instances of an op differ from the reference."""
    backend: Any = find_backend("llvm")
    wrong: list[str] = []
    for instance in instances(op):
        program, inputs = program_of(instance)
        try:
            legal = run_pipeline(program, backend.pipeline(0)).program
        except UnsupportedError:
            continue
        found = backend.compile(legal, target=target)(*inputs)
        results = list(found) if isinstance(found, tuple) else [found]
        wrong += Yardstick(program, inputs).compare(results, f"{instance}").wrong
    return wrong


@pytest.mark.parametrize(
    "target",
    ["haswell", pytest.param("x86-64", marks=pytest.mark.long), pytest.param("neon", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("op", sorted(set(OPS) - set(NOT_HERE["llvm"])))
def test_an_op_means_the_same_on_other_vectors(op: str, target: str) -> None:
    assert not wrong_results(op, TARGETS[target])
