"""The suite of the installed onnx: every fifth case each time, all of them in the long test."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from onnx_suite import Case, Score, load_cases, run_cases

JOBS = 2


def scored(cases: list[Case], backend: str) -> dict[str, Score]:
    def make() -> Any:
        from nervure.onnx_backend import NervureBackend

        return NervureBackend.using(backend)

    return {s.case: s for s in run_cases(cases, make, jobs=JOBS, timeout=60)}


def failures(cases: list[Case], scores: dict[str, Score]) -> list[str]:
    """What is neither a pass nor an error that says what is not supported."""
    return [
        f"{scores[c.name].status} {c.name}: {scores[c.name].message}"
        for c in cases
        if scores[c.name].status not in ("pass", "unsupported")
    ]


def share(cases: list[Case], scores: dict[str, Score]) -> float:
    return Counter(scores[c.name].status for c in cases)["pass"] / len(cases)


@pytest.fixture(scope="module")
def core() -> list[Case]:
    """The cases of ops up to tier 2 with element types that networks have."""
    return [c for c in load_cases(["node"]) if c.is_core and c.tier <= 2]


@pytest.mark.parametrize(("backend", "first"), [("reference", 0), ("llvm", 2)])
def test_every_fifth_case_of_the_suite_passes(core: list[Case], backend: str, first: int) -> None:
    cases = core[first::5]
    assert len(cases) > 150
    scores = scored(cases, backend)
    assert failures(cases, scores) == []
    assert share([c for c in cases if c.tier < 2], scores) >= BARS[0]
    assert share([c for c in cases if c.tier == 2], scores) >= BARS[1]


BARS = (1.0, 1.0)
"""Shares of cases that pass, of tiers 0 and 1 and of tier 2."""


@pytest.mark.long
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_the_whole_suite_passes(backend: str) -> None:
    cases = [c for c in load_cases() if c.is_core and c.tier <= 2]
    scores = scored(cases, backend)
    assert failures(cases, scores) == []
    assert share([c for c in cases if c.tier < 2], scores) >= BARS[0]
    assert share([c for c in cases if c.tier == 2], scores) >= BARS[1]
    recurrent = [c for c in cases if c.op in ("RNN", "GRU", "LSTM") and not c.is_expanded]
    assert len(recurrent) == 18 and share(recurrent, scores) == 1


# the runner itself


class Rep:
    def __init__(self, behaviour: Any) -> None:
        self.behaviour = behaviour

    def run(self, inputs: list[Any]) -> list[Any]:
        return self.behaviour(inputs)


class Planted:
    """A backend whose behaviour the case's name says."""

    @staticmethod
    def prepare(model: Any, device: str) -> Rep:
        from nervure.ir.errors import InputError, UnsupportedError

        def behave(inputs: list[Any]) -> list[Any]:
            name = model.graph.name
            if name == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "hang":
                time.sleep(60)
            if name == "refuse":
                raise UnsupportedError("no way")
            if name == "fail":
                raise InputError("bad")
            if name == "break":
                raise ZeroDivisionError
            if name == "eat":
                return [bytearray(1 << 40)]
            return [inputs[0] + (name == "wrong")]

        return Rep(behave)


def test_a_planted_fault_gets_its_score_and_the_others_go_on() -> None:
    import numpy as np
    import onnx

    def case(name: str) -> Case:
        model = onnx.ModelProto()
        model.graph.name = name
        x = np.ones(3, np.float32)
        return Case(name, "node", "Identity", model, [([x], [x])], 1e-3, 0)

    wanted = {
        "right": "pass", "wrong": "wrong", "refuse": "unsupported", "fail": "error", "break": "error", "eat": "error",
        "crash": "crash", "hang": "timeout",
    }  # fmt: skip
    cases = [case(n) for n in wanted]
    found = {s.case: s.status for s in run_cases(cases, Planted, jobs=2, timeout=2)}
    assert found == wanted
