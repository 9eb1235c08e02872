"""Bisection: each of the planted faults is named, and where nothing is planted, nothing is blamed."""

from __future__ import annotations

from typing import Any

import numpy as np
import planted
import pytest
from planted import PIPELINE, PLANTS, Plant

import nervure.inspect.bisect as bisect_module
import nervure.inspect.kernels as kernels
from nervure.inspect.bisect import bisect
from nervure.ir import build as b
from nervure.ir.errors import InputError, UnsupportedError
from nervure.ir.graph import Graph, Value, make_one
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


def test_expected_floats_may_have_another_width_but_not_another_shape() -> None:
    x = np.array([1, 2, 3], np.float32)
    assert bisect(sums(), Pipeline(), [x], expect={"y": 2 * x.astype(np.float64)}).kind == "agrees"
    with pytest.raises(InputError, match=r"expect: y is float32\[2\], expected float32\[3\]"):
        bisect(sums(), Pipeline(), [x], expect={"y": x[:2]})


def test_a_program_that_a_pass_refuses_blames_nobody() -> None:
    from nervure.ir.ops.linalg import Cholesky

    x = Value(TensorType(f32, (2, 2)), name="x")
    program = Program("p", [Graph("main", [x], [make_one(Cholesky(), x)])])
    with pytest.raises(UnsupportedError):
        bisect(program, None, [np.eye(2, dtype=np.float32)], backend="onnx")


def test_what_is_wrong_only_as_a_whole_is_the_backends_without_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    right = kernels.run_on

    def run_on(backend: str, given: Program, arrays: Any) -> Any:
        found = right(backend, given, arrays)
        return [a + 1 for a in found] if len(given.main.outputs) == 2 else found

    monkeypatch.setattr(bisect_module, "run_on", run_on)
    monkeypatch.setattr(kernels, "run_on", run_on)
    verdict = bisect(program, None, inputs, backend="llvm")
    assert verdict.blame == ("backend", "llvm", "")
    assert str(verdict).startswith("all passes are right; llvm is wrong\n  found: shares")


def test_a_value_that_is_wrong_only_when_returned_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = planted.network(planted.unary(lambda x: b.cumsum(x, 0)))
    right = kernels.run_on

    def run_on(backend: str, given: Program, arrays: Any) -> Any:
        found = right(backend, given, arrays)
        if len(given.main.outputs) > 3:
            return found
        alone = given.main.outputs[0].op
        spoiled = len(given.main.outputs) == 2 or (alone is not None and alone.mnemonic == "cumsum")
        return [found[0] + 1, *found[1:]] if spoiled else found

    monkeypatch.setattr(bisect_module, "run_on", run_on)
    monkeypatch.setattr(kernels, "run_on", run_on)
    assert bisect(program, None, inputs, backend="llvm").blame == ("backend", "llvm", "cumsum")


def named_one(x: Value, w: planted.Weights) -> Value:
    y = b.mul(b.exp(x), b.full(x.type, 1.0))
    y.name = "h"
    return y


def test_the_program_and_its_store_are_left_alone() -> None:
    program, inputs = planted.network(named_one)
    text, version = str(program), program.store.ledger.version
    bisect(program, PASSES, inputs)
    assert (str(program), program.store.ledger.version) == (text, version)
