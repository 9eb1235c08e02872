"""Damaged models: imported, or refused with one error; never a crash, a hang, or memory beyond all proportion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_mutants import judge, mutants, seeds
from onnx_suite import Score, run_cases


def importer() -> Callable[[bytes], Any]:
    from nervure.frontend.onnx import import_onnx

    return import_onnx


def runner() -> Callable[[bytes], Any]:
    """Imports, compiles and runs; what needs much memory is refused or left alone."""
    import nervure as nv
    from nervure.ir.dims import bounds

    def run(data: bytes) -> None:
        program = nv.import_onnx(data, max_memory=1 << 26)
        made = nv.compile(program, max_memory=1 << 28, cache=False)
        inputs = [
            np.ones([bounds(d)[0] for d in v.type.shape], v.type.dtype.numpy) for v in program.main.inputs
        ]
        made(*inputs)

    return run


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    found = seeds()
    assert len(found) > 500
    return found


def failures(scores: list[Score]) -> list[str]:
    return [f"{s.status} {s.case}: {s.message}" for s in scores if s.status != "pass"]


def test_500_mutants_end_in_a_program_or_one_error(models: dict[str, bytes]) -> None:
    scores = list(run_cases(mutants(models, 500), importer, judge=judge, timeout=10))
    assert failures(scores) == []
    assert len(scores) == 500
    # neither all refused nor all let through
    assert 20 < sum(not s.message for s in scores) < 400


@pytest.mark.long
def test_20000_mutants_end_in_a_program_or_one_error(models: dict[str, bytes]) -> None:
    scores = list(run_cases(mutants(models, 20_000, start=500), importer, judge=judge, timeout=10))
    assert failures(scores) == []
    assert len(scores) == 20_000


@pytest.mark.long
def test_mutants_that_are_imported_compile_and_run_or_are_one_error(
    models: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_mutants.SECONDS", 20.0)  # compilations of whole networks among them
    scores = list(run_cases(mutants(models, 3000, start=50_000), runner, judge=judge, timeout=60))
    assert failures(scores) == []
    assert sum(not s.message for s in scores) > 200


def test_a_planted_fault_is_found(models: dict[str, bytes]) -> None:
    import time

    def plant() -> Callable[[bytes], Any]:
        kept: list[Any] = []

        def importer(data: bytes) -> None:
            kind = len(data) % 3
            if kind == 0:
                kept.append(b"x" * (300 << 20))
            if kind == 1:
                raise KeyError("x")
            while time.process_time() < 1e9 and kind == 2:
                pass

        return importer

    scores = list(run_cases(mutants(models, 12), plant, judge=judge, timeout=2))
    assert {s.status for s in scores} == {"error", "timeout"}
    assert {"KeyError: 'x'"} <= {s.message.partition(" at ")[0] for s in scores}
    assert any(" MB: " in s.message for s in scores)
