"""What convolutions and pools have in common: arguments by spatial axis, padding, sizes with ceil_mode."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dims import Dim, ceildiv
from .calls import wrong
from .tensor import Tensor

__all__ = [
    "Numbers",
    "Padding",
    "Pads",
    "check_rank",
    "each",
    "known_sizes",
    "pads_of",
    "pool_extra",
    "shape_of",
]

Numbers = int | Sequence[int]
"""One number for all spatial axes, or one each."""

Padding = int | str | Sequence[int]
"""One number, one an axis, two an axis as (low, high, low, high, ...), "same" or "valid"."""

Pads = tuple[tuple[int, int], ...]

AXES = ("L", "H, W", "D, H, W")


LEAST = {"padding": None, "output_padding": 0}
"""The smallest number of each argument, 1 for those not named; a negative padding cuts."""


def each(name: str, what: str, value: Numbers, spatial: int) -> tuple[int, ...]:
    """One number as one an axis; one an axis as they are."""
    found = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    least = LEAST.get(what, 1)
    if least is not None and any(v < least for v in found):
        raise wrong(name, f"{what} is {value}, expected numbers from {least} on")
    if len(found) == 1:
        return found * spatial
    if len(found) != spatial:
        raise wrong(name, f"{what}={found} has {len(found)} entries for {spatial} spatial axes")
    return found


def shape_of(spatial: int, before: str = "N, C") -> str:
    """The shape of images in words, such as [N, C, H, W]."""
    return f"[{before}, {AXES[spatial - 1]}]"


def check_rank(name: str, x: Tensor, spatial: int) -> None:
    """Whether x is [N, C, spatial...]: a batch axis is always there."""
    if x.ndim != spatial + 2:
        raise wrong(name, f"expected x {shape_of(spatial)}, x has rank {x.ndim}")


def known_sizes(name: str, why: str, x: Tensor) -> tuple[int, ...]:
    """The sizes of the spatial axes, which must be numbers."""
    sizes: list[int] = []
    for axis, size in enumerate(x.shape[2:]):
        if not isinstance(size, int):
            raise wrong(name, f"{why} needs a known size, spatial axis {axis} is {size}")
        sizes.append(size)
    return tuple(sizes)


def pads_of(
    name: str, padding: Padding, window: Sequence[Dim], stride: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """The (low, high) padding of each axis; "same" has the odd element at the end."""
    spatial = len(window)
    if padding == "valid":
        return ((0, 0),) * spatial
    if padding == "same":
        if any(s != 1 for s in stride):
            raise wrong(name, f'padding "same" needs stride 1, got {tuple(stride)}')
        found: list[tuple[int, int]] = []
        for k, d in zip(window, dilation, strict=True):
            if not isinstance(k, int):
                raise wrong(name, f'padding "same" needs a window of known size, found {k}')
            around = (k - 1) * d
            found.append((around // 2, around - around // 2))
        return tuple(found)
    if isinstance(padding, str):
        raise wrong(name, f'padding is "{padding}", expected "same", "valid" or numbers')
    if not isinstance(padding, int) and len(padding) == 2 * spatial:
        return tuple((int(padding[k]), int(padding[k + 1])) for k in range(0, 2 * spatial, 2))
    return tuple((p, p) for p in each(name, "padding", padding, spatial))


def pool_extra(
    name: str, x: Tensor, reach: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    """What ceil_mode adds at the end of each axis: so much that a last window that begins inside counts."""
    extra: list[int] = []
    for size, k, s, p in zip(known_sizes(name, "ceil_mode", x), reach, stride, padding, strict=True):
        count = ceildiv(size + 2 * p - k, s) + 1
        assert isinstance(count, int), count
        if (count - 1) * s >= size + p:
            count -= 1
        extra.append(max(0, (count - 1) * s + k - size - 2 * p))
    return tuple(extra)
