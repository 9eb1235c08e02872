"""What a backend's stated errors excuse, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.base import errors_of
from nervure.inspect.tolerance import Yardstick
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value, make
from nervure.ir.ops.gates import Silu
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32

F32 = np.float32


def judged(yardstick: Yardstick, off: float) -> str:
    """What a yardstick says of a first result that is off by so much in every element."""
    found = [yardstick.expected[0] + F32(off), *yardstick.expected[1:]]
    verdict = yardstick.compare(found, "found")
    return "wrong" if verdict.wrong else "excused" if verdict.excused else "within"


def test_a_composite_s_error_is_that_of_the_ops_within() -> None:
    x = Value(TensorType(f32, (1,)), name="x")
    program = Program("p", [Graph("main", [x], [*make(Silu(), x)])])
    yardstick = Yardstick(program, [np.array([-10], F32)])  # -10 / (1 + e^10) = -4.5e-4
    theirs = yardstick.against("onnx")
    bound = 10 * errors_of("onnx")["sigmoid"].absolute
    assert [judged(theirs, e) for e in (1e-9, 0.9 * bound, 1.2 * bound)] == ["within", "excused", "wrong"]
    assert judged(yardstick, 0.9 * bound) == "wrong"


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_errors_of_a_step_travel_through_the_loop(layer: type[nn.Module]) -> None:
    """And no farther than a few of them."""
    nv.seed(0)
    program = nv.trace(layer(1, 1), "f32[5,1,1]")
    yardstick = Yardstick(program, [np.full((5, 1, 1), 1e-3, F32)])
    still, moving = yardstick.movement[0], yardstick.against("onnx").movement[0]
    assert moving.mean() > still.mean()
    assert moving.max() < 1e-6


def test_where_a_backend_states_no_errors_nothing_more_is_excused() -> None:
    x = Value(TensorType(f32, (3,)), name="x")
    yardstick = Yardstick(Program("p", [Graph("main", [x], [b.tanh(x)])]), [np.ones(3, F32)])
    assert yardstick.against("llvm") is yardstick
    assert judged(yardstick.against("onnx"), 1e-4) == "wrong"
