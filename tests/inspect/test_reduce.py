"""Reduction: what is left of each planted fault, and that nothing else is called a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import planted
import pytest
from planted import PIPELINE, PLANTS, Plant

from nervure.inspect.movement import reference
from nervure.inspect.reduce import minimal, pass_check, reduce, same_blame
from nervure.inspect.reproduce import load_reproducer, replay, save_reproducer
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import InputError
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, count_nodes

PASSES = Pipeline.parse(PIPELINE)
MOST = 10

SAMPLED = [
    pytest.param(plant, marks=() if k % 4 == 0 else pytest.mark.long, id=plant.name)
    for k, plant in enumerate(PLANTS)
]
"""Every fourth is reduced in the default run."""


@pytest.mark.parametrize("plant", SAMPLED)
def test_a_planted_rewrite_is_shown_by_a_few_nodes_that_replay(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, inputs = planted.network(plant.piece)
    assert count_nodes(program) > 40
    plant.plant(monkeypatch)
    small, arrays = reduce(program, inputs, same_blame(PASSES))
    assert count_nodes(small) <= MOST, str(small)
    save_reproducer(tmp_path, small, arrays, pipeline=PASSES, what=plant.name)
    assert replay(tmp_path).blame == plant.blame
    monkeypatch.undo()
    assert replay(tmp_path).kind == "agrees"


def test_what_is_left_cannot_do_without_any_node(monkeypatch: pytest.MonkeyPatch) -> None:
    (plant,) = [p for p in PLANTS if p.name == "x + -y as y - x"]
    plant.plant(monkeypatch)
    program, inputs = planted.network(plant.piece)
    small, arrays = reduce(program, inputs, same_blame(PASSES))
    assert [n.op.mnemonic for n in small.main.nodes] == ["neg", "add"]
    assert [a.shape for a in arrays] == [(1, 1), (1, 1)]
    assert not small.store


def test_inputs_in_place_of_nodes_hold_what_the_reference_computes() -> None:
    x = Value(TensorType(f32, (2,)), name="x")
    y = b.exp(b.add(x, x))
    program = Program("p", [Graph("main", [x], [b.tanh(y), b.neg(y)])])
    inputs = [np.array([0.5, 1.5], np.float32)]

    def check(candidate: Program, arrays: object) -> bool:
        return any(n.op.mnemonic == "tanh" for n in candidate.main.nodes)

    small, arrays = reduce(program, inputs, check)
    assert [n.op.mnemonic for n in small.main.nodes] == ["tanh"]
    assert np.allclose(arrays[0], np.exp(1.0), atol=0.05)


def test_symbols_loops_and_updates_are_reduced_too() -> None:
    n = symbol("N", 1, 8)
    x = Value(TensorType(f32, (n, 4)), name="x")
    row = TensorType(f32, (4,))
    c, r = Value(row, name="c"), Value(row, name="r")
    state = Entry("s", row, "state", False, np.ones(4, np.float32))
    read = Value(row, entry="s")
    last, every = b.scan(Graph("", [c, r], [b.add(c, r), b.exp(b.tanh(c))]), [read], [b.neg(x)], [], length=n)
    program = Program("p", [Graph("main", [x], [every], [("s", last)])], Store([state]))
    inputs = [np.ones((5, 4), np.float32)]

    def check(candidate: Program, arrays: object) -> bool:
        return any(node.op.mnemonic == "exp" for node in candidate.main.walk())

    small, arrays = reduce(program, inputs, check)
    assert [node.op.mnemonic for node in small.main.walk()] == ["exp"]
    assert not small.main.updates
    assert [a.size for a in (*arrays, *(e.data for e in small.store.values()))] == [1]
    assert np.array_equal(state.data, np.ones(4))


def test_a_check_that_finds_nothing_is_refused() -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    with pytest.raises(InputError, match="finds nothing wrong"):
        reduce(program, inputs, same_blame(PASSES))


def test_another_fault_than_the_given_one_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("|-x| as x", "folded constants backwards"):
        (plant,) = [p for p in PLANTS if p.name == name]
        plant.plant(monkeypatch)
    program, inputs = planted.network(lambda x, w: planted.constants(b.abs(b.neg(x)), w))
    small, _ = reduce(program, inputs, same_blame(PASSES))
    assert [n.op.mnemonic for n in small.main.nodes] == ["neg", "abs"]


def test_a_pass_check_tells_wrong_results_from_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = planted.network(PLANTS[0].piece)
    check = pass_check(PASSES)
    assert check(program, inputs) == ""
    PLANTS[0].plant(monkeypatch)
    assert check(program, inputs) == "wrong"
    monkeypatch.setattr(planted.inline.Inline, "run", lambda *_: 1 / 0)
    assert check(program, inputs) == "ZeroDivisionError"


@pytest.mark.parametrize("needed", [{3}, {0, 9}, {2, 5, 6}, set(range(10))])
def test_minimal_finds_what_is_needed(needed: set[int]) -> None:
    assert set(minimal(list(range(10)), lambda kept: needed <= set(kept))) == needed


def test_a_reproducer_holds_what_was_saved(tmp_path: Path) -> None:
    program, inputs = planted.network(planted.unary(b.exp))
    save_reproducer(tmp_path / "a b", program, inputs, pipeline=PASSES, what="nothing")
    found = load_reproducer(tmp_path / "a b")
    assert str(found.program) == str(program)
    assert found.pipeline == PASSES
    for got, want in zip(reference(found.program, found.inputs), reference(program, inputs), strict=True):
        assert np.array_equal(got, want)
    readme = (tmp_path / "a b" / "README.md").read_text()
    assert f"nervure replay '{tmp_path / 'a b'}'" in readme
    with pytest.raises(InputError, match="cannot read"):
        load_reproducer(tmp_path)
