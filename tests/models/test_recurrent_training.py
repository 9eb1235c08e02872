"""Recurrent training steps: exported, they train on a stock onnxruntime as llvm does; and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import nervure as nv
from nervure import nn, optim

STEPS = 100
LOSS = 1e-5
T, WIDTH, CLASSES = 8, 6, 3


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


class Tagger(nn.Module):
    """A class for each step; many to many."""

    def __init__(self, layer: str, **options: Any) -> None:
        self.body = getattr(nn, layer)(WIDTH, 12, **options)
        self.head = nn.Linear(12 * (1 + options.get("bidirectional", False)), CLASSES)

    def __call__(self, x: Any) -> Any:
        return self.head(self.body(x)[0])


def over_time(scores: Any, labels: Any, lens: Any) -> Any:
    return nn.sequence_loss(nn.cross_entropy, scores, labels, lens)


def step_of(layer: str, **options: Any) -> Any:
    nv.seed(0)
    specs = (f"f32[{T},B,{WIDTH}]", f"i64[{T},B]", "i64[B]")
    return nv.training_step(Tagger(layer, **options), over_time, optim.Adam(lr=0.01), *specs)


def batches() -> Iterator[tuple[Any, Any, Any]]:
    """The label is the number of large first features so far, modulo the classes; lengths differ."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        x = rng.normal(size=(T, 16, WIDTH)).astype(np.float32)
        labels = np.cumsum(x[:, :, 0] > 0.5, axis=0) % CLASSES
        yield x, labels.astype(np.int64), rng.integers(1, T + 1, 16)


class Exported:
    """The exported step in a session of onnxruntime, with nothing of nervure around it."""

    def __init__(self, program: Any, path: Path) -> None:
        nv.export_onnx(program, path)
        self.kinds = [n.op_type for n in onnx.load(path).graph.node]
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.store = {n: e.data.copy() for n, e in program.store.items()}

    def __call__(self, *arrays: Any) -> float:
        names = [i.name for i in self.session.get_inputs() if i.name not in self.store]
        outputs = [o.name for o in self.session.get_outputs()]
        given = {n: a for n, a in self.store.items() if n in [i.name for i in self.session.get_inputs()]}
        found = self.session.run(None, given | dict(zip(names, arrays, strict=True)))
        for name, value in zip(outputs, found, strict=True):
            if name.endswith(".next"):
                self.store[name.removesuffix(".next")] = value
        return float(found[0])


@pytest.mark.parametrize(
    ("layer", "options"),
    [("LSTM", {}), ("LSTM", {"num_layers": 2, "bidirectional": True}), ("GRU", {})],
    ids=str,
)
def test_the_exported_step_trains_on_stock_onnxruntime(
    layer: str, options: dict[str, Any], tmp_path: Path
) -> None:
    llvm = nv.compile(step_of(layer, **options))
    onnx_step = Exported(step_of(layer, **options), tmp_path / "step.onnx")
    losses = np.array([(float(llvm(*batch)), onnx_step(*batch)) for batch in batches()])
    apart = np.abs(losses[:, 0] - losses[:, 1]).max()
    print(f"{layer} {options}: loss {losses[0, 0]:.4f} to {losses[-1, 0]:.4f}, apart by at most {apart:.1e}")
    assert apart <= LOSS
    assert losses[-10:, 0].mean() < 0.8 * losses[0, 0]
    assert not {"LSTM", "GRU"} & set(onnx_step.kinds), "the forward layer would be computed twice"


def test_a_plain_rnn_takes_the_same_step_from_the_same_weights(tmp_path: Path) -> None:
    llvm = nv.compile(step_of("RNN", nonlinearity="relu"))
    onnx_step = Exported(step_of("RNN", nonlinearity="relu"), tmp_path / "step.onnx")
    for batch in batches():
        onnx_step.store = dict(llvm.state_dict())
        assert onnx_step(*batch) == pytest.approx(float(llvm(*batch)), abs=LOSS)


def test_one_step_trains_at_every_batch_and_length() -> None:
    """Compiled once, symbolic in both; the backends agree at each size."""

    def step(backend: str) -> Any:
        nv.seed(0)
        model = Tagger("LSTM", num_layers=2, bidirectional=True)
        specs = (f"f32[T,B,{WIDTH}]", "i64[T,B]", "i64[B]")
        return nv.compile(nv.training_step(model, over_time, optim.SGD(lr=0.1), *specs), backend=backend)

    steps = [step(backend) for backend in ("reference", "llvm", "onnx")]
    rng = np.random.default_rng(0)
    for length, batch in ((5, 1), (50, 7), (3, 2)):
        x = rng.normal(size=(length, batch, WIDTH)).astype(np.float32)
        y, lens = rng.integers(0, CLASSES, (length, batch)), rng.integers(1, length + 1, batch)
        want, *found = (float(s(x, y, lens)) for s in steps)
        assert found == pytest.approx([want, want], abs=LOSS)
    states = [s.state_dict() for s in steps]
    for name, array in states[0].items():
        for other in states[1:]:
            np.testing.assert_allclose(other[name], array, rtol=0, atol=1e-5, err_msg=name)
