"""What stands between convolutions keeps their blocks of channels: joins and parts of channels, and places repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import LLVMExecutable


class Net(nn.Module):
    """Convolutions to each of some numbers of channels, something between, and a convolution behind.

    Args:
        channels: of the first ones
        between:  what is done with their results
        behind:   channels of what comes of it
    """

    def __init__(self, channels: tuple[int, ...], between: Callable[..., Any], behind: int) -> None:
        self.first = nn.ModuleList([nn.Conv2d(3, c, 3, padding=1) for c in channels])
        self.between, self.last = between, nn.Conv2d(behind, 20, 3, padding=1)

    def __call__(self, x: Any) -> Any:
        return self.last(self.between(*(f(x) for f in self.first)))


class Then(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, x: Any) -> Any:
        return self.function(x)


def _join(*parts: Any) -> Any:
    return np.concatenate(parts, axis=1)


def _twice(x: Any) -> Any:
    return nn.interpolate(x, scale_factor=2, mode="nearest")


CASES: dict[str, tuple[tuple[int, ...], Callable[..., Any], int]] = {
    "whole blocks": ((16, 32), _join, 48),
    "half blocks": ((24, 24), _join, 48),
    "three of them, a channel more each": ((17, 33, 13), _join, 63),
    "fewer channels than a block": ((9, 10, 11, 40), _join, 70),
    "maps in the join": ((24, 20), lambda a, b: _join(nn.relu(a) * 2, nn.tanh(b), a), 68),
    "a join of joins": ((12, 24), lambda a, b: _join(_join(a, b), b, _join(b, a)), 96),
    "blocks of several sizes": ((8, 24), _join, 32),
    "parts": ((48,), lambda a: _join(a[:, 24:40], a[:, :16]) + a[:, 7:39], 32),
    "a part that is convolved": ((40,), lambda a: a[:, 13:37], 24),
    "repeated": ((24,), _twice, 24),
    "repeated and added": ((24, 24), lambda a, b: _twice(nn.max_pool2d(a, 2)) + b, 24),
    "repeated and joined": ((24, 40), lambda a, b: _join(_twice(nn.max_pool2d(a, 2)), b), 64),
    "repeated fourfold, read twice": ((20,), lambda a: _twice(nn.relu(_twice(a))) * nn.sigmoid(_twice(_twice(a))), 20),
    "repeated, and read as rows": (
        (24, 24), lambda a, b: b * _twice(nn.max_pool2d(a, 2)).reshape((-1, 24, 8 * 12)).mean(axis=2)[:, :, None, None], 24,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_between_convolutions(name: str) -> None:
    channels, between, behind = CASES[name]
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 12)).astype(np.float32)
    for spec in ("f32[B,3,8,12]", "f32[B,3,2*H,4*W]")[: 1 if "rows" in name else 2]:
        nv.seed(3)
        model = Net(channels, between, behind)
        one, two = nv.compile(model, spec)(x), nv.compile(model, spec, threads=2)(x)
        wanted = nv.compile(model, spec, backend="reference")(x)
        assert np.array_equal(one, two)
        assert np.abs(one - wanted).max() <= 3e-5 * np.abs(wanted).max()  # Winograd's


@pytest.mark.parametrize(
    "name", ["half blocks", "whole blocks", "parts", "repeated and added", "repeated and joined"]
)
def test_no_copy_to_plain_memory_is_made(name: str) -> None:
    channels, between, behind = CASES[name]
    run = nv.compile(Net(channels, between, behind), "f32[B,3,2*H,4*W]", cache=False)
    assert isinstance(run, LLVMExecutable)
    kinds = [kernel.name.rsplit("_", 1)[1] for kernel in run.kernels]
    assert kinds.count("unblock") == 1, "that of the network's own result"
    assert "block" not in kinds


def test_derivatives_through_joins_and_parts() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 12)).astype(np.float32)
    for name in ("half blocks", "parts", "repeated and joined"):
        found: list[dict[str, Any]] = []
        for backend in ("llvm", "reference"):
            nv.seed(3)
            step = nv.training_step(
                Net(*CASES[name]), lambda y: (y * y).mean(), nv.optim.SGD(lr=0.5), "f32[2,3,8,12]"
            )
            run = nv.compile(step, backend=backend)
            run(x)
            found.append(run.state_dict())
        for key, wanted in found[1].items():
            assert np.abs(found[0][key] - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1e-3), (name, key)


REDUCED: dict[str, Callable[..., Any]] = {
    "the mean of all places": lambda y: y.mean(axis=(2, 3)),
    "the largest of rows": lambda y: nn.tanh(y).max(axis=3),
    "the sum of columns, squared": lambda y: y.sum(axis=2) ** 2,
    "a gate by means": lambda y: y * nn.sigmoid(y.mean(axis=(2, 3), keepdims=True)),
    "with a tail that reads another": lambda y: y.sum(axis=(2, 3)) + y.max(axis=(2, 3)),
}


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("channels", [16, 24, 3])
def test_places_are_reduced_where_they_lie(name: str, channels: int) -> None:
    nv.seed(3)
    model = nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(20, channels, 1), Then(REDUCED[name]))
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 13)).astype(np.float32)
    for spec in ("f32[B,3,8,13]", "f32[B,3,H,W]"):
        run = nv.compile(model, spec)
        wanted = nv.compile(model, spec, backend="reference")(x)
        assert np.abs(run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
        assert np.array_equal(nv.compile(model, spec, threads=2)(x), run(x))


@pytest.mark.parametrize("shape", [(2, 20, 41, 1), (1, 6, 41, 1), (2, 20, 3, 41, 1), (2, 20, 1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_run_along_the_last_axis_of_several_places(shape: tuple[int, ...], stride: int) -> None:
    nv.seed(3)
    flat = len(shape) == 4
    window, padding, steps = (3, 1), (1, 0), (stride, 1)
    conv = (
        nn.Conv2d(shape[1], 24, window, steps, padding)
        if flat
        else nn.Conv3d(shape[1], 24, (1, *window), (1, *steps), (0, *padding))
    )
    model = nn.Sequential(conv, nn.ReLU(), Then(lambda y: y.reshape(y.shape[:-1]).max(axis=-1)))
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    spec = f"f32[B,{','.join(map(str, shape[1:]))}]"
    run, wanted = nv.compile(model, spec), nv.compile(model, spec, backend="reference")(x)
    assert isinstance(run, LLVMExecutable)
    assert np.abs(run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    if shape[2] > 1:
        assert not any("contract" in str(kernel) for kernel in run.kernels), "tiles along rows"


def test_channels_that_are_neighbours_are_copied_in_blocks() -> None:
    nv.seed(3)
    model = nn.Sequential(Then(lambda x: nn.relu(x).transpose((0, 2, 1))), nn.Conv1d(24, 20, 5))
    x = np.random.default_rng(1).standard_normal((2, 30, 24)).astype(np.float32)
    run = nv.compile(model, "f32[B,30,24]", cache=False)
    wanted = nv.compile(model, "f32[B,30,24]", backend="reference")(x)
    assert np.abs(run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert isinstance(run, LLVMExecutable)
    assert "block" not in [kernel.name.rsplit("_", 1)[1] for kernel in run.kernels]


@pytest.mark.parametrize("dilation", [(2, 1), (1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize("spec", ["f32[B,32,{},{}]", "f32[B,32,H:14..80,W:14..80]"])
def test_winograd_of_dilated_windows(dilation: tuple[int, int], spec: str) -> None:
    for high, wide in ((16, 24), (17, 15), (31, 22)):
        nv.seed(1)
        model = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(32, 24, 3, dilation=dilation),
        )
        program = nv.trace(model, spec.format(high, wide))
        run = nv.compile(program)
        assert isinstance(run, LLVMExecutable)
        assert any("winograd" in kernel.name for kernel in run.kernels)
        x = np.random.default_rng(high).normal(size=(2, 32, high, wide)).astype(np.float32)
        want = nv.compile(program, backend="reference")(x)
        assert np.abs(run(x) - want).max() <= 2e-5 * np.abs(want).max()
        assert np.array_equal(run(x), nv.compile(program, threads=2)(x))


class OnePlace(nn.Module):
    """Windows of one place: with a residual, and before one of 3 x 3, which wants a rim."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 24, 3, padding=1)
        self.wide, self.narrow, self.last = (
            nn.Conv2d(24, 40, 1),
            nn.Conv2d(40, 24, 1),
            nn.Conv2d(24, 20, 3, padding=1),
        )
        self.scale = nn.Conv2d(24, 20, 1)

    def __call__(self, x: Any) -> Any:
        y = self.first(x)
        z = self.narrow(nn.gelu(self.wide(y))) + y
        return self.last(z) * self.scale(z).mean(axis=(2, 3), keepdims=True)


@pytest.mark.parametrize("spec", ["f32[B,3,6,11]", "f32[B,3,H,W]"])
def test_windows_of_one_place_run_along_whole_images(spec: str) -> None:
    nv.seed(3)
    model = OnePlace()
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 11)).astype(np.float32)
    run, wanted = nv.compile(model, spec, cache=False), nv.compile(model, spec, backend="reference")(x)
    assert np.abs(run(x) - wanted).max() <= 3e-5 * np.abs(wanted).max()
    assert np.array_equal(nv.compile(model, spec, threads=2)(x), run(x))
    assert isinstance(run, LLVMExecutable)
    tiles = [text for text in map(str, run.kernels) if "tile " in text and "k=2 by" in text]
    assert any(" in 6 " not in text and "in H " not in text for text in tiles), (
        "rows are merged where no rim is"
    )


@pytest.mark.parametrize("wide", [4, 7, 8, 13, 14, 20, 28, 31])
def test_rows_are_turned_back_by_squares_of_several_sizes(wide: int) -> None:
    """A map with a rim that is a result as well: 16, 8 and 4 places of a row at once, what is left one by one."""
    nv.seed(0)
    first, second = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 16, 3, padding=1)

    def both(x: Any) -> Any:
        y = first(x)
        return y, second(y)

    x = np.random.default_rng(wide).standard_normal((2, 3, 5, wide), np.float32)
    found = nv.compile(both, f"f32[2,3,5,{wide}]", winograd="off")(x)
    wanted = nv.compile(both, f"f32[2,3,5,{wide}]", backend="reference")(x)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
