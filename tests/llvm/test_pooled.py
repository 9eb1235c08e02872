"""A pool behind a convolution is computed in its kernel: the same values as the reference, and no map between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import LLVMExecutable
from nervure.inspect.explain import explain

BOUND = 1e-5


class Pooled(nn.Module):
    """A convolution, what follows it, a pool, and perhaps a convolution behind.

    Args:
        channels: of the input and of the convolution
        kernel:   its window and padding
        window:   of the pool
        tail:     between both
        behind:   whether the pool's result is convolved again, or is what the network returns
    """

    def __init__(
        self, channels: tuple[int, int], kernel: tuple[int, int], window: Any, tail: Any, behind: bool
    ) -> None:
        into, out = channels
        self.first, self.around = nn.Conv2d(into, out, kernel[0], padding=kernel[1]), nn.Conv2d(into, out, 1)
        self.window, self.tail = window, tail
        self.last = nn.Conv2d(out, 6, 3, padding=1) if behind else None

    def __call__(self, x: Any) -> Any:
        y = self.first(x)
        y = y + self.around(x) if self.tail == "residual" else self.tail(y) if self.tail else y
        y = nn.max_pool2d(y, self.window)
        return y if self.last is None else self.last(y)


CASES: list[tuple[str, tuple[int, int], tuple[int, int], tuple[int, int], Any, Any]] = [
    ("across", (1, 6), (5, 2), (28, 28), 2, nn.relu),
    ("across", (5, 3), (3, 1), (11, 14), 2, nn.relu),
    ("across", (3, 5), (3, 1), (33, 35), (2, 4), "residual"),
    ("across", (2, 3), (3, 0), (9, 40), 4, None),
    ("direct", (6, 16), (5, 0), (13, 15), 2, nn.relu),
    ("direct", (8, 20), (3, 1), (30, 31), 3, nn.sigmoid),
    ("direct", (3, 32), (3, 1), (29, 150), (1, 2), nn.relu),
    ("direct", (40, 24), (5, 2), (9, 3), (3, 1), "residual"),
    ("winograd", (32, 32), (3, 1), (13, 15), 2, nn.relu),
    ("winograd", (32, 40), (3, 1), (17, 9), (4, 2), nn.gelu),
    ("winograd", (32, 24), (3, 1), (16, 18), 4, "residual"),
    ("winograd", (24, 32), (3, 0), (300, 47), 2, None),
]


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("kind", "channels", "kernel", "places", "window", "tail"), CASES)
def test_a_pool_is_computed_where_the_sums_are(
    kind: str, channels: tuple[int, int], kernel: tuple[int, int], places: tuple[int, int], window: Any, tail: Any, behind: bool
) -> None:  # fmt: skip
    x = np.random.default_rng(1).standard_normal((3, channels[0], *places)).astype(np.float32)
    for batch in ("3", "B"):
        spec = f"f32[{batch},{channels[0]},{places[0]},{places[1]}]"
        nv.seed(3)
        model = Pooled(channels, kernel, window, tail, behind)
        run = nv.compile(model, spec, cache=False)
        assert isinstance(run, LLVMExecutable)
        assert not any(k.name.endswith("max_pool") for k in run.kernels), "a kernel of its own"
        (fused,) = [k for k in run.kernels if k.does.endswith("+max_pool")]
        assert fused.name.endswith("winograd" if kind == "winograd" else "conv")
        assert fused.saved != 0
        found, wanted = run(x), nv.compile(model, spec, backend="reference")(x)
        assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()
        assert np.array_equal(nv.compile(model, spec, threads=2)(x), found)
        edges = [row for row in explain(nv.trace(model, spec)).rows if row.ops[1] == "max_pool"]
        assert all(row.fused.endswith("+max_pool") and row.saved for row in edges)


@pytest.mark.parametrize(("channels", "kernel"), [((1, 6), (5, 2)), ((6, 16), (5, 0))])
def test_nan_is_the_largest_and_infinity_pools(channels: tuple[int, int], kernel: tuple[int, int]) -> None:
    x = np.random.default_rng(1).standard_normal((3, channels[0], 14, 18)).astype(np.float32)
    x[0, 0, 3, 4], x[1, 0, 13, 17], x[2, 0, 8, 1] = np.nan, np.inf, -np.inf
    nv.seed(3)
    model = Pooled(channels, kernel, 2, nn.relu, False)
    found, wanted = (
        nv.compile(model, f"f32[B,{channels[0]},14,18]", backend=b)(x) for b in ("llvm", "reference")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert np.isnan(wanted).any() and np.isinf(wanted).any()


class Shown(nn.Module):
    """A pool whose operand is read again."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 16, 3, padding=1)

    def __call__(self, x: Any) -> Any:
        y = nn.relu(self.first(x))
        return nn.max_pool2d(y, 2), y.sum(axis=(2, 3))


SEPARATE: dict[str, tuple[Any, str]] = {
    "open sizes": (Pooled((3, 16), (3, 1), 2, nn.relu, True), "f32[B,3,H:8..32,W:8..32]"),
    "the map is read again": (Shown(), "f32[B,3,12,12]"),
    "windows overlap": (nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(3, 2)), "f32[B,3,12,12]"),
    "windows reach out": (
        nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2, 2, 1)),
        "f32[B,3,12,12]",
    ),
    "a window of one place": (nn.Sequential(nn.Conv2d(3, 16, 1), nn.MaxPool2d(2)), "f32[B,3,12,12]"),
    "more places than a tile": (nn.Sequential(nn.Conv2d(32, 32, 3), nn.MaxPool2d(3)), "f32[B,32,12,12]"),
}


@pytest.mark.parametrize("name", SEPARATE)
def test_another_pool_is_a_kernel_of_its_own_and_said_to_be(name: str) -> None:
    model, spec = SEPARATE[name]
    run = nv.compile(model, spec, cache=False)
    assert isinstance(run, LLVMExecutable)
    assert sum(k.name.endswith("max_pool") for k in run.kernels) == 1
    rows = explain(nv.trace(model, spec)).rows
    assert all(row.reason for row in rows if row.ops[1] == "max_pool")
    assert not any(row.fused.endswith("+max_pool") for row in rows)
    x = np.random.default_rng(1).standard_normal((2, int(spec[6:].split(",")[0]), 12, 12)).astype(np.float32)
    found, wanted = (nv.compile(model, spec, backend=b)(x) for b in ("llvm", "reference"))
    for y, z in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, wanted)), strict=True):
        assert np.abs(y - z).max() <= BOUND * np.abs(z).max()


def test_a_training_step_keeps_the_map_and_learns_the_same() -> None:
    x = np.random.default_rng(1).standard_normal((4, 3, 12, 14)).astype(np.float32)
    found: list[dict[str, Any]] = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        model = Pooled((3, 16), (3, 1), 2, nn.relu, True)
        step = nv.training_step(model, lambda y: (y * y).mean(), nv.optim.SGD(lr=0.5), "f32[4,3,12,14]")
        run = nv.compile(step, backend=backend)
        run(x)
        found.append(run.state_dict())
    for key, wanted in found[1].items():
        assert np.abs(found[0][key] - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1e-3), key
