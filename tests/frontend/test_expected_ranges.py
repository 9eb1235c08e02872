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


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("remat", [False, True])
def test_what_the_body_of_a_loop_expects_is_looked_at_too(backend: str, remat: bool) -> None:
    words = nn.Embedding(4, 3)

    def f(x: Any, ids: Any, lens: Any) -> Any:
        def step(h: Any, given: Any) -> Any:
            rows, row = given
            inner = nv.scan(lambda c, r: (c + r, None), h, rows, seq_lens=lens)[0]
            return inner + words(row), None

        return nv.scan(step, np.zeros((2, 3), np.float32), (x, ids), remat=remat)[0]

    run = nv.compile(f, "f32[4,5,2,3]", "i64[4,2]", "i64[2]", backend=backend)
    x, ids, lens = np.ones((4, 5, 2, 3), np.float32), np.zeros((4, 2), np.int64), np.array([5, 0])
    run(x, ids, lens)
    with pytest.raises(
        InputError, match=r"input lens: 6 at \[1\] is outside 0\.\.5\n  at .*test_expected_ranges.py"
    ):
        run(x, ids, np.array([5, 6]))
    if not remat:  # whose blocks are parts of the ids
        with pytest.raises(InputError, match=r"input ids: 4 at \[3, 1\] is outside 0\.\.3"):
            run(x, np.array([[0, 1], [2, 3], [0, 0], [0, 4]]), lens)


def test_a_branch_that_may_not_run_expects_nothing() -> None:
    words = nn.Embedding(4, 3)
    run = nv.compile(
        lambda i: nv.cond(i.sum() < 9, lambda: words(i), lambda: np.zeros((2, 3), np.float32)), "i64[2]"
    )
    assert not run(np.array([0, 40])).any()


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
