"""The dial from a loop to straight-line code: whatever is chosen, every backend gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.interpret import evaluate_program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(12)
STEPS = 6
FORMS = {
    "as written": "",
    "taken apart": "decompose",
    "work moved out": "decompose,canonicalize,cse,simplify-scans,hoist,dce",
    "merged": "decompose,merge-scans{shared=false},cse,simplify-scans,dce",
    "by two": "decompose,unroll{max=1,factor=2}",
    "by four, with a rest": "decompose,unroll{max=1,factor=4}",
    "written out": "decompose,unroll{max=6}",
    "folded back": "decompose,canonicalize,cse,unroll{max=6},cse,reroll,dce",
    "chosen": "decompose,unroll{max=1,factor=0,auto=true}",
}


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


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("backend", ["llvm", "onnx"])
def test_every_level_gives_the_same(backend: str, level: int) -> None:
    program = program_of("bidirectional", True)
    x = RNG.normal(size=(STEPS, 2, 3)).astype("f4")
    (wanted,) = evaluate_program(program, [x])
    found = nv.compile(program, backend=backend, opt=level)(x)
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
