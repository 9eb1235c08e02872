"""The derivative by 3 x 3 weights through Winograd's transforms: its error against float64, tails, open sizes, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.types import Array

BOUND = 2e-5
"""Of the largest derivative."""

OPTIMIZERS: dict[str, Any] = {
    "momentum": lambda: nv.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda: nv.optim.Adam(lr=0.01),
    "plain": lambda: nv.optim.SGD(lr=0.1),
}


def exact(x: Array, g: Array, low: int, high: int) -> Array:
    """sum over n, p of x[n, c, p + w] g[n, o, p], in float64: [O, C, 3, 3]."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (low, high), (low, high)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, g.shape[2:], axis=(2, 3))
    return np.einsum("ncijhw,nohw->ocij", windows, g.astype(np.float64), optimize=True)


def derivative(
    x: Array, g: Array, padding: int, spec: str | None = None, **options: Any
) -> tuple[Array, list[str]]:
    """By a compiled step of rate 1 from weights of zero; and the kernels' names."""
    model = nn.Conv2d(x.shape[1], g.shape[1], 3, padding=padding, bias=False)
    model.weight.assign(np.zeros_like(model.weight.data))
    specs = [f"f32[{','.join(map(str, a.shape))}]" for a in (x, g)] if spec is None else spec.split(" ")
    step = nv.training_step(model, lambda y, t: (y * t).sum(), nv.optim.SGD(lr=1.0), *specs)
    run = nv.compile(step, **options)
    run(x, g)
    return -np.asarray(model.weight.data), [kernel.name for kernel in run.kernels]


def values(n: int, c: int, o: int, high: int, wide: int, padding: int) -> tuple[Array, Array]:
    """Places as behind a relu, and slopes as a mean loss gives them: small, of either sign."""
    rng = np.random.default_rng(c + high)
    x = np.maximum(rng.standard_normal((n, c, high, wide)), 0).astype(np.float32)
    more = 2 * padding - 2
    g = (1e-4 * rng.standard_normal((n, o, high + more, wide + more))).astype(np.float32)
    return x, g


@pytest.mark.parametrize(
    ("shape", "padding"),
    [
        ((2, 16, 16, 8, 8), 1),
        ((3, 17, 40, 9, 7), 1),
        ((8, 64, 64, 16, 16), 1),
        ((2, 96, 112, 6, 5), 2),
        ((1, 80, 48, 12, 13), 0),
        ((4, 48, 176, 10, 10), 1),
    ],
)
def test_a_derivative_is_within_its_bound_for_any_number_of_threads(
    shape: tuple[int, ...], padding: int
) -> None:
    """Channels that fill no block, tails of tiles, rims; groups of channels of several sizes."""
    n, c, o, high, wide = shape
    x, g = values(n, c, o, high, wide, padding)
    want = exact(x, g, padding, padding)
    found, kernels = derivative(x, g, padding, threads=1)
    assert any("winograd_weights" in name for name in kernels)
    assert np.abs(found - want).max() <= BOUND * np.abs(want).max()
    for threads in (2, 3):
        assert np.array_equal(derivative(x, g, padding, threads=threads)[0], found)
    plain, kernels = derivative(x, g, padding, winograd="off")
    assert not any("winograd" in name for name in kernels)
    assert np.abs(plain - want).max() <= 3e-6 * np.abs(want).max()


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("high", "wide"), [(3, 4), (8, 8), (7, 21)])
def test_open_sizes(batch: int, high: int, wide: int) -> None:
    """Parts of the tiles may have none; the last tile of an axis has one to four slopes."""
    x, g = values(batch, 24, 40, high, wide, 1)
    spec = "f32[B,24,H:1..64,W:1..64] f32[B,40,H,W]"
    found, kernels = derivative(x, g, 1, spec)
    assert any("winograd_weights" in name for name in kernels)
    want = exact(x, g, 1, 1)
    assert np.abs(found - want).max() <= BOUND * np.abs(want).max()


def test_what_it_reads_may_have_a_wider_rim_and_memory_may_hold_rubbish() -> None:
    """Two layers, whose maps lie in blocks with the rim of the widest reader; NaN of a call before does not stay."""
    nv.seed(0)
    model = nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 20, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(20, 18, 3),
    )

    def step(**options: Any) -> Any:
        program = nv.training_step(
            model, lambda y: (y * y).mean(), nv.optim.SGD(lr=0.0, momentum=0.5), "f32[B,16,10,11]"
        )
        return nv.compile(program, **options)

    x = np.random.default_rng(0).standard_normal((3, 16, 10, 11)).astype(np.float32)
    run = step()
    assert sum("winograd_weights" in kernel.name for kernel in run.kernels) == 2
    start = run.state_dict()
    run(np.full((4, 16, 10, 11), np.nan, np.float32))
    run.load_state_dict(start)
    run(x)
    found = run.state_dict()
    run.load_state_dict(start)
    other = step(backend="reference")
    other(x)
    for name, value in other.state_dict().items():
        assert np.abs(found[name] - value).max() <= BOUND * max(np.abs(value).max(), 1e-3), name


@pytest.mark.parametrize("spec", ["f32[2,16,2,2] f32[2,32,2,2]", "f32[1,64,4,4] f32[1,64,4,4]"])
def test_few_tiles_are_left_to_direct_products(spec: str) -> None:
    shapes = [tuple(map(int, s[4:-1].split(","))) for s in spec.split(" ")]
    x, g = (np.ones(shape, np.float32) for shape in shapes)
    assert not any("winograd_weights" in name for name in derivative(x, g, 1, spec)[1])


def test_slopes_are_laid_into_blocks_once() -> None:
    """For the derivative by the places, with a rim, and for that by the weights, which would do without."""
    nv.seed(0)
    model = nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1), nn.MaxPool2d(2)
    )
    step = nv.training_step(model, lambda y: (y * y).mean(), nv.optim.SGD(lr=0.1), "f32[4,16,8,8]")
    names = [kernel.name for kernel in nv.compile(step).kernels]
    assert sum(name.endswith("_block") for name in names) == 2, "the input, and the slope behind the pool"


@pytest.mark.parametrize("batch", ["2", "16", "B"])
@pytest.mark.parametrize("name", ["momentum", "adam", "plain"])
def test_updates_run_on_the_weights_that_come_out(batch: str, name: str) -> None:
    """Channels in equal and in other numbers than before, in groups of several sizes; parts of the tiles and all of them."""
    x = np.random.default_rng(3).standard_normal((16 if batch == "B" else int(batch), 32, 12, 12), np.float32)

    def trained(**options: Any) -> dict[str, Any]:
        nv.seed(2)
        optimizer = OPTIMIZERS[name]()
        model = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 80, 3, padding=1, bias=False)
        )
        run = nv.compile(
            nv.training_step(model, lambda y: (y * y).mean(), optimizer, f"f32[{batch},32,12,12]"), **options
        )
        for _ in range(3):
            run(x)
        if not options:
            fused = [
                k
                for k in run.kernels
                if k.name.endswith(("winograd_weights", "_add")) and "permute" in k.does
            ]
            assert len(fused) == 2, "the exchange of channels and what follows have no kernel of their own"
        return run.state_dict()

    found, wanted = trained(), trained(backend="reference")
    for entry, value in wanted.items():
        # a step of Adam's is as large where a slope is nearly nothing, of whichever sign
        near = np.abs(found[entry] - value) <= 2e-4 * max(np.abs(value).max(), 1e-3)
        assert np.mean(near) >= (0.99 if name == "adam" else 1.0), entry


def test_a_derivative_that_is_read_as_it_is_and_exchanged_too() -> None:
    """By hand: the exchange behind it has to find it in memory."""
    program = nv.parse("""nervure 1
program p {
  graph main(%x: f32[4,16,8,8], %g: f32[4,16,8,8]) -> (f32[16,16,3,3], f32[16,16,3,3]) {
    %a = permute{axes=[1,0,2,3]} %x : f32[16,4,8,8]
    %b = permute{axes=[1,0,2,3]} %g : f32[16,4,8,8]
    %0 = conv{padding=[[1,1],[1,1]]} %a, %b : f32[16,16,3,3]
    %1 = permute{axes=[1,0,2,3]} %0 : f32[16,16,3,3]
    %2 = add %0, %1 : f32[16,16,3,3]
    %3 = mul %1, %1 : f32[16,16,3,3]
    return %2, %3
  }
}
""")
    x, g = values(4, 16, 16, 8, 8, 1)
    run = nv.compile(program)
    assert any("winograd_weights" in kernel.name for kernel in run.kernels)
    for found, want in zip(run(x, g), nv.compile(program, backend="reference")(x, g), strict=True):
        assert np.abs(found - want).max() <= 2 * BOUND * np.abs(want).max()
