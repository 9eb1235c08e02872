"""The suite that every backend passes, on those that come with nervure."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from backend_suite import CASES, Case

import nervure as nv
from nervure.backends.base import find_backend
from nervure.backends.reference import ReferenceBackend, ReferenceExecutable
from nervure.ir.errors import BackendError

BACKENDS = ["reference", "llvm", "onnx"]


@pytest.mark.parametrize("opt", [0, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backend_agrees_with_the_reference(backend: str, case: Case, opt: int) -> None:
    case.run(backend, opt=opt)


class WrongExecutable(ReferenceExecutable):
    """One element of the first result, or of the first updated entry, is a little off."""

    def execute(self, inputs: Any, env: Any, outputs: Any) -> None:
        super().execute(inputs, env, outputs)
        if outputs[0].size:
            outputs[0].reshape(-1)[-1] += np.asarray(
                1e-3 if outputs[0].dtype.kind == "f" else 1, outputs[0].dtype
            )


class WrongBackend(ReferenceBackend):
    name = "wrong"

    def compile(self, program: Any, **_: Any) -> Any:
        executable = WrongExecutable(program)
        executable.backend = "wrong"
        return executable


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_suite_notices_a_backend_that_is_a_little_off(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        importlib.import_module("nervure.compiling"),
        "find_backend",
        lambda name: WrongBackend() if name == "wrong" else find_backend(name),
    )
    with pytest.raises(AssertionError, match=case.name):
        case.run("wrong")


def test_an_unknown_backend_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(BackendError, match="no backend is named nowhere") as caught:
        nv.compile(CASES[0].build(), backend="nowhere")
    assert "llvm, onnx, reference" in str(caught.value)
