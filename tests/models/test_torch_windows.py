"""Convolutions and pools of random arguments against PyTorch: the same results, or an error from both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from torch_grid import agree, pair  # noqa: E402  torch may be missing

import nervure as nv  # noqa: E402
from nervure import nn  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An object cache of the file's own, and PyTorch without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield
    torch.set_num_threads(threads)


def each(rng: Any, low: int, high: int, spatial: int) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high + 1, spatial))


def conv(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    options = {
        "stride": each(rng, 1, 3, spatial), "padding": each(rng, 0, 2, spatial), "dilation": each(rng, 1, 2, spatial),
        "groups": groups, "bias": bool(rng.integers(2)),
    }  # fmt: skip
    return f"Conv{spatial}d", (channels, out, each(rng, 1, 3, spatial)), options


def transposed(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    _, args, options = conv(rng, spatial)
    below = [max(s, d) for s, d in zip(options["stride"], options["dilation"], strict=True)]
    options["output_padding"] = tuple(int(rng.integers(0, b)) for b in below)
    return f"ConvTranspose{spatial}d", args, options


def max_pool(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    kernel = each(rng, 1, 4, spatial)
    options = {
        "stride": each(rng, 1, 3, spatial), "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        "dilation": each(rng, 1, 2, spatial), "ceil_mode": bool(rng.integers(2)), "return_indices": True,
    }  # fmt: skip
    return f"MaxPool{spatial}d", (kernel,), options


def avg_pool(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    _, (kernel,), options = max_pool(rng, spatial)
    kept = {k: options[k] for k in ("stride", "padding", "ceil_mode")}
    return f"AvgPool{spatial}d", (kernel,), {**kept, "count_include_pad": bool(rng.integers(2))}


def lp_pool(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    kernel, stride = each(rng, 1, 3, spatial), each(rng, 1, 3, spatial)
    if spatial == 1:
        (kernel,), (stride,) = kernel, stride
    return f"LPPool{spatial}d", (2, kernel), {"stride": stride, "ceil_mode": bool(rng.integers(2))}


def adaptive(rng: Any, spatial: int) -> tuple[str, Any, dict[str, Any]]:
    sizes = each(rng, 1, 6, spatial)
    if rng.integers(2):
        return f"AdaptiveMaxPool{spatial}d", (sizes,), {"return_indices": True}
    return f"AdaptiveAvgPool{spatial}d", (sizes,), {}


FAMILIES = [conv, transposed, max_pool, avg_pool, lp_pool, adaptive]


def check(family: Any, spatial: int, seed: int, backend: str) -> bool:
    """Draw arguments and compare; whether there was a result to compare."""
    rng = np.random.default_rng([seed, spatial, FAMILIES.index(family)])
    name, args, options = family(rng, spatial)
    channels = args[0] if "Conv" in name else 2
    x = rng.normal(size=(int(rng.integers(1, 3)), channels, *each(rng, 2, 7, spatial)))
    ours, theirs = pair(name, args, options, "f64")
    try:
        theirs(torch.from_numpy(x))
    except RuntimeError as error:
        if "smaller than kernel size" in str(error):
            return False  # PyTorch's 3-D pools want the kernel within the image, whatever the padding
        with pytest.raises(nv.NervureError):
            nv.trace(ours, x)
        return False
    agree(ours, theirs, [x], backend, "f64")
    return True


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_random_windows_are_pytorchs(family: Any, spatial: int) -> None:
    compared = sum(check(family, spatial, seed, "reference") for seed in range(30))
    assert compared >= 10
    for seed in range(3):
        check(family, spatial, seed, "llvm")


@pytest.mark.long
@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_many_random_windows_are_pytorchs(family: Any, spatial: int) -> None:
    for seed in range(100, 400):
        check(family, spatial, seed, "llvm" if seed % 3 == 0 else "reference")


def test_a_window_that_does_not_fit_is_an_error_in_both() -> None:
    x = np.zeros((1, 1, 3))
    with pytest.raises(RuntimeError):
        torch.nn.functional.conv1d(torch.from_numpy(x), torch.zeros(1, 1, 4, dtype=torch.float64))
    with pytest.raises(nv.NervureError, match=r"3 \+ 0 \+ 0 < \(4 - 1\) \* 1 \+ 1 = 4"):
        nv.trace(lambda x: nn.conv1d(x, np.zeros((1, 1, 4))), x)
