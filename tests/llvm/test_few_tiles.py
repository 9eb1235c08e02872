"""Convolutions of open sizes: each call runs Winograd's kernel or the direct one, as its sizes say; few rows are one tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm.program import Branch, KernelProgram, Launch, Step
from nervure.backends.llvm.target import host_target
from nervure.inspect.step_cost import step_cost

pytestmark = pytest.mark.skipif(not host_target().winograd, reason="this machine's target has no Winograd")


def branches(program: KernelProgram) -> list[Branch]:
    return [s for s in program.run if isinstance(s, Branch)]


def kinds(steps: tuple[Step, ...]) -> set[str]:
    names = {s.kernel.name.split("_", 1)[1] for s in steps if isinstance(s, Launch)}
    return names & {"conv", "winograd"}


class Around(nn.Module):
    """Two convolutions with what they read around them."""

    def __init__(self, channels: int) -> None:
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def __call__(self, x: Any) -> Any:
        return nn.relu(self.second(nn.silu(self.first(x))) + x)


@pytest.mark.parametrize(
    ("channels", "shape", "kind"),
    [
        (64, (1, 2, 2), "conv"),
        (64, (1, 3, 40), "winograd"),
        (64, (1, 4, 4), "conv"),
        (64, (1, 4, 8), "winograd"),
        (64, (1, 8, 8), "winograd"),
        (64, (9, 4, 4), "winograd"),
        (72, (1, 5, 5), "conv"),
        (72, (2, 3, 7), "winograd"),
        (72, (1, 13, 9), "winograd"),
        (24, (7, 1, 1), "conv"),
        (24, (1, 31, 33), "winograd"),
    ],
)
def test_a_call_of_few_tiles_takes_the_direct_kernel(
    channels: int, shape: tuple[int, int, int], kind: str
) -> None:
    nv.seed(0)
    batch, high, wide = shape
    program = nv.trace(Around(channels), f"f32[B,{channels},H:1..64,W:1..64]")
    run, many = (nv.compile(program, threads=n) for n in (1, 3))
    found = branches(run.assembled.program)
    assert [(kinds(b.then), kinds(b.otherwise)) for b in found] == [({"winograd"}, {"conv"})] * 2
    rows = step_cost(run.assembled.program, {"B": batch, "H": high, "W": wide})
    names = [row.kernel for row in rows if row.kernel.startswith("if of")]
    assert len(names) == 2 and all(("_" + kind) in name for name in names)
    x = np.random.default_rng(0).normal(size=(batch, channels, high, wide)).astype(np.float32)
    want = nv.compile(program, backend="reference")(x)
    np.testing.assert_allclose(run(x), want, rtol=0, atol=2e-5 * np.abs(want).max())
    assert np.array_equal(run(x), many(x))


def test_the_dump_says_what_the_sizes_decide() -> None:
    run = nv.compile(nn.Conv2d(64, 64, 3, padding=1), "f32[2,64,H:1..64,W:1..64]")
    text = str(run.assembled.program)
    assert "if 73728*H*W-405504*ceildiv(H,4)*ceildiv(W,4)-265420 > 0 {" in text


@pytest.mark.parametrize("spec", ["f32[1,64,16,16]", "f32[B,64,16,16]", "f32[B,64,2,2]"])
def test_known_sizes_decide_at_once(spec: str) -> None:
    run = nv.compile(nn.Conv2d(64, 64, 3, padding=1), spec)
    assert not branches(run.assembled.program)
    assert len([k for k in run.kernels if k.name.endswith(("_conv", "_winograd"))]) == 1


def test_a_loop_over_time_keeps_one_kernel_that_threads_share() -> None:
    nv.seed(0)
    layer = nn.Conv2d(16, 16, 3, padding=1)

    def net(state: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = nn.tanh(layer(h) + x)
            return h, h

        return nv.scan(step, state, xs)

    program = nv.trace(net, "f32[2,16,H:1..64,W:1..64]", "f32[5,2,16,H:1..64,W:1..64]")
    run = nv.compile(program)
    assert " > 0 {" not in str(run.assembled.program)
    rng = np.random.default_rng(0)
    for high, wide in ((3, 5), (18, 20)):
        h = rng.normal(size=(2, 16, high, wide)).astype(np.float32)
        xs = rng.normal(size=(5, 2, 16, high, wide)).astype(np.float32)
        for found, want in zip(run(h, xs), nv.compile(program, backend="reference")(h, xs), strict=True):
            np.testing.assert_allclose(found, want, rtol=0, atol=1e-4)


def test_a_trained_convolution_of_open_sizes_reads_the_weights_of_its_step() -> None:
    losses: list[list[float]] = []
    for backend in ("llvm", "reference"):
        nv.seed(0)
        model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
        specs = ["f32[B,16,H:1..64,W:1..64]"] * 2
        step = nv.training_step(model, lambda y, want: ((y - want) ** 2).mean(), optim.SGD(lr=0.1), *specs)
        run = nv.compile(step, backend=backend)
        rng = np.random.default_rng(0)
        sizes = [(1, 16, 2, 3), (2, 16, 9, 12), (1, 16, 4, 4), (2, 16, 9, 12)]
        losses.append([float(run(*rng.normal(size=(2, *shape)).astype(np.float32))) for shape in sizes])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize(("channels", "size"), [(16, 32), (48, 32), (16, 28), (64, 56)])
def test_places_of_a_tile_do_not_lie_pages_apart(channels: int, size: int) -> None:
    """At a page's distance all 36 would meet in one set of the first cache: 16 channels on 32 x 32 took 17.4 us, not 9.8."""
    model = nn.Conv2d(channels, channels, 3, padding=1)
    run = nv.compile(model, f"f32[1,{channels},{size},{size}]")
    (kernel,) = (k for k in run.kernels if k.name.endswith("_winograd"))
    (places,) = (b for b in kernel.scratch if b.name == "v")
    assert places.steps[1] * 4 % 4096
    x = np.random.default_rng(0).normal(size=(1, channels, size, size)).astype(np.float32)
    want = nv.compile(model, f"f32[1,{channels},{size},{size}]", winograd="off")(x)
    np.testing.assert_allclose(run(x), want, rtol=0, atol=2e-5 * np.abs(want).max())
