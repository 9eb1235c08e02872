"""A training step is an ordinary ONNX model: a stock onnxruntime trains as llvm does, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS, digits

import nervure as nv
from nervure import nn, optim

STEPS = 100
BATCH = 16
LOSS = 1e-5
UPDATE = 1e-4
"""Of the largest element of a tensor's update."""


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


def steps(name: str, optimizer: Any, seed: int = 0) -> tuple[Any, Any]:
    """The same training step with the same weights on llvm and on onnxruntime."""
    build, shape = NETWORKS[name]
    made: list[Any] = []
    for backend in ("llvm", "onnx"):
        nv.seed(seed)
        spec = f"f32[{','.join(['B', *map(str, shape)])}]"
        program = nv.training_step(build(nn), nn.cross_entropy, optimizer(), spec, "i64[B]")
        made.append(nv.compile(program, backend=backend))
    return made[0], made[1]


def batches(name: str, noise: float) -> Iterator[tuple[Any, Any]]:
    """Batches of 160 examples, over and over, in a fixed order."""
    x, labels = digits(NETWORKS[name][1], 160, seed=2, noise=noise)
    order = np.random.default_rng(3)
    for _ in range(STEPS):
        chosen = order.choice(160, BATCH, replace=False)
        yield x[chosen], labels[chosen]


def momentum() -> Any:
    return optim.SGD(lr=0.05, momentum=0.9)


@pytest.mark.parametrize("name", ["mlp", "classic_lenet"])
def test_two_trainings_that_run_free_stay_together(name: str) -> None:
    llvm, onnx = steps(name, momentum)
    losses: list[tuple[float, float]] = []
    for x, labels in batches(name, 0.5):
        losses.append((float(llvm(x, labels)), float(onnx(x, labels))))
    ours, theirs = np.array(losses).T
    print(f"{name}: loss {ours[0]:.4f} to {ours[-1]:.6f}, apart by at most {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() <= LOSS
    assert ours[-1] < ours[0] / 2
    assert len(set(losses)) == STEPS


def test_lenet_with_kinks_takes_the_same_step_from_the_same_weights() -> None:
    llvm, onnx = steps("lenet", lambda: optim.SGD(lr=0.02, momentum=0.9))
    good, losses = 0, list[float]()
    for x, labels in batches("lenet", 2.0):
        before = llvm.state_dict()
        onnx.load_state_dict(before)
        losses.append(float(llvm(x, labels)))
        assert float(onnx(x, labels)) == pytest.approx(losses[-1], abs=LOSS)
        good += not far_apart(before, llvm.state_dict(), onnx.state_dict())
    print(f"lenet: {good} of {STEPS} updates agree, loss {losses[0]:.4f} to {losses[-1]:.6f}")
    assert good >= STEPS - 2
    assert np.mean(losses[-10:]) < losses[0] / 2


def far_apart(before: Any, first: Any, second: Any) -> list[str]:
    """The entries whose updates differ by more than `UPDATE`, or by more than rounding of the entry itself."""
    found: list[str] = []
    for name, old in before.items():
        ours, theirs = first[name].astype(np.float64) - old, second[name].astype(np.float64) - old
        rounding = np.finfo(np.float32).eps * float(np.abs(first[name]).max(initial=0))
        if np.abs(ours - theirs).max(initial=0) > UPDATE * np.abs(ours).max(initial=0) + rounding:
            found.append(name)
    return found


def test_the_comparison_of_updates_notices_one_that_is_off() -> None:
    before = {"w": np.linspace(-1, 1, 50, dtype=np.float32)}
    step = np.linspace(-0.1, 0.1, 50, dtype=np.float32)
    right, wrong = {"w": before["w"] + step}, {"w": before["w"] + step * np.float32(1 + 4e-4)}
    assert far_apart(before, right, right) == []
    assert far_apart(before, right, wrong) == ["w"]
    assert far_apart(before, right, before) == ["w"]
