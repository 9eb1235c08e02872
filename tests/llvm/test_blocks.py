"""Convolutional networks in blocks of channels agree with the reference: every window, rim, and number of channels."""

# long file: every kind of convolution over blocks
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.target import host_target

WIDE = host_target().vector_bytes == 64

BOUND = 1e-5
"""Of the result's largest element: sums of up to 4,000 products in f32."""

Layers = Callable[[], Any]


class Residual(nn.Module):
    """A block with a branch around it, and one that changes stride and channels."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.around = nn.Conv2d(before, after, 1, stride=stride)

    def __call__(self, x: Any) -> Any:
        return nn.relu(self.second(nn.relu(self.first(x))) + self.around(x))


class Joined(nn.Module):
    """Two branches side by side, read again by a convolution, and one of them by a mean over places too."""

    def __init__(self, left: int, right: int) -> None:
        self.left, self.right = nn.Conv2d(5, left, 3, padding=1), nn.Conv2d(5, right, 1)
        self.last = nn.Conv2d(left + right, 9, 3)

    def __call__(self, x: Any) -> Any:
        a, b = nn.relu(self.left(x)), nn.tanh(self.right(x))
        y = self.last(np.concatenate([a, b], axis=1))
        return y + a.mean(axis=(2, 3), keepdims=True)[:, :1]


CASES: dict[str, tuple[Layers, str, tuple[int, ...]]] = {
    "one channel": (lambda: nn.Conv2d(1, 6, 5, padding=2), "f32[B,1,28,28]", (3, 1, 28, 28)),
    "three channels, stride 2, 7 x 7": (
        lambda: nn.Sequential(nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        "f32[B,3,33,47]", (2, 3, 33, 47),
    ),
    "prime channels": (
        lambda: nn.Sequential(nn.Conv2d(7, 13, 3, padding=1), nn.ReLU(), nn.Conv2d(13, 17, 3, padding=2), nn.Sigmoid(), nn.Conv2d(17, 31, 1)),
        "f32[B,7,11,13]", (2, 7, 11, 13),
    ),
    "blocks": (
        lambda: nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Conv2d(48, 16, 1)),
        "f32[2,16,15,15]", (2, 16, 15, 15),
    ),
    "symbolic places": (
        lambda: nn.Sequential(nn.Conv2d(4, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 20, 3, stride=2, padding=1)),
        "f32[B,4,H:8..200,W:8..200]", (1, 4, 19, 133),
    ),
    "windows of 1 x N and N x 1": (
        lambda: nn.Sequential(nn.Conv2d(6, 20, (1, 7), padding=(0, 3)), nn.Conv2d(20, 16, (5, 1), padding=(2, 0))),
        "f32[B,6,9,10]", (2, 6, 9, 10),
    ),
    "dilation and stride 3": (
        lambda: nn.Sequential(nn.Conv2d(8, 16, 3, stride=3, padding=1), nn.ReLU(), nn.Conv2d(16, 18, 3, dilation=2, padding=2)),
        "f32[B,8,29,29]", (1, 8, 29, 29),
    ),
    "one place a row": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1)), "f32[B,4,3,3]", (2, 4, 3, 3)),
    "one axis": (
        lambda: nn.Sequential(nn.Conv1d(5, 19, 4, padding=1), nn.ReLU(), nn.Conv1d(19, 16, 3, stride=2)),
        "f32[B,5,40]", (3, 5, 40),
    ),
    "three axes": (
        lambda: nn.Sequential(nn.Conv3d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 9, (1, 2, 3))),
        "f32[B,2,5,6,7]", (2, 2, 5, 6, 7),
    ),
    "residual": (lambda: nn.Sequential(Residual(16, 16, 1), Residual(16, 40, 2)), "f32[B,16,14,14]", (2, 16, 14, 14)),
    "joined": (lambda: Joined(16, 32), "f32[B,5,8,9]", (2, 5, 8, 9)),
    "joined out of step": (lambda: Joined(12, 21), "f32[B,5,8,9]", (2, 5, 8, 9)),
    "pools": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 20, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(20, 16, 3, padding=1), nn.AvgPool2d(3, 2, padding=1), nn.Tanh(),
            nn.Conv2d(16, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
        ),
        "f32[B,3,20,22]", (2, 3, 20, 22),
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.ReLU6(), nn.Conv2d(24, 24, 5, stride=2, padding=2, groups=24), nn.Conv2d(24, 10, 1),
        ),
        "f32[B,24,17,19]", (2, 24, 17, 19),
    ),
    "short rows to few channels": (
        lambda: nn.Sequential(nn.Conv2d(16, 6, 5, padding=4), nn.Tanh(), nn.Conv2d(6, 5, 3, padding=1)), "f32[B,16,10,10]", (3, 16, 10, 10),
    ),
    "depthwise of plain memory": (lambda: nn.Conv2d(5, 5, 3, padding=(2, 1), groups=5), "f32[B,5,19,37]", (2, 5, 19, 37)),
    "inverted residual": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
            nn.BatchNorm2d(32), nn.ReLU6(), nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Conv2d(16, 96, 1), nn.ReLU6(),
            nn.Conv2d(96, 96, 3, stride=2, padding=1, groups=96), nn.ReLU6(), nn.Conv2d(96, 24, 1),
        ),
        "f32[B,3,30,30]", (1, 3, 30, 30),
    ),
    "groups": (
        lambda: nn.Sequential(nn.Conv2d(32, 64, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(64, 12, 3, groups=4)),
        "f32[B,32,9,9]", (2, 32, 9, 9),
    ),
    "3 x 3 of many channels": (
        lambda: nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 96, 3), nn.ReLU(), nn.MaxPool2d(2)),
        "f32[B,64,17,22]", (2, 64, 17, 22),
    ),
    "a result that is read as rows": (
        lambda: nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(360, 4)), "f32[B,3,8,8]", (3, 3, 8, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_network_in_blocks_agrees_with_the_reference(name: str) -> None:
    build, spec, shape = CASES[name]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    results = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        model = build()
        model.eval()
        run = nv.compile(model, spec, backend=backend)
        results.append(run(x))
        assert np.array_equal(run(x), results[-1]), "the second call differs"
    found, wanted = results
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize(
    "name", ["blocks", "pools", "residual", "depthwise", "one channel", "3 x 3 of many channels"]
)
def test_its_derivatives_agree_with_the_reference(name: str) -> None:
    build, spec, shape = CASES[name]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found: list[dict[str, Any]] = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        model = build()
        step = nv.training_step(model, lambda y: (y * y).mean(), nv.optim.SGD(lr=0.5), spec)
        run = nv.compile(step, backend=backend)
        for _ in range(2):
            run(x)
        found.append(run.state_dict())
    for key, wanted in found[1].items():
        scale = max(np.abs(wanted).max(), 1e-3)
        assert np.abs(found[0][key] - wanted).max() <= 10 * BOUND * scale, key


@pytest.mark.parametrize("stride", [1, 2, (3, 1), (1, 2)])
@pytest.mark.parametrize("window, padding, dilation", [
    (3, 1, 1), (3, 0, 1), (3, 2, 1), (3, 3, (2, 1)), (5, 2, 1), ((1, 5), (0, 2), 1), ((5, 1), (4, 0), 1), (7, 3, 1), (3, (0, 2), (1, 2)),
])  # fmt: skip
@pytest.mark.parametrize("wide", [43, 120])
def test_depthwise_along_rows_agrees_with_the_reference(
    window: Any, padding: Any, dilation: Any, stride: Any, wide: int
) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 18, wide)).astype(np.float32)
    results = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        model = nn.Sequential(
            nn.Conv2d(3, 3, window, stride, padding=padding, dilation=dilation, groups=3), nn.ReLU()
        )
        run = nv.compile(model, f"f32[B,3,18,{wide}]", backend=backend)
        results.append(run(x))
        if backend == "llvm":
            assert ["depthwise" in k.name for k in run.kernels] == [True], "no turns into blocks"  # type: ignore[attr-defined]
            assert ("fetch " in str(run.kernels[0])) is (wide > 43)
    found, wanted = results
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize("spec, shape", [
    ("f32[B,19,29,29]", (2, 19, 29, 29)), ("f32[1,19,H,W]", (1, 19, 5, 21)), ("f32[B,19,29]", (3, 19, 29)),
])  # fmt: skip
def test_a_window_of_one_place_is_a_product_of_what_lies_there(spec: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    results: list[Any] = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        run = nv.compile(
            nn.Sequential(nn.Conv2d(19, 37, 1) if len(shape) > 3 else nn.Conv1d(19, 37, 1), nn.ReLU()),
            spec,
            backend=backend,
        )
        results.append(run(x))
        if backend == "llvm" and "H" not in spec:
            assert [k.name for k in run.kernels] == ["k0_conv"], "no turns into blocks"  # type: ignore[attr-defined]
    found, wanted = results
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.skipif(not WIDE, reason="the machine has no vectors of 16 lanes")
@pytest.mark.parametrize(
    "spec, place",
    [("f32[2,16,13,17]", (13, 17)), ("f32[B,16,H:3..64,W:3..64]", (9, 7)), ("f32[2,16,7,7]", (7, 7))],
)
@pytest.mark.parametrize("between, out, window, stride, tail", [
    (32, 24, 1, 1, None), (24, 24, 3, 2, nn.ReLU()), (16, 17, (3, 1), 1, nn.ReLU6()), (48, 40, 3, 2, nn.Sigmoid()), (18, 20, 1, 1, nn.GELU()),
])  # fmt: skip
def test_channels_that_fill_half_a_vector_go_through_k_in_pairs(
    spec: str, place: tuple[int, int], between: int, out: int, window: Any, stride: int, tail: Any
) -> None:
    x = np.random.default_rng(1).standard_normal((2, 16, *place)).astype(np.float32)
    results: list[Any] = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        first, last = nn.Conv2d(16, between, 1), nn.Conv2d(out, 16, 1)
        layers = [first, nn.Conv2d(between, out, window, stride), *([tail] if tail else []), last]
        run = nv.compile(nn.Sequential(*layers), spec, backend=backend, cache=False)
        results.append(run(x))
        if backend == "llvm" and out < 32:
            pairs = [str(kernel) for kernel in run.kernels if " pairs" in str(kernel)]  # type: ignore[attr-defined]
            assert len(pairs) == (2 if 0 < between % 16 <= 8 else 1)
            assert ("each acc" in pairs[-1]) is not isinstance(tail, (nn.Sigmoid, nn.GELU))
    found, wanted = results
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize("stride", [2, (1, 3)])
@pytest.mark.parametrize("channels, out, groups", [(19, 37, 1), (67, 1, 1), (6, 6, 6), (32, 64, 2)])
def test_an_input_read_sparsely_is_thinned_before_it_is_turned(
    channels: int, out: int, groups: int, stride: Any
) -> None:
    x = np.random.default_rng(1).standard_normal((2, channels, 29, 31)).astype(np.float32)
    results: list[Any] = []
    for backend in ("llvm", "reference"):
        nv.seed(3)
        model = nn.Conv2d(channels, out, 1, stride=stride, groups=groups)
        run = nv.compile(model, f"f32[B,{channels},29,31]", backend=backend)
        results.append(run(x))
        if backend == "llvm" and groups == 1:
            kinds = [k.name.rsplit("_", 1)[1] for k in run.kernels]  # type: ignore[attr-defined]
            assert kinds == ["map", "conv"], "the map is what is read, the product writes what is asked"
    found, wanted = results
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize("channels", [3, 5, 8])
@pytest.mark.parametrize("pooled", [False, True])
def test_few_channels_that_two_layouts_are_asked_of(channels: int, pooled: bool) -> None:
    """A convolution along the rows, whose result a sum needs in blocks: it is copied into them."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            self.first = nn.Conv2d(40, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)
            self.third = nn.Conv2d(channels, 16, 3, padding=1)

        def __call__(self, x: Any) -> Any:
            y = nn.relu(self.first(x))
            y = nn.relu(y + self.second(y))
            return self.third(nn.max_pool2d(y, 2) if pooled else y)

    nv.seed(0)
    model = Residual()
    x = np.random.default_rng(0).standard_normal((2, 40, 8, 16)).astype(np.float32)
    wanted = nv.compile(model, "f32[2,40,8,16]", backend="reference")(x)
    found = nv.compile(model, "f32[2,40,8,16]")(x)
    assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize("channels, out", [(20, 40), (33, 32)])
@pytest.mark.parametrize("target", ["haswell", "x86-64-v2", None])
def test_lanes_beyond_the_channels_are_zero_in_narrow_registers(
    channels: int, out: int, target: str | None
) -> None:
    nv.seed(1)
    model, spec = nn.Conv2d(channels, out, 3, padding=1), f"f32[1,{channels},16,16]"
    x = np.random.default_rng(1).standard_normal((1, channels, 16, 16)).astype(np.float32)
    wanted = nv.compile(model, spec, backend="reference")(x)
    run = nv.compile(model, spec, target=target)
    run(np.full_like(x, np.nan))
    assert np.abs(run(x) - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_rubbish_in_memory_does_not_reach_a_result() -> None:
    """Lanes beyond the channels and rims are zero even where the arena held NaN."""
    nv.seed(0)
    big = nv.compile(
        nn.Sequential(nn.Conv2d(3, 13, 3, padding=1), nn.Conv2d(13, 5, 3, padding=1)), "f32[B,3,9,9]"
    )
    small = np.ones((1, 3, 9, 9), np.float32)
    before = big(small)
    big(np.full((4, 3, 9, 9), np.nan, np.float32))
    assert np.array_equal(big(small), before)


@pytest.mark.parametrize("channels, size", [(16, 32), (64, 56), (256, 14), (256, 8), (64, 7)])
def test_winograd_is_within_its_bound_and_can_be_turned_off(channels: int, size: int) -> None:
    nv.seed(0)
    model = nn.Conv2d(channels, channels, 3, padding=1)
    spec = f"[1,{channels},{size},{size}]"
    x = np.random.default_rng(0).standard_normal((1, channels, size, size)).astype(np.float32)
    weight, bias = np.asarray(model.weight.data, np.float64), np.asarray(model.bias.data, np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    exact = np.einsum("ncyxhw,ochw->noyx", windows, weight, optimize=True) + bias[:, None, None]
    fast = nv.compile(model, "f32" + spec)
    plain = nv.compile(model, "f32" + spec, winograd="off")
    assert any("winograd" in kernel.name for kernel in fast.kernels)
    assert not any("winograd" in kernel.name for kernel in plain.kernels)
    scale = np.abs(exact).max()
    assert np.abs(plain(x) - exact).max() <= 3e-6 * scale
    assert np.abs(fast(x) - exact).max() <= 2e-5 * scale
    with pytest.raises(nv.NervureError, match="winograd is 'no'"):
        nv.compile(model, "f32" + spec, winograd="no")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("high", "wide"), [(4, 4), (5, 16), (7, 9), (12, 6), (33, 18)])
def test_winograd_of_open_sizes(batch: int, high: int, wide: int) -> None:
    """The last tile of an axis keeps one to four results; a result of fewer than four places is a part of one tile."""
    model = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3))
    program = nv.trace(model, "f32[B,16,H:3..64,W:3..64]")
    run = nv.compile(program)
    assert any("winograd" in kernel.name for kernel in run.kernels)
    x = np.random.default_rng(high).normal(size=(batch, 16, high, wide)).astype(np.float32)
    want = nv.compile(program, backend="reference")(x)
    np.testing.assert_allclose(run(x), want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_stages_of_few_tiles_are_shared_among_threads() -> None:
    nv.seed(0)
    model = nn.Sequential(nn.Conv2d(128, 160, 3, padding=1), nn.ReLU(), nn.Conv2d(160, 128, 3))
    x = np.random.default_rng(0).standard_normal((1, 128, 9, 10)).astype(np.float32)
    one, *more = (nv.compile(model, "f32[1,128,9,10]", threads=n) for n in (1, 2, 4))
    assert [str(kernel).count("parallel") > 2 for kernel in one.kernels if "winograd" in kernel.name] == [
        True,
        True,
    ]
    assert all(np.array_equal(run(x), one(x)) for run in more)


def test_results_in_blocks_are_the_same_bits_for_any_number_of_threads() -> None:
    nv.seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.MaxPool2d(2)
    )
    x = np.random.default_rng(0).standard_normal((3, 3, 30, 34)).astype(np.float32)
    results = [nv.compile(model, "f32[B,3,30,34]", threads=n)(x) for n in (1, 2, 4)]
    assert all(np.array_equal(r, results[0]) for r in results)


@pytest.mark.parametrize("batch", [1, 9, 16, 33])
@pytest.mark.parametrize("known", [True, False])
def test_a_derivative_by_few_weights_is_summed_in_parts(batch: int, known: bool) -> None:
    """Parts of the batch, which the last ones may have none of; the same bits for any number of threads."""
    size = batch if known else "B"
    x = np.random.default_rng(batch).standard_normal((batch, 1, 20, 20)).astype(np.float32)

    def weights(**options: Any) -> dict[str, Any]:
        nv.seed(3)
        layers = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU())
        step = nv.training_step(
            layers, lambda y: (y * y).mean(), nv.optim.SGD(lr=0.5), f"f32[{size},1,20,20]"
        )
        run = nv.compile(step, **options)
        run(x)
        return run.state_dict()

    want, once = weights(backend="reference"), weights(threads=1)
    for key, value in want.items():
        assert np.abs(once[key] - value).max() <= 10 * BOUND * max(np.abs(value).max(), 1e-3), key
    for threads in (2, 8):
        more = weights(threads=threads)
        assert all(np.array_equal(more[key], once[key]) for key in once)


def test_what_follows_a_convolution_in_its_kernel_may_be_no_float():
    program = nv.parse("""nervure 1
program p {
  param @w : f32[2,4,1]
  graph main(%x: f32[2,4,4]) -> bool[2,2,7] {
    %0 = conv{padding=[[1,2]]} %x, @w : f32[2,2,7]
    %1 = tanh %0 : f32[2,2,7]
    %2 = eq %0, %1 : bool[2,2,7]
    return %2
  }
}
""", init="random")  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float32)
    expected = nv.compile(program, backend="reference")(x)
    np.testing.assert_array_equal(nv.compile(program)(x), expected)


@pytest.mark.parametrize("name", ["residual", "inverted residual", "pools", "3 x 3 of many channels"])
def test_other_registers_give_the_same_up_to_rounding(name: str) -> None:
    build, spec, shape = CASES[name]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    results = []
    for target in (None, "haswell"):
        nv.seed(3)
        model = build()
        model.eval()
        results.append(nv.compile(model, spec, target=target)(x))
    assert np.abs(results[0] - results[1]).max() <= BOUND * np.abs(results[0]).max()
