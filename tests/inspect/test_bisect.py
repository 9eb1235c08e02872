"""Bisection: each of the planted faults is named, and where nothing is planted, nothing is blamed."""

from __future__ import annotations

from typing import Any

import numpy as np
import planted
import pytest
from planted import PIPELINE, PLANTS, Plant

from nervure.inspect.bisect import bisect
from nervure.ir import build as b
from nervure.ir.errors import InputError
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32
from nervure.passes.base import Pass
from nervure.passes.manager import Pipeline, run_pipeline

PASSES = Pipeline.parse(PIPELINE)


def test_twenty_five_faults_and_more_are_planted() -> None:
    assert len(PLANTS) >= 25
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.name)
def test_a_planted_rewrite_is_named(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = planted.network(plant.piece)
    assert bisect(program, PASSES, inputs).kind == "agrees"
    plant.plant(monkeypatch)
    verdict = bisect(program, PASSES, inputs)
    assert verdict.blame == plant.blame, str(verdict)
    before = run_pipeline(program, PASSES, stop_after=verdict.number).program
    assert str(before) == str(verdict.program)
    assert verdict.changes or verdict.rewrite == ""


def test_the_verdict_says_line_numbers_and_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    (plant,) = [p for p in PLANTS if p.name == "|-x| as x"]
    plant.plant(monkeypatch)
    program, inputs = planted.network(plant.piece)
    verdict = bisect(program, PASSES, inputs)
    assert verdict.lines == ("net.py:5",)
    text = str(verdict)
    assert "pass canonicalize, rewrite abs-neg" in text
    assert "- abs(neg) : f32[4,6] @ net.py:5" in text
    assert verdict.to_json()["rewrite"] == "abs-neg"


class Raising(Pass):
    """Fails at the third rewrite."""

    name = "raising"

    def run(self, graph: Graph, remarks: Any) -> Graph:
        for k in range(5):
            if remarks.allow(f"step-{k}") and k == 2:
                raise AssertionError("the third step")
        return graph


def test_a_pass_that_fails_is_named_with_its_rewrite() -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    verdict = bisect(program, Pipeline.parse("canonicalize") + Pipeline((Raising(),)), inputs)
    assert verdict.blame == ("pass", "raising", "step-2")
    assert verdict.what == "AssertionError: the third step"


class Unasked(Pass):
    """Changes the program without asking for a rewrite."""

    name = "unasked"

    def run(self, graph: Graph, remarks: Any) -> Graph:
        (y, *rest) = graph.outputs
        return graph.replace(outputs=[b.neg(y), *rest])


def test_a_pass_that_counts_no_rewrites_is_named_as_a_whole() -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    verdict = bisect(program, Pipeline((Unasked(),)), inputs)
    assert verdict.blame == ("pass", "unasked", "")


def sums() -> Program:
    x = Value(TensorType(f32, (3,)), name="x")
    y = b.add(x, x)
    y.name = "y"
    return Program("sums", [Graph("main", [x], [y, b.exp(x)])])


def test_expected_results_of_others_are_compared_by_name() -> None:
    x = np.array([1, 2, 3], np.float32)
    assert bisect(sums(), Pipeline(), [x], expect={"y": 2 * x}).kind == "agrees"
    verdict = bisect(sums(), Pipeline(), [x], expect={"y": 3 * x})
    assert verdict.kind == "reference"
    assert "at [0]: 3.0, expected 2.0" in verdict.what
    assert bisect(sums(), Pipeline(), [x], expect=[2 * x, np.exp(x)]).kind == "agrees"
    with pytest.raises(InputError, match="no output is named z"):
        bisect(sums(), Pipeline(), [x], expect={"z": x})


def test_the_program_and_its_store_are_left_alone() -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    text, version = str(program), program.store.ledger.version
    bisect(program, PASSES, inputs)
    assert (str(program), program.store.ledger.version) == (text, version)
