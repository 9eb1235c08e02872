"""The dial from a loop to straight-line code: whatever is chosen, every backend gives the same."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from dial_forms import FORMS, STEPS

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import LLVMExecutable
from nervure.ir.interpret import evaluate_program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(12)


class Bidirectional(nn.Module):
    def __init__(self) -> None:
        self.rnn = nn.LSTM(3, 4, num_layers=2, bidirectional=True)

    def __call__(self, x: Any) -> Any:
        return self.rnn(x)[0]


class Nested(nn.Module):
    """A loop in a loop in which a branch chooses."""

    def __init__(self) -> None:
        self.cell = nn.Linear(3, 3)

    def __call__(self, x: Any) -> Any:
        def inner(c: Any, r: Any) -> Any:
            new = nv.cond(c.sum() > 0, lambda: nn.tanh(self.cell(c) + r), lambda: nn.tanh(c - r))
            return new, new

        def outer(c: Any, rows: Any) -> Any:
            last, ys = nv.scan(inner, c, rows.reshape(2, 1, 3), reverse=True)
            return last * 0.5, ys.sum(0)

        return nv.scan(outer, x[0, :1], x)[1]


def program_of(name: str, derivative: bool) -> nv.Program:
    nv.seed(6)
    model = {"bidirectional": Bidirectional, "nested": Nested, "gru": lambda: _first(nn.GRU(3, 4))}[name]()
    f = nv.grad(lambda x: (model(x) ** 2).sum()) if derivative else model
    return nv.trace(f, f"f32[{STEPS},2,3]")


def _first(layer: Any) -> Any:
    return lambda x: layer(x)[0]


@pytest.mark.parametrize("derivative", [False, True])
@pytest.mark.parametrize("name", ["bidirectional", "nested", "gru"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_on_every_backend(form: str, name: str, derivative: bool) -> None:
    program = program_of(name, derivative)
    x = RNG.normal(size=(STEPS, 2, 3)).astype("f4")
    wanted = evaluate_program(program, [x])
    formed = run_pipeline(program, Pipeline.parse(FORMS[form])).program
    backends = (
        ("llvm", "onnx") if form in ("written out", "folded back", "by four, with a rest") else ("llvm",)
    )
    for backend in ("reference", *backends):
        found = nv.compile(formed, backend=backend)(x)
        for a, b in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
            scale = np.abs(b).max() + 1e-3
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * scale, err_msg=f"{backend}, {form}")


WRITTEN_OUT = ("written out", "folded back")
LOOPS = {name: form for name, form in FORMS.items() if name not in WRITTEN_OUT}
LOOPS["by sixteen, with a rest"] = "decompose,unroll{max=1,factor=16}"


def lstm(steps: int, derivative: bool) -> nv.Program:
    nv.seed(6)
    layer = nn.LSTM(64, 256)
    f = nv.grad(lambda x: (layer(x)[0] ** 2).sum()) if derivative else layer
    return nv.trace(f, f"f32[{steps},1,64]")


@pytest.mark.parametrize("derivative", [False, True])
@pytest.mark.parametrize("form", LOOPS)
def test_a_thousand_steps_compile_soon_and_to_no_more_code_than_64(form: str, derivative: bool) -> None:
    """Within a second, a derivative within two, unless a full unroll is forced, which `tests/passes/test_loops.py` holds."""
    nv.compile(nn.relu, "f32[1]", cache=False)
    size: dict[int, int] = {}
    for steps in (64, 1024):
        program, start = lstm(steps, derivative), time.process_time()
        formed = run_pipeline(program, Pipeline.parse(LOOPS[form]), verify=False).program
        run = nv.compile(formed, cache=False, threads=1)
        assert time.process_time() - start < (2 if derivative else 1)
        assert isinstance(run, LLVMExecutable)
        size[steps] = len(run.object)
    assert size[1024] <= 1.05 * size[64]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_thousand_steps_compile_within_a_second_at_every_level(level: int) -> None:
    nv.compile(nn.relu, "f32[1]", cache=False)
    nv.seed(6)
    layer = nn.LSTM(64, 256)
    size: list[int] = []
    for steps in ("64", "1024", "T"):
        program, start = nv.trace(layer, f"f32[{steps},B,64]"), time.process_time()
        run = nv.compile(program, cache=False, threads=1, opt=level)
        assert time.process_time() - start < 1
        assert isinstance(run, LLVMExecutable)
        size.append(len(run.object))
    assert max(size) <= 1.1 * min(size)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("backend", ["llvm", "onnx"])
def test_every_level_gives_the_same(backend: str, level: int) -> None:
    program = program_of("bidirectional", True)
    x = RNG.normal(size=(STEPS, 2, 3)).astype("f4")
    (wanted,) = evaluate_program(program, [x])
    found = nv.compile(program, backend=backend, opt=level)(x)
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
