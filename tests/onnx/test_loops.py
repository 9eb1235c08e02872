"""Loops as ONNX: each form gives the same, batch and time stay dynamic, and empty sequences run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError
from nervure.ir.interpret import evaluate_program

RNG = np.random.default_rng(4)


def kinds(graph: Any) -> set[str]:
    found = {n.op_type for n in graph.node}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= kinds(attribute.g)
    return found


def exported(program: nv.Program, path: Path, loops: Any = "nodes") -> tuple[set[str], Any]:
    nv.export_onnx(program, path, loops=loops)
    return kinds(onnx.load(path).graph), onnxruntime.InferenceSession(path)


@pytest.mark.parametrize(
    ("loops", "has", "lacks"),
    [
        ("nodes", {"LSTM"}, {"Scan"}),
        ("scan", {"Scan"}, {"LSTM"}),
        ("unrolled", set(), {"LSTM", "Scan", "Loop"}),
    ],
)
def test_the_form_of_a_layer_can_be_forced(
    loops: str, has: set[str], lacks: set[str], tmp_path: Path
) -> None:
    nv.seed(1)
    program = nv.trace(nn.LSTM(3, 4), "f32[5,2,3]")
    found, session = exported(program, tmp_path / "m.onnx", loops)
    assert has <= found
    assert not lacks & found
    x = RNG.normal(size=(5, 2, 3)).astype("f4")
    for a, b in zip(
        session.run(None, {session.get_inputs()[0].name: x}), evaluate_program(program, [x]), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-6)


@pytest.mark.parametrize("loops", ["nodes", "scan"])
def test_batch_and_time_stay_dynamic(loops: Any, tmp_path: Path) -> None:
    nv.seed(1)
    program = nv.trace(nn.GRU(3, 4, bidirectional=True), "f32[T,B,3]")
    _, session = exported(program, tmp_path / "m.onnx", loops)
    for steps, batch in ((5, 1), (50, 7), (1, 7)):
        x = RNG.normal(size=(steps, batch, 3)).astype("f4")
        found = session.run(None, {session.get_inputs()[0].name: x})
        for a, b in zip(found, evaluate_program(program, [x]), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_length_that_is_not_known_cannot_be_unrolled(tmp_path: Path) -> None:
    program = nv.trace(nn.LSTM(3, 4), "f32[T,2,3]")
    with pytest.raises(InputError, match="onnx: a scan of T steps cannot be unrolled"):
        nv.export_onnx(program, tmp_path / "m.onnx", loops="unrolled")
    with pytest.raises(InputError, match="onnx: loops is 'other', expected one of nodes, scan, unrolled"):
        nv.export_onnx(program, tmp_path / "m.onnx", loops="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_of_no_steps_runs(reverse: bool, tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, r: (c + r, c * r), x.sum(0) + 1, x, reverse=reverse)

    program = nv.trace(f, "f32[T:0..9,B,3]")
    found, session = exported(program, tmp_path / "m.onnx")
    assert "Loop" in found
    for steps in (0, 1, 4):
        x = RNG.normal(size=(steps, 2, 3)).astype("f4")
        for a, b in zip(session.run(None, {"x": x}), evaluate_program(program, [x]), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_loop_with_a_condition_and_branches_is_exported(tmp_path: Path) -> None:
    def f(x: Any, n: Any) -> Any:
        def turn(c: Any) -> Any:
            return c[0] + 1, nv.cond(c[1].sum() > 0, lambda y: y * 0.5 - 1, lambda y: y * y, c[1])

        return nv.while_loop(lambda c: c[0] < n, turn, (n * 0, x))[1]

    program = nv.trace(f, "f32[B]", "i64[]")
    found, session = exported(program, tmp_path / "m.onnx")
    assert {"Loop", "If"} <= found
    for n in (0, 1, 6):
        x = RNG.normal(size=5).astype("f4")
        (a,) = session.run(None, {"x": x, "n": np.asarray(n)})
        np.testing.assert_allclose(a, evaluate_program(program, [x, np.asarray(n)])[0], rtol=1e-5)


def test_a_training_step_through_a_loop_trains_on_a_stock_onnxruntime(tmp_path: Path) -> None:
    from nervure import optim

    nv.seed(2)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            self.rnn, self.head = nn.LSTM(3, 6), nn.Linear(6, 4)

        def __call__(self, x: Any) -> Any:
            return self.head(self.rnn(x)[0]).reshape(10, 4)

    program = nv.training_step(Tagger(), nn.functional.cross_entropy, optim.SGD(0.5), "f32[5,2,3]", "i64[10]")
    nv.export_onnx(program, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    step = nv.compile(program)
    names = [i.name for i in session.get_inputs()]
    x, y = RNG.normal(size=(5, 2, 3)).astype("f4"), RNG.integers(0, 4, 10)
    state = {n: program.store[n].data.copy() for n in names if n in program.store}
    losses: list[float] = []
    for _ in range(100):
        feed = {**state, **dict(zip([n for n in names if n not in state], (x, y), strict=True))}
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
        state |= {n: found[f"{n}.next"] for n in state if f"{n}.next" in found}
        losses.append(float(step(x, y)))
        assert abs(float(found["loss"]) - losses[-1]) < 1e-5
    assert losses[-1] < 0.5 * losses[0]
