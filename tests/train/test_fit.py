"""The training loop: it learns, stops early, and goes on from a checkpoint to the same bits."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError
from nervure.train import Epoch, fit, loss_named, optimizer_named
from nervure.train.split import shares

RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 2)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def net(seed: int = 1) -> Any:
    nv.seed(seed)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))


def trained(model: Any, epochs: int, **more: Any) -> Any:
    return fit(model, (X, Y), nn.cross_entropy, optim.Adam(0.05), "f32[B,2]", epochs=epochs, batch=32, **more)


def weights(model: Any) -> dict[str, Any]:
    return {name: entry.data.copy() for name, entry in model.named_entries()}


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(a[n].tobytes() == b[n].tobytes() for n in a)


def test_it_learns_and_reports_each_epoch() -> None:
    model, seen = net(), list[Epoch]()
    history = trained(model, 40, validation=(X, Y), report=seen.append)
    assert [e.number for e in seen] == list(range(1, 41))
    assert seen == history.epochs
    assert history.reason == "epochs"
    assert history.epochs[history.best - 1].accuracy > 0.95
    assert min(e.val_loss for e in history.epochs) == history.epochs[history.best - 1].val_loss


def test_a_run_is_the_same_to_the_bit() -> None:
    first, second = net(), net()
    trained(first, 3)
    trained(second, 3)
    assert equal(weights(first), weights(second))


@pytest.mark.parametrize("validated", [False, True])
def test_a_resumed_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path, validated: bool) -> None:
    more = {"validation": (X[:30], Y[:30])} if validated else {}
    whole, parts = net(), net()
    expected = trained(whole, 6, **more)
    trained(parts, 2, checkpoint=tmp_path, **more)
    again = net()  # as a new process would make it
    history = trained(again, 6, checkpoint=tmp_path, resume=True, **more)
    assert equal(weights(whole), weights(again))
    assert [(e.loss, e.val_loss) for e in history.epochs] == [(e.loss, e.val_loss) for e in expected.epochs]
    assert history.best == expected.best


def test_it_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    model = net()
    noise = RNG.integers(0, 2, 30)
    history = trained(model, 200, validation=(X[:30], noise), early_stop=3, checkpoint=tmp_path)
    assert history.reason == "early stop"
    assert len(history.epochs) == history.best + 3
    run = nv.compile(lambda x, y: nn.cross_entropy(model(x), y), "f32[B,2]", "i64[B]")
    assert float(run(X[:30], noise)) == pytest.approx(history.epochs[history.best - 1].val_loss, rel=1e-5)
    assert [p.name for p in tmp_path.glob("best-*")] == [f"best-{history.best}.safetensors"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    trained(net(), 1, checkpoint=tmp_path)
    with pytest.raises(InputError, match="belongs to another run"):
        fit(net(), (X[:80], Y[:80]), nn.cross_entropy, optim.Adam(0.05), "f32[B,2]", epochs=2, batch=32,
            checkpoint=tmp_path, resume=True)  # fmt: skip


def test_a_damaged_checkpoint_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    trained(net(), 1, checkpoint=tmp_path)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"last\.safetensors"):
        trained(net(), 2, checkpoint=tmp_path, resume=True)


def test_ctrl_c_ends_with_the_last_whole_checkpoint(tmp_path: Path) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    history = trained(net(), 50, checkpoint=tmp_path, report=interrupt)
    assert history.reason == "interrupted"
    assert len(history.epochs) == 2
    whole, again = net(), net()
    trained(whole, 4)
    trained(again, 4, checkpoint=tmp_path, resume=True)
    assert equal(weights(whole), weights(again))


def test_images_become_what_the_model_takes() -> None:
    images = RNG.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    labels = RNG.integers(0, 10, 20)
    nv.seed(0)
    history = fit(
        nn.Linear(784, 10), (images, labels), nn.cross_entropy, optim.SGD(0.02), "f32[B,784]", epochs=9
    )
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_a_label_for_each_step_of_sequences_of_any_length() -> None:
    nv.seed(0)
    layer, head = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 2)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            self.layer, self.head = layer, head

        def __call__(self, x: Any) -> Any:
            return self.head(self.layer(x)[0])

    x = np.random.default_rng(0).normal(size=(60, 7, 2)).astype(np.float32)
    y = (x[:, :, 0] > 0).astype(np.int64)
    history = fit(
        Tagger(), (x, y), loss_named("sequence"), optim.Adam(0.02), "f32[B,T,2]", validation=(x[:9, :4], y[:9, :4]), epochs=12
    )  # fmt: skip
    assert history.epochs[-1].accuracy is not None and history.epochs[-1].accuracy > 0.9


class Sequences(nn.Module):
    """A recurrent layer over [B,T,3], and what becomes of its [B,T,5]."""

    def __init__(self, last: Any) -> None:
        self.layer, self.last = nn.GRU(3, 5, batch_first=True), last

    def __call__(self, x: Any) -> Any:
        return self.last(self.layer(x)[0])


@pytest.mark.parametrize("steps", [4, 5, 6])
@pytest.mark.parametrize("flat", [False, True])
def test_targets_are_as_long_as_what_the_model_gives_whatever_other_sizes_are(steps: int, flat: bool) -> None:
    nv.seed(0)
    x = RNG.normal(size=(20, steps, 3)).astype(np.float32)
    held = RNG.normal(size=(20, 5, 3)).astype(np.float32)
    numbers = RNG.normal(size=(20, 5)).astype(np.float32)

    def squares(a: Any, b: Any) -> Any:
        return ((a - b) ** 2).mean()

    def entropy(scores: Any, labels: Any) -> Any:
        return nn.cross_entropy(scores, labels.reshape(-1))

    if flat:  # a row of scores for each step of each sequence: [B*T,5]
        model, loss = Sequences(lambda y: y.reshape(-1, 5)), entropy
        data = x, RNG.integers(0, 5, x.shape[:2])
        validation = held, RNG.integers(0, 5, held.shape[:2])
    else:
        model, loss, data, validation = Sequences(lambda y: y.mean(1)), squares, (x, numbers), (held, numbers)
    history = fit(model, data, loss, optim.SGD(0.1), "f32[B,T,3]", validation=validation, epochs=3, batch=10)
    assert history.epochs[-1].loss < history.epochs[0].loss


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :1], Y, r"samples are \[1\], the model takes f32\[B,2\]"),
        (X[:5], Y, "5 samples and 90 targets"),
        (X[:0], Y[:0], "no samples"),
        (X.astype(object), Y, "elements are object"),
        (X, np.full(90, 2), "2 at .* is outside 0..1"),
        (X, Y.astype(str), "targets are <U"),
    ],
)
def test_data_that_does_not_fit_is_an_error(x: Any, y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(net(), (x, y), nn.cross_entropy, optim.Adam(0.05), "f32[B,2]", epochs=1)


def test_losses_and_optimisers_have_names() -> None:
    assert loss_named("mse") is nn.mse_loss
    made = optimizer_named("sgd:lr=0.5,momentum=0.9,nesterov=true")
    assert isinstance(made, optim.SGD)
    assert made.lr == 0.5
    for text, message in [
        ("sdg", "did you mean sgd"),
        ("sgd:rate=1", "is no argument"),
        ("sgd:lr=x", "is no number"),
    ]:
        with pytest.raises(InputError) as caught:
            optimizer_named(text)
        assert message in str(caught.value)


def test_a_split_takes_the_same_share_of_each_label() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    (x, _), (held, names) = shares(np.arange(60), labels, 0.2, 0)
    assert np.bincount(names).tolist() == [2, 4, 6]
    assert sorted([*x, *held]) == list(range(60))
    with pytest.raises(InputError, match="leaves"):
        shares(np.arange(3), np.array([0, 1, 2]), 0.1, 0)
