"""A remainder of the stride is a remark, with the numbers and the line; it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

import nervure as nv
from nervure import nn, optim

CASES: list[tuple[Any, str, list[str]]] = [
    (
        lambda x: nn.max_pool2d(x, 2), "f32[B,1,7,8]",
        ["max_pool, spatial axis 0: 7 + 0 + 0 - 2 is no multiple of the stride 2: 1 at the end not read"],
    ),
    (
        lambda x: nn.avg_pool1d(x, 3, 3, 1), "f32[B,1,9]",
        ["avg_pool, spatial axis 0: 9 + 1 + 1 - 3 is no multiple of the stride 3: 2 at the end not read"],
    ),
    (
        nn.Conv2d(1, 1, 3, stride=(2, 3), dilation=2), "f32[B,1,8,8]",
        ["conv, spatial axis 0: 8 + 0 + 0 - 5 is no multiple of the stride 2: 1 at the end not read"],
    ),
    (lambda x: nn.max_pool2d(x, 2, ceil_mode=True), "f32[B,1,7,7]", []),
    (lambda x: nn.max_pool2d(x, 2), "f32[B,1,8,H:8..64]", []),
    (nn.ConvTranspose2d(1, 1, 3, stride=2), "f32[B,1,8,8]", []),
    (nn.Conv2d(1, 1, 3, stride=2, padding=1), "f32[B,1,9,9]", []),
]  # fmt: skip


@pytest.mark.parametrize(("function", "spec", "wanted"), CASES)
def test_a_remainder_of_the_stride_is_a_remark(function: Any, spec: str, wanted: list[str]) -> None:
    run = nv.compile(function, spec, backend="reference")
    found = [note for note in run.notes if note.startswith("check-windows: ")]
    assert [note.removeprefix("check-windows: ").split(", at ")[0] for note in found] == wanted
    assert all("test_check_windows.py" in note for note in found)


def test_the_gradients_of_a_conv_add_no_remark_of_their_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f32[B,1,10,10]", "i64[B]")
    found = [n for n in nv.compile(program, backend="reference").notes if n.startswith("check-windows")]
    assert len(found) == 2, "one an axis"
    assert all("10 + 0 + 0 - 3" in note for note in found)
