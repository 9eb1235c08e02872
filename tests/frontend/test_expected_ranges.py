"""Labels outside the classes are refused at the call, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError

LOGITS = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("label", [-1, 4, 2**40])
def test_a_label_outside_the_classes_is_refused_with_its_place(backend: str, label: int) -> None:
    run = nv.compile(nn.cross_entropy, "f32[B,4]", "i64[B]", backend=backend)
    assert run(LOGITS, np.array([0, 3, 1])) > 0
    with pytest.raises(InputError, match=rf"input target: {label} at \[1\] is outside 0\.\.3"):
        run(LOGITS, np.array([0, label, 1]))


def test_labels_may_have_any_integer_type_and_rank() -> None:
    run = nv.compile(nn.cross_entropy, "f32[B,4,2]", "u8[B,2]", backend="reference")
    run(np.zeros((1, 4, 2), np.float32), np.array([[0, 3]], np.uint8))
    with pytest.raises(InputError, match=r"4 at \[0, 1\] is outside 0\.\.3"):
        run(np.zeros((1, 4, 2), np.float32), np.array([[0, 4]], np.uint8))


def test_nothing_is_updated_by_a_step_with_wrong_labels() -> None:
    model: Any = nn.Linear(4, 3)
    step = nv.compile(nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f32[B,4]", "i64[B]"))
    before = step.state_dict()
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        step(LOGITS, np.array([0, 1, 3]))
    assert all(np.array_equal(value, before[name]) for name, value in step.state_dict().items())


def test_the_expectation_is_part_of_the_text() -> None:
    program = nv.trace(nn.cross_entropy, "f32[B,4]", "i64[B]")
    assert "expect_range{low=0, high=4} %target" in str(program)
    run = nv.compile(nv.parse(str(program)), backend="reference")
    with pytest.raises(InputError, match="outside"):
        run(LOGITS, np.array([0, 1, 9]))


def test_labels_that_are_no_integers_are_an_error_of_the_trace() -> None:
    with pytest.raises(nv.NervureError, match="target is f32, expected integers"):
        nv.trace(nn.cross_entropy, "f32[B,4]", "f32[B]")


def test_logits_need_classes() -> None:
    with pytest.raises(nv.NervureError, match="there may be no classes"):
        nv.trace(nn.cross_entropy, "f32[B,0]", "i64[B]")
