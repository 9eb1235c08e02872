"""State that a scan's body changes goes from step to step, as in a loop written in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import TraceError

T, N, H = 5, 4, 3
X = np.random.default_rng(0).normal(size=(T, N, H)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(N, H)).astype(np.float32)


class Loop(nn.Module):
    """A cell with dropout and batch norm, stepped by a scan or by Python."""

    def __init__(self, how: str, **options: Any) -> None:
        rng = np.random.default_rng(2)
        self.cell, self.norm = nn.Linear(H, H, rng=rng), nn.BatchNorm1d(H)
        self.drop = nn.Dropout(0.5, rng=rng)
        self.how, self.options = how, options

    def step(self, h: Any, row: Any) -> Any:
        return nn.tanh(self.norm(self.drop(self.cell(h)) + row))

    def __call__(self, x: Any) -> Any:
        start = np.zeros((N, H), np.float32)
        if self.how == "scan":
            return nv.scan(lambda h, row: (self.step(h, row), None), start, x, **self.options)[0]
        if self.how == "nested":

            def twice(h: Any, _: Any) -> Any:
                return nv.scan(lambda h, row: (self.step(h, row), None), h, x)

            return nv.scan(twice, start, length=2)[0]
        h: Any = start
        back = self.options.get("reverse", False)
        for _ in range(2 if self.how == "twice" else 1):
            for t in reversed(range(T)) if back else range(T):
                h = self.step(h, x[t])
        return h


def trained(how: str, backend: str, **options: Any) -> tuple[list[float], dict[str, Any]]:
    model: Any = Loop(how, **options)
    program = nv.training_step(model, nn.mse_loss, optim.SGD(0.5), f"f32[{T},{N},{H}]", f"f32[{N},{H}]")
    step = nv.compile(program, backend=backend)
    return [float(step(X, Y)) for _ in range(3)], model.state_dict()


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize(
    ("how", "options"),
    [
        ("scan", {}),
        ("scan", {"reverse": True}),
        ("scan", {"remat": 2}),
        ("scan", {"unroll": 2}),
        ("nested", {}),
    ],
    ids=["scan", "reverse", "remat", "unroll", "nested"],
)
def test_dropout_and_batch_norm_in_a_body_train_as_in_a_loop_of_python(
    how: str, options: dict[str, Any], backend: str
) -> None:
    losses, state = trained(how, backend, **options)
    back = {k: v for k, v in options.items() if k == "reverse"}
    want, left = trained("twice" if how == "nested" else "python", "reference", **back)
    np.testing.assert_allclose(losses, want, rtol=1e-4)
    for name, array in left.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(state["drop.key"], left["drop.key"])


def test_a_body_whose_state_changes_stays_one_scan() -> None:
    program = nv.trace(Loop("scan"), f"f32[{T},{N},{H}]", training=True)
    (loop,) = [n for n in program.main.nodes if n.op.mnemonic == "scan"]
    assert [v.name for v in loop.regions[0].inputs[:2]] == ["carry", "drop.key"]
    assert str(nv.parse(str(program)).main.nodes[0].op) == str(program.main.nodes[0].op)
    assert "norm.running_mean" in dict(program.main.updates)


def test_other_bodies_cannot_hand_state_out() -> None:
    drop = nn.Dropout(0.5)
    table = np.array([[-1], [0], [1], [2]])
    with pytest.raises(TraceError, match="@key cannot be updated inside the body of a tree_fold"):
        nv.trace(
            lambda x: nv.tree_fold(lambda x, kids: drop(x + kids.sum(1)), table, x, np.zeros(H, np.float32)),
            f"f32[{N},{H}]",
            training=True,
        )


class Branches(nn.Module):
    """Blocks that are skipped where the sum of their input is below 0, one of which has state of its own to change."""

    def __init__(self, python: bool) -> None:
        rng = np.random.default_rng(2)
        self.first, self.second, self.python = nn.Linear(H, H, rng=rng), nn.BatchNorm1d(H), python
        self.drop = nn.Dropout(0.5, rng=rng)

    def __call__(self, x: Any) -> Any:
        for sign in (1.0, -1.0):
            test: Any = (x.sum() * 0 + sign) > 0

            def block(x: Any) -> Any:
                return self.second(self.drop(self.first(x)))

            def other(x: Any) -> Any:
                return self.drop(x) * 0.5

            x = nv.cond(sign > 0 if self.python else test, block, other, x)
        return x


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_branch_changes_the_state_that_it_would_change_alone(backend: str) -> None:
    found: list[tuple[list[float], dict[str, Any]]] = []
    for python in (True, False):
        model: Any = Branches(python)
        specs = (f"f32[{N},{H}]", f"f32[{N},{H}]")
        step = nv.compile(nv.training_step(model, nn.mse_loss, optim.SGD(0.5), *specs), backend=backend)
        found.append(([float(step(X[k], Y)) for k in range(3)], model.state_dict()))
    (want, left), (losses, state) = found
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    for name, array in left.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


class Stateful(nn.Module):
    """A GRU that goes on where the last batch ended: truncated backpropagation over one long sequence."""

    def __init__(self) -> None:
        self.gru, self.h = (
            nn.GRU(H, H, rng=np.random.default_rng(3)),
            nn.Buffer(np.zeros((1, N, H), np.float32)),
        )

    def __call__(self, x: Any) -> Any:
        y, h = self.gru(x, self.h)
        self.h.update(h)
        return y


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_buffer_keeps_the_state_between_calls(backend: str) -> None:
    model, long = Stateful(), np.concatenate([X, 2 * X])
    whole = nv.compile(lambda x: model.gru(x)[0], f"f32[{2 * T},{N},{H}]")(long)
    run = nv.compile(model, f"f32[{T},{N},{H}]", backend=backend)
    parts = [np.array(run(part)) for part in (X, 2 * X)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.h.data[0], whole[-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_layer_made_inside_the_body_is_one_layer_for_all_steps(backend: str) -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, r: (c + nn.BatchNorm1d(H)(r), None), np.zeros((N, H), np.float32), x)[0]

    program = nv.trace(f, f"f32[{T},{N},{H}]", training=True)
    assert len([name for name in program.store if "running_mean" in name]) == 1
    nv.compile(program, backend=backend)(X)
    mean, weight = np.zeros(H), 0.1
    for row in X:
        mean = (1 - weight) * mean + weight * row.mean(0)
    state = {name: entry.data for name, entry in program.store.items()}
    np.testing.assert_allclose(state["running_mean"], mean, rtol=1e-4, atol=1e-6)
    assert state["num_batches_tracked"] == T


def test_dropout_made_inside_the_body_draws_anew_at_each_step() -> None:
    program = nv.trace(
        lambda x: nv.scan(lambda c, r: (c, nn.Dropout(0.5)(r)), None, x)[1], "f32[8,64]", training=True
    )
    kept = np.asarray(nv.compile(program)(np.ones((8, 64), np.float32))) > 0
    assert len({row.tobytes() for row in kept}) == 8


def test_a_body_in_scans_in_scans_is_traced_once() -> None:
    drop, calls = nn.Dropout(0.5), 0

    def nested(depth: int, x: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            nonlocal calls
            if depth > 1:
                return nested(depth - 1, c), None
            calls += 1
            return drop(c), None

        return nv.scan(body, x, length=2)[0]

    nv.trace(lambda x: nested(6, x), "f32[3]", training=True)
    assert calls == 1


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"remat": 2}], ids=str)
def test_steps_behind_the_end_of_all_sequences_change_no_state(options: dict[str, Any], backend: str) -> None:
    def left(length: int, **options: Any) -> dict[str, Any]:
        model: Any = Loop("scan", **options)
        program = nv.training_step(
            model, nn.mse_loss, optim.SGD(0.5), f"f32[{length},{N},{H}]", f"f32[{N},{H}]"
        )
        nv.compile(program, backend=backend)(X[:length], Y)
        return model.state_dict()

    found, want = left(T, seq_lens=[3] * N, **options), left(3, **options)
    assert found["norm.num_batches_tracked"] == 3
    for name, array in want.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_a_layer_made_inside_a_branch_changes_where_the_branch_runs(backend: str) -> None:
    def f(x: Any) -> Any:
        return nv.cond(x.sum() > 0, lambda: nn.BatchNorm1d(H)(x), lambda: x)

    program = nv.trace(f, f"f32[{N},{H}]", training=True)
    run = nv.compile(program, backend=backend)
    for sign, want in ((-1.0, 0), (1.0, 1)):
        run(np.float32(sign) * np.abs(X[0]))
        assert program.store["num_batches_tracked"].data == want
