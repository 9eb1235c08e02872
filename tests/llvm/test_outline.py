"""Large bodies of loops are functions that kernels of several sizes share."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.emit_stmt import Emitter
from nervure.backends.llvm.executable import LLVMExecutable


def net(*sizes: tuple[int, int]) -> Any:
    """Pairs of 3 x 3 convolutions between pools, of channels and more channels."""
    layers: list[Any] = []
    for before, after in sizes:
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def compiled(model: Any, spec: str) -> LLVMExecutable:
    run = nv.compile(model, spec, cache=False, threads=1)
    assert isinstance(run, LLVMExecutable)
    return run


def parts(run: LLVMExecutable) -> int:
    return len(re.findall(r"^define internal void @nv_part", run.text, re.MULTILINE))


def test_convolutions_of_several_sizes_share_their_transforms() -> None:
    # of two, one has a rim behind its pool and the last none; a third adds nothing
    two = compiled(net((32, 64), (64, 128)), "f32[2,32,64,64]")
    three = compiled(net((32, 64), (64, 128), (128, 96)), "f32[2,32,64,64]")
    assert 0 < parts(two) == parts(three)


@pytest.mark.parametrize(
    "spec", ["f32[2,32,32,32]", "f32[1,32,30,45]", "f32[B,32,29,30]", "f32[2,32,H:8..64,W:8..64]"]
)
def test_bits_are_those_of_the_body_in_its_place(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net((32, 64), (64, 48))
    x = np.random.default_rng(0).standard_normal(
        (2, 32, 30, 45) if "H" in spec else tuple(2 if d == "B" else int(d) for d in spec[4:-1].split(",")),
        np.float32,
    )
    shared = compiled(model, spec)
    monkeypatch.setattr(Emitter, "outlines", False)
    inline = compiled(model, spec)
    assert parts(shared) > parts(inline) == 1  # which is one from the start
    assert shared(x).tobytes() == inline(x).tobytes()


def test_the_gradients_of_a_training_step_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((4, 16, 14, 12), np.float32)
    labels = np.arange(4)

    def trained() -> list[bytes]:
        nv.seed(0)
        model = nn.Sequential(net((16, 32)), nn.Flatten(), nn.Linear(32 * 7 * 6, 10))
        program = nv.training_step(model, nn.cross_entropy, nv.optim.SGD(lr=0.1), "f32[4,16,14,12]", "i64[4]")
        step = nv.compile(program, cache=False, threads=1)
        step(x, labels)
        return [a.tobytes() for a in step.state_dict().values()]

    shared = trained()
    monkeypatch.setattr(Emitter, "outlines", False)
    assert shared == trained()
