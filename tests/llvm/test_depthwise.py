"""Depthwise convolutions in blocks of channels: rows of every width, open or known, in runs of results."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import LLVMExecutable

WINDOWS = {
    "3 x 3": (3, 1, 1, 1),
    "5 x 5, stride 2": (5, 2, 1, 2),
    "7 x 7": (7, 1, 1, 3),
    "dilated": (3, 1, 2, 2),
    "2 x 2, stride 3, no rim": (2, 3, 1, 0),
}
"""Size, stride, dilation and padding."""


def _network(size: int, stride: int, dilation: int, padding: int) -> nn.Sequential:
    nv.seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 20, 1),
        nn.Conv2d(20, 20, size, stride=stride, dilation=dilation, padding=padding, groups=20),
        nn.ReLU(),
        nn.Conv2d(20, 4, 1),
    )


@pytest.mark.parametrize("name", WINDOWS)
def test_rows_of_open_width_give_the_reference_and_the_same_bits_on_two_threads(name: str) -> None:
    model = _network(*WINDOWS[name])
    ours, reference = (
        nv.compile(model, "f32[B,3,H:6..90,W:6..90]"),
        nv.compile(model, "f32[B,3,H:6..90,W:6..90]", backend="reference"),
    )
    two = nv.compile(model, "f32[B,3,H:6..90,W:6..90]", threads=2)
    rng = np.random.default_rng(2)
    for width in (6, 7, 8, 9, 12, 15, 23, 27, 40):
        x = rng.standard_normal((2, 3, 6, width)).astype(np.float32)
        found, wanted = ours(x), reference(x)
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
        assert np.array_equal(two(x), found)


def test_a_row_of_open_width_is_computed_in_runs_of_eight() -> None:
    ours = nv.compile(_network(*WINDOWS["3 x 3"]), "f32[B,3,H:6..90,W:6..90]", cache=False)
    assert isinstance(ours, LLVMExecutable)
    text = str(ours.assembled.program)
    kernel = text[text.index("_depthwise(b0") :]
    assert "run8 in" in kernel and "run4 in" in kernel and "run1 in" in kernel


def test_other_numbers_of_axes() -> None:
    for layers, spec, shape in (
        (nn.Sequential(nn.Conv1d(4, 24, 1), nn.Conv1d(24, 24, 5, groups=24, padding=2)), "f32[B,4,W]", (2, 4, 29)),
        (nn.Sequential(nn.Conv3d(4, 24, 1), nn.Conv3d(24, 24, 3, groups=24, padding=1)), "f32[B,4,D,H,W]", (1, 4, 3, 4, 13)),
    ):  # fmt: skip
        x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
        found, wanted = nv.compile(layers, spec)(x), nv.compile(layers, spec, backend="reference")(x)
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
