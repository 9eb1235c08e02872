"""A loaded program trains like the module it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.frontend.nn.imported import ProgramModule
from nervure.ir.errors import InputError

X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
Y = np.arange(16) % 3


def test_a_loaded_program_trains_like_its_module(tmp_path: Path) -> None:
    nv.seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    nv.save(nv.trace(model, "f32[B,4]"), tmp_path / "m.nv")
    loaded = ProgramModule(nv.load(tmp_path / "m.nv"))
    assert [n for n, _ in loaded.named_parameters()] == [n for n, _ in model.named_parameters()]
    for each in (model, loaded):
        step = nv.compile(nv.training_step(each, nn.cross_entropy, optim.SGD(0.1), "f32[B,4]", "i64[B]"))
        for _ in range(5):
            step(X, Y)
    for (_, a), (_, b) in zip(model.named_entries(), loaded.named_entries(), strict=True):
        assert a.data.tobytes() == b.data.tobytes()


def test_a_step_is_no_model() -> None:
    model = nn.Linear(4, 3)
    step = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f32[B,4]", "i64[B]")
    with pytest.raises(InputError, match="updates its store"):
        ProgramModule(step)


def test_other_types_are_refused() -> None:
    loaded = ProgramModule(nv.trace(nn.Linear(4, 3), "f32[B,4]"))
    with pytest.raises(InputError, match=r"takes \(f32\[B,4\]\), got \(f32\[B,5\]\)"):
        nv.trace(loaded, "f32[B,5]")
