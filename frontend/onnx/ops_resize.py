"""Resize and Upsample: each axis by itself, as a sum over a few places times weights.

Places and weights are written as ops on the output's coordinate, in f64; with known sizes they fold to constants, with
symbolic ones they are computed when the program runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim, dim_text, floordiv
from ...ir.graph import Value
from ...ir.types import TensorType, f64, i64
from ..elementwise import broadcast_to, dim_scalar
from ..pointwise import where
from ..tensor import Tensor
from .node import OnnxNode
from .report import Refused
from .scope import fold_values
from .table import op

MAX_TAPS = 256
"""Elements that antialias may average."""


@dataclass(frozen=True)
class Axis:
    """How one axis changes.

    Args:
        size, out:  elements before and after
        scale:      elements after for one before; None for out / size
        start, end: of the part that tf_crop_and_resize takes
    """

    size: Dim
    out: Dim
    scale: float | None
    start: float = 0.0
    end: float = 1.0

    def factor(self) -> Tensor:
        """The scale as a scalar."""
        if self.scale is not None:
            return Tensor(b.constant(np.float64(self.scale)))
        return number(self.out) / number(self.size)


def number(dim: Dim) -> Tensor:
    """A dim as a scalar of f64."""
    return Tensor(dim_scalar(dim, f64))


# the place in the input of each element of the output
def _half_pixel(k: Tensor, a: Axis) -> Tensor:
    return (k + 0.5) / a.factor() - 0.5


def _half_pixel_symmetric(k: Tensor, a: Axis) -> Tensor:
    half = number(a.size) / 2
    offset = half * (1 - number(a.out) / (a.factor() * number(a.size)))
    return offset + _half_pixel(k, a)


def _pytorch_half_pixel(k: Tensor, a: Axis) -> Tensor:
    return where(Tensor(broadcast_to((number(a.out) > 1).value, k.shape)), _half_pixel(k, a), 0)


def _align_corners(k: Tensor, a: Axis) -> Tensor:
    """The last element stays the last, of a size that is not rounded where a scale is given."""
    if a.scale is None:
        return k * (number(a.size) - 1) / (number(a.out) - 1).clip(min=1)
    out = a.factor() * number(a.size) - 1
    return where(Tensor(broadcast_to((out > 0).value, k.shape)), k * (number(a.size) - 1) / out, 0)


def _asymmetric(k: Tensor, a: Axis) -> Tensor:
    return k / a.factor()


def _cropped(k: Tensor, a: Axis) -> Tensor:
    last = number(a.size) - 1
    one = k * 0 + 0.5 * (a.start + a.end) * last
    several = a.start * last + k * ((a.end - a.start) * last / (number(a.out) - 1).clip(min=1))
    return where(Tensor(broadcast_to((number(a.out) > 1).value, k.shape)), several, one)


PLACES: dict[str, Callable[[Tensor, Axis], Tensor]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _cropped,
}


def floor(x: Tensor) -> Tensor:
    return Tensor(b.floor(x.value))


ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "ceil": lambda x: Tensor(b.ceil(x.value)),
    "floor": floor,
    "round_prefer_ceil": lambda x: floor(x + 0.5),
    "round_prefer_floor": lambda x: Tensor(b.ceil((x - 0.5).value)),
}


def _cubic(distance: Tensor, a: float) -> Tensor:
    """The cubic convolution's kernel: R. Keys, 1981."""
    t = abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return where(t <= 1, near, where(t < 2, far, 0))


def _linear(distance: Tensor) -> Tensor:
    return (1 - abs(distance)).clip(min=0)


@op("Resize", since=11)
def resize(n: OnnxNode) -> Value:
    x = n.value(0)
    wanted = n.attr("axes")
    axes = [n.axis(a, x.type.rank) for a in wanted] if wanted else list(range(x.type.rank))
    roi = n.array(1).ravel().tolist() if _given(n, 1) else []
    plans: dict[int, Axis] = {}
    scales = n.array(2).ravel().tolist() if _given(n, 2) else None
    sizes = n.dims(3) if scales is None else []
    policy = n.attr("keep_aspect_ratio_policy", "stretch")
    if scales is None and policy != "stretch":
        scales, sizes = _kept_ratio(n, x, axes, sizes, policy)
    for k, axis in enumerate(axes):
        size = x.type.shape[axis]
        if scales is not None:
            out = sizes[k] if sizes else scaled(size, scales[k])
            plan = Axis(size, out, scales[k])
        else:
            plan = Axis(size, sizes[k], None)
        if roi:
            plan = Axis(plan.size, plan.out, plan.scale, roi[k], roi[k + len(axes)])
        plans[axis] = plan
    return resized(
        n, x, plans, n.attr("mode", "nearest"), n.attr("coordinate_transformation_mode", "half_pixel")
    )


@op("Resize")
def resize_10(n: OnnxNode) -> Value:
    return _upsampled(n, n.array(1).ravel().tolist())


@op("Upsample", since=9)
def upsample(n: OnnxNode) -> Value:
    return _upsampled(n, n.array(1).ravel().tolist())


@op("Upsample")
def upsample_7(n: OnnxNode) -> Value:
    return _upsampled(n, n.attr("scales"))


def _upsampled(n: OnnxNode, scales: list[float]) -> Value:
    x = n.value(0)
    plans = {k: Axis(d, scaled(d, s), s) for k, (d, s) in enumerate(zip(x.type.shape, scales, strict=True))}
    return resized(n, x, plans, n.attr("mode", "nearest"), "asymmetric", "floor")


def _given(n: OnnxNode, k: int) -> bool:
    """Whether input k is there and has elements."""
    return n.has(k) and n.type(k).size != 0


def _kept_ratio(
    n: OnnxNode, x: Value, axes: list[int], sizes: list[Dim], policy: str
) -> tuple[list[float], list[Dim]]:
    pairs = [(d, x.type.shape[a]) for d, a in zip(sizes, axes, strict=True)]
    known = [(d, s) for d, s in pairs if isinstance(d, int) and isinstance(s, int)]
    if len(known) != len(pairs):
        raise Refused(f"keep_aspect_ratio_policy {policy} over symbolic sizes")
    pick = min if policy == "not_larger" else max
    scale = pick(d / s for d, s in known)
    return [scale] * len(axes), [math.floor(scale * s + 0.5) for _, s in known]


def scaled(size: Dim, scale: float) -> Dim:
    """floor(size * scale), of a symbolic size with the scale as a quotient of small numbers."""
    if isinstance(size, int):
        return math.floor(size * scale)
    ratio = Fraction(scale).limit_denominator(1024)
    return floordiv(size * ratio.numerator, ratio.denominator)


def resized(
    n: OnnxNode, x: Value, plans: dict[int, Axis], mode: str, where_: str, rounding: str | None = None
) -> Value:
    """x with each axis changed as its plan says."""
    if where_ not in PLACES or mode not in ("nearest", "linear", "cubic"):
        raise Refused(f"mode {mode} with coordinates {where_} is not known")
    how: str = rounding or n.attr("nearest_mode", "round_prefer_floor")
    outside: Value | None = None
    given = x.type.shape
    for axis, plan in plans.items():
        if plan.out == plan.size and plan.scale in (None, 1.0) and where_ != "tf_crop_and_resize":
            continue
        repeat = _whole(plan) if mode == "nearest" else None
        if repeat is not None and _repeats(where_, how):
            x = _repeated(x, axis, repeat)
            continue
        k = Tensor(b.cast(b.iota(i64, (plan.out,), 0), f64))
        place = PLACES[where_](k, plan)
        taps = _taps(n, place, plan, mode, how)
        x = _combined(n, x, axis, taps, plan)
        if where_ == "tf_crop_and_resize":
            last = number(plan.size) - 1
            beyond = b.or_((place < 0).value, b.gt(place.value, broadcast_to(last.value, place.shape)))
            shape = tuple(plans[a].out if a in plans else d for a, d in enumerate(given))
            wide = b.broadcast_in_dim(folded(n, beyond), shape, (axis,))
            outside = wide if outside is None else b.or_(outside, wide)
    if outside is not None:
        outside = broadcast_to(outside, x.type.shape)
        x = b.select(outside, b.full_like(x, n.attr("extrapolation_value", 0.0)), x)
    return x


def _whole(plan: Axis) -> int | None:
    """How often each element is repeated, where that is a whole number."""
    if plan.scale is not None:
        return int(plan.scale) if plan.scale >= 1 and plan.scale == int(plan.scale) else None
    ratio = floordiv(plan.out, plan.size) if plan.size != 0 else None
    return ratio if isinstance(ratio, int) and ratio >= 1 and ratio * plan.size == plan.out else None


def _repeats(where_: str, rounding: str) -> bool:
    """Whether a whole factor of nearest repeats elements."""
    halves = where_ in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round_prefer")
    return halves or (where_ == "asymmetric" and rounding == "floor")


def _repeated(x: Value, axis: int, count: int) -> Value:
    shape = x.type.shape
    apart = b.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    wide = broadcast_to(apart, (*shape[: axis + 1], count, *shape[axis + 1 :]))
    return b.reshape(wide, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


def _taps(
    n: OnnxNode, place: Tensor, plan: Axis, mode: str, rounding: str
) -> list[tuple[Tensor, Tensor | None]]:
    """For each element of the output the places it is made of, and their weights; None for 1."""
    if mode == "nearest":
        return [(ROUNDED[rounding](place), None)]
    shrink = 1.0
    if n.attr("antialias", 0):
        if not isinstance(plan.size, int) or not isinstance(plan.out, int):
            raise Refused(f"antialias over the symbolic size {dim_text(plan.size)}")
        shrink = min(plan.scale if plan.scale is not None else plan.out / plan.size, 1.0)
    low = floor(place)
    reach = 1 if mode == "linear" else 2
    if shrink * MAX_TAPS < reach:
        raise Refused(f"antialias over more than {MAX_TAPS} elements")
    first = math.floor(-reach / shrink) + 1
    last = reach + 1 - first if shrink < 1 else reach + 1
    spots = [low + k for k in range(first, max(last, reach + 1))]
    a = n.attr("cubic_coeff_a", -0.75)
    weights = [
        _linear((s - place) * shrink) if mode == "linear" else _cubic((s - place) * shrink, a) for s in spots
    ]
    if n.attr("exclude_outside", 0):
        end = Tensor(broadcast_to((number(plan.size) - 1).value, place.shape))
        weights = [where((s < 0) | (s > end), 0, w) for s, w in zip(spots, weights, strict=True)]
    if n.attr("exclude_outside", 0) or shrink < 1:
        total = weights[0]
        for w in weights[1:]:
            total = total + w
        weights = [w / total for w in weights]
    return list(zip(spots, weights, strict=True))


def _combined(
    n: OnnxNode, x: Value, axis: int, taps: list[tuple[Tensor, Tensor | None]], plan: Axis
) -> Value:
    """The sum over taps of x at its places times its weights."""
    end = broadcast_to((number(plan.size) - 1).value, (plan.out,))
    zero = b.full(TensorType(f64, (plan.out,)), 0)
    total: Value | None = None
    dtype = x.type.dtype
    for place, weight in taps:
        inside = b.cast(b.max(zero, b.min(place.value, end)), i64)
        part = b.gather(x, folded(n, inside), axis)
        if weight is not None:
            scale = folded(n, b.cast(weight.value, dtype if dtype.is_float else f64))
            part = b.cast(part, scale.type.dtype)
            part = b.mul(part, b.broadcast_in_dim(scale, part.type.shape, (axis,)))
        total = part if total is None else b.add(total, part)
    assert total is not None
    return b.cast(total, dtype)


def folded(n: OnnxNode, value: Value) -> Value:
    """The value as a constant, where it is one."""
    (known,) = fold_values([value], n.scope)
    return value if known is None else b.constant(known.data)
