"""Images in another size: interpolation, and space traded for channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Value
from ..ir.types import Array
from .adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .calls import called, wrong
from .elementwise import broadcast_to
from .tensor import Tensor, as_tensor

__all__ = [
    "channel_shuffle",
    "depth_to_space",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "space_to_depth",
]

MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,),
    "bicubic": (2,), "area": (1, 2, 3),
}  # fmt: skip
"""How many spatial axes each takes."""

AREA = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)

CUBIC = -0.75
"""PyTorch's parameter of the cubic convolution: R. Keys, 1981."""


class Grid(NamedTuple):
    """Along one axis: size before and after, and elements before for one after."""

    size: int
    out: int
    step: Fraction


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Images in another size.

    Shapes:  input [N, C, spatial...] -> [N, C, *size], or the spatial axes times scale_factor, rounded down
    Args:    mode: "nearest", "nearest-exact", "linear" ([N, C, L]), "bilinear" and "bicubic" ([N, C, H, W]),
             "trilinear" ([N, C, D, H, W]), "area", which is adaptive average pooling; align_corners: whether the
             centres of the corner pixels, rather than their outer corners, stay where they are. A symbolic axis can
             be enlarged by whole factors of "nearest"
    Numerics: places are computed in fractions; PyTorch's nearest computes them in f32, and where i * W / O is whole it
              may take the element before. There is no antialiasing
    Source:  PyTorch torch.nn.functional.interpolate
    """
    x = as_tensor(input)
    with called("interpolate", input=x, size=size, scale_factor=scale_factor, mode=mode):
        spatial = _check(x, mode, align_corners)
        if (size is None) == (scale_factor is None):
            raise wrong("interpolate", "expected one of size and scale_factor")
        if size is not None:
            wanted = [size] * spatial if isinstance(size, int) else list(size)
            _check_entries("size", wanted, spatial)
            grids = [_grid(x, k, out, None) for k, out in enumerate(wanted)]
        else:
            assert scale_factor is not None
            alike = isinstance(scale_factor, int | float)
            factors = [scale_factor] * spatial if alike else list(scale_factor)
            _check_entries("scale_factor", factors, spatial)
            if mode == "nearest" and all(f == int(f) for f in factors):
                return _repeated(x, [int(f) for f in factors])
            grids = [_grid(x, k, None, Fraction(f)) for k, f in enumerate(factors)]
        if mode == "area":
            return AREA[spatial - 1](x, [g.out for g in grids])
        value = x.value
        for axis, grid in enumerate(grids, start=2):
            if grid.out != grid.size or grid.step != 1:
                value = _resampled(value, axis, *_taps(mode, grid, bool(align_corners)))
        return Tensor(value)


def _check(x: Tensor, mode: str, align_corners: bool | None) -> int:
    if mode not in MODES:
        raise wrong("interpolate", f'mode is "{mode}", expected one of {", ".join(MODES)}')
    spatial = x.ndim - 2
    if spatial not in MODES[mode]:
        ranks = " or ".join(str(k + 2) for k in MODES[mode])
        raise wrong("interpolate", f'x has rank {x.ndim}, expected {ranks} for mode "{mode}"')
    if align_corners is not None and not mode.endswith(("linear", "cubic")):
        raise wrong("interpolate", f'align_corners has no meaning for mode "{mode}"')
    return spatial


def _check_entries(what: str, given: Sequence[float], spatial: int) -> None:
    if len(given) != spatial:
        raise wrong("interpolate", f"{what} has {len(given)} entries for {spatial} spatial axes")
    if min(given) <= 0:
        raise wrong("interpolate", f"{what} is {list(given)}, expected positive numbers")


def _grid(x: Tensor, axis: int, out: int | None, factor: Fraction | None) -> Grid:
    size = x.shape[axis + 2]
    if not isinstance(size, int):
        raise wrong("interpolate", f"needs a known size, spatial axis {axis} is {size}")
    if factor is not None:
        found = math.floor(size * float(factor))
        if found < 1:
            raise wrong("interpolate", f"spatial axis {axis}: {size} times {float(factor)} leaves nothing")
        return Grid(size, found, 1 / factor)
    assert out is not None
    return Grid(size, out, Fraction(size, out))


def _taps(mode: str, grid: Grid, align: bool) -> tuple[Array, Array]:
    """For each element after, the places that it is made of and their weights: [out, taps] each."""
    if mode.startswith("nearest"):
        shift = Fraction(1, 2) if mode.endswith("exact") else Fraction(0)
        places = np.array([math.floor((k + shift) * grid.step) for k in range(grid.out)])[:, None]
        return np.minimum(places, grid.size - 1), np.ones((grid.out, 1))
    if align:
        step = (grid.size - 1) / (grid.out - 1) if grid.out > 1 else 0.0
        position = np.arange(grid.out) * step
    else:
        position = (np.arange(grid.out) + 0.5) * float(grid.step) - 0.5
    if mode.endswith("linear"):
        position = np.maximum(position, 0)
        low = np.minimum(np.floor(position), grid.size - 1)
        share = position - low
        places, weights = [low, low + 1], [1 - share, share]
    else:
        low = np.floor(position)
        share = position - low
        places = [low - 1, low, low + 1, low + 2]
        weights = [_far(1 + share), _near(share), _near(1 - share), _far(2 - share)]
    inside = np.clip(np.stack(places, 1).astype(np.int64), 0, grid.size - 1)
    return inside, np.stack(weights, 1)


def _near(t: Array) -> Array:
    """The cubic kernel up to distance 1."""
    return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1


def _far(t: Array) -> Array:
    """The cubic kernel between distances 1 and 2."""
    return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC


def _resampled(x: Value, axis: int, places: Array, weights: Array) -> Value:
    """The sum over taps of x at its places times its weights, along an axis."""
    total: Value | None = None
    for k in range(places.shape[1]):
        part = b.gather(x, b.constant(places[:, k].astype(np.int64)), axis)
        if places.shape[1] > 1:
            weight = b.constant(weights[:, k].astype(x.type.dtype.numpy))
            part = b.mul(part, b.broadcast_in_dim(weight, part.type.shape, (axis,)))
        total = part if total is None else b.add(total, part)
    assert total is not None
    return total


def _repeated(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Each element so many times along each spatial axis."""
    apart: list[Dim] = list(x.shape[:2])
    wide: list[Dim] = list(x.shape[:2])
    shape: list[Dim] = list(x.shape[:2])
    for size, factor in zip(x.shape[2:], factors, strict=True):
        apart += [size, 1]
        wide += [size, factor]
        shape.append(size * factor)
    return Tensor(b.reshape(broadcast_to(b.reshape(x.value, apart), wide), shape))


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Channels as space: [..., C r^2, H, W] -> [..., C, H r, W r].

    Source:  W. Shi et al., 2016; PyTorch torch.nn.functional.pixel_shuffle
    """
    x, r = _planes("pixel_shuffle", input, upscale_factor), upscale_factor
    *front, channels, height, width = x.shape
    if not isinstance(channels, int) or channels % (r * r):
        raise wrong("pixel_shuffle", f"{channels} channels do not divide by {r} * {r}", input=x)
    apart = b.reshape(x.value, (*front, channels // (r * r), r, r, height, width))
    moved = _moved(apart, len(front), (0, 3, 1, 4, 2))
    return Tensor(b.reshape(moved, (*front, channels // (r * r), height * r, width * r)))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Space as channels: [..., C, H r, W r] -> [..., C r^2, H, W]; it undoes `pixel_shuffle`."""
    x, r = _planes("pixel_unshuffle", input, downscale_factor), downscale_factor
    *front, channels, _, _ = x.shape
    high, wide = _divided("pixel_unshuffle", x, r)
    apart = b.reshape(x.value, (*front, channels, high, r, wide, r))
    moved = _moved(apart, len(front), (0, 2, 4, 1, 3))
    return Tensor(b.reshape(moved, (*front, channels * r * r, high, wide)))


def depth_to_space(input: Any, block_size: int, mode: str = "DCR") -> Tensor:
    """Channels as space, the block's place before the channel ("DCR") or after it ("CRD", `pixel_shuffle`).

    Source:  ONNX DepthToSpace-13
    """
    if mode == "CRD":
        return pixel_shuffle(input, block_size)
    if mode != "DCR":
        raise wrong("depth_to_space", f'mode is "{mode}", expected "DCR" or "CRD"')
    x, r = _planes("depth_to_space", input, block_size), block_size
    *front, channels, height, width = x.shape
    if not isinstance(channels, int) or channels % (r * r):
        raise wrong("depth_to_space", f"{channels} channels do not divide by {r} * {r}", input=x)
    apart = b.reshape(x.value, (*front, r, r, channels // (r * r), height, width))
    moved = _moved(apart, len(front), (2, 3, 0, 4, 1))
    return Tensor(b.reshape(moved, (*front, channels // (r * r), height * r, width * r)))


def space_to_depth(input: Any, block_size: int) -> Tensor:
    """Space as channels, the block's place before the channel; it undoes `depth_to_space` with "DCR".

    Source:  ONNX SpaceToDepth-13
    """
    x, r = _planes("space_to_depth", input, block_size), block_size
    *front, channels, _, _ = x.shape
    high, wide = _divided("space_to_depth", x, r)
    apart = b.reshape(x.value, (*front, channels, high, r, wide, r))
    moved = _moved(apart, len(front), (2, 4, 0, 1, 3))
    return Tensor(b.reshape(moved, (*front, channels * r * r, high, wide)))


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Channels of the groups in turn: [N, g * c, ...] seen as [N, g, c, ...] and written as [N, c, g, ...].

    Source:  X. Zhang et al., ShuffleNet, 2018; PyTorch torch.nn.functional.channel_shuffle
    """
    x = as_tensor(input)
    channels = x.shape[1] if x.ndim > 1 else 0
    if not isinstance(channels, int) or groups < 1 or not channels or channels % groups:
        raise wrong("channel_shuffle", f"{groups} groups do not divide {channels} channels", input=x)
    apart = x.reshape(x.shape[0], groups, channels // groups, *x.shape[2:])
    return apart.permute(0, 2, 1, *range(3, apart.ndim)).reshape(*x.shape)


def _planes(name: str, input: Any, factor: int) -> Tensor:
    x = as_tensor(input)
    if x.ndim < 3:
        raise wrong(name, f"expected x [..., C, H, W], x has rank {x.ndim}", input=x)
    if factor < 1:
        raise wrong(name, f"the factor is {factor}, expected a number from 1 on", input=x)
    return x


def _divided(name: str, x: Tensor, r: int) -> tuple[Dim, Dim]:
    height, width = x.shape[-2:]
    if (height // r) * r != height or (width // r) * r != width:
        raise wrong(name, f"{height} x {width} does not divide by {r}", input=x)
    return height // r, width // r


def _moved(x: Value, front: int, order: Sequence[int]) -> Value:
    return b.permute(x, (*range(front), *(front + k for k in order)))
