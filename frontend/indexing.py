"""x[...]: integers, slices, new axes, an ellipsis, and integer tensors, as numpy places the resulting axes.

Positions computed by the program are clamped to the axis, as `gather` defines; those known while tracing are checked.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim, Expr, bounds, dim_text, maximum, minimum, product
from ..ir.errors import TraceError
from ..ir.graph import Value
from ..ir.types import Array, i64
from .elementwise import broadcast, broadcast_to, dim_scalar, mismatch
from .tracing import user_lines

__all__ = ["index"]


def index(x: Value, key: Sequence[Any]) -> Value:
    """x at a key: one entry an axis, None for a new axis, Ellipsis for the axes that are not named."""
    keys = _complete(x, key)
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[int] = []
    backwards: list[int] = []
    tensors: dict[int, Value] = {}
    for k in keys:
        axis = len(starts)
        if k is None:
            continue
        if isinstance(k, (Value, np.ndarray)):
            tensors[axis] = k if isinstance(k, Value) else _known(x, cast("Array", k), axis)
            low, high, step = 0, x.type.shape[axis], 1
        elif isinstance(k, slice):
            low, high, step = _slice(x, cast("slice[Any, Any, Any]", k), axis)
        else:
            low, high, step = _place(x, k, axis)
        starts.append(low)
        limits.append(high)
        strides.append(abs(step))
        if step < 0:
            backwards.append(axis)
    taken = b.reverse(b.slice_(x, starts, limits, strides), backwards)
    if not tensors:
        return b.reshape(taken, _shape(keys, taken.type.shape, {}))
    _check_adjacent(x, keys)
    first = min(tensors)
    places = _flat(x, taken, list(tensors), list(tensors.values()))
    axes = taken.type.shape
    merged = b.reshape(
        taken, (*axes[:first], product(axes[first : first + len(tensors)]), *axes[first + len(tensors) :])
    )
    return b.reshape(b.gather(merged, places, first), _shape(keys, axes, {first: places.type.shape}))


def _complete(x: Value, key: Sequence[Any]) -> list[Any]:
    """One entry for each axis, beside the new axes; lists and arrays as arrays."""
    keys = [np.asarray(cast("list[Any]", k)) if isinstance(k, list) else k for k in key]
    for k in keys:
        index_type = k.type if isinstance(k, Value) else None
        if isinstance(k, bool) or (index_type is not None and index_type.dtype.kind == "bool"):
            raise TraceError(
                "a condition as index gives a shape that is not known before the program runs",
                details=[f"x: {x.type}"],
                where=user_lines(),
                hint="use np.where(condition, x, other)",
            )
        if index_type is not None and index_type.dtype.is_float:
            raise mismatch("index", f"the index is {index_type}, expected integers", x)
    named = sum(1 for k in keys if k is not None and k is not Ellipsis)
    if named > x.type.rank:
        raise mismatch("index", f"{named} indices for {x.type.rank} axes", x)
    dots = [place for place, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1:
        raise mismatch("index", "more than one ellipsis", x)
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (x.type.rank - named)
    return keys


def _place(x: Value, key: Any, axis: int) -> tuple[Dim, Dim, int]:
    """The range of a single position."""
    size = x.type.shape[axis]
    place = _whole(x, key)
    start = size + place if isinstance(place, int) and place < 0 else place
    if bounds(start)[0] < 0 or bounds(size - start)[0] < 1:
        raise mismatch(
            "index", f"{dim_text(place)} is not within axis {axis} of {dim_text(size)} elements", x
        )
    return start, start + 1, 1


def _slice(x: Value, key: slice, axis: int) -> tuple[Dim, Dim, int]:
    """The range of a slice: start, limit, and the step, backwards where it is negative."""
    size = x.type.shape[axis]
    step = 1 if key.step is None else _whole(x, key.step)
    if not isinstance(step, int) or step == 0:
        raise mismatch("index", f"a slice's step is {step}", x)
    start = None if key.start is None else _whole(x, key.start)
    stop = None if key.stop is None else _whole(x, key.stop)
    if isinstance(size, int) and not isinstance(start, Expr) and not isinstance(stop, Expr):
        picked = range(size)[slice(start, stop, step)]
        if not picked:
            return 0, 0, 1
        low, high = min(picked[0], picked[-1]), max(picked[0], picked[-1])
        return low, high + 1, step
    if step < 0 and (start is not None or stop is not None or step != -1):
        raise mismatch("index", f"a backward slice of axis {axis}, which is {dim_text(size)}", x)
    low = 0 if start is None else _bound(start, size)
    high = size if stop is None else _bound(stop, size)
    return low, maximum(low, high), step


def _bound(place: Dim, size: Dim) -> Dim:
    if isinstance(place, int) and place < 0:
        return maximum(0, size + place)
    return minimum(place, size)


def _whole(x: Value, key: Any) -> Dim:
    if isinstance(key, Expr):
        return key
    try:
        return operator.index(key)
    except TypeError:
        _refuse(x, key)


def _refuse(x: Value, key: Any) -> NoReturn:
    raise mismatch("index", f"{type(key).__name__} is no index", x)


def _known(x: Value, places: Array, axis: int) -> Value:
    """Positions known while tracing; negative ones count from the end."""
    size = x.type.shape[axis]
    if places.dtype.kind == "b" and places.shape == (size,):
        places = np.flatnonzero(places)
    if places.size == 0:
        places = places.astype(np.int64)
    if places.dtype.kind not in "iu":
        raise mismatch("index", f"the index is an array of {places.dtype}, expected integers", x)
    places = places.astype(np.int64)
    if isinstance(size, int):
        if places.size and not -size <= places.min() <= places.max() < size:
            raise mismatch("index", f"a position is not within axis {axis} of {size} elements", x)
        places = np.where(places < 0, places + size, places)
    elif places.size and (places.min() < 0 or places.max() >= bounds(size)[0]):
        raise mismatch("index", f"a position may lie outside axis {axis} of {dim_text(size)} elements", x)
    return b.constant(places)


def _check_adjacent(x: Value, keys: Sequence[Any]) -> None:
    """Tensors and integers side by side; numpy moves the new axes to the front otherwise, which surprises."""
    advanced = [p for p, k in enumerate(keys) if k is not None and not isinstance(k, slice)]
    if advanced != list(range(advanced[0], advanced[-1] + 1)):
        raise mismatch("index", "tensor indices and integers that are not side by side", x)
    kinds = "".join("t" if isinstance(keys[p], (Value, np.ndarray)) else "i" for p in advanced)
    if "i" in kinds.strip("i"):
        raise mismatch("index", "an integer between tensor indices", x)


def _flat(x: Value, taken: Value, axes: Sequence[int], places: Sequence[Value]) -> Value:
    """One position on the merged axes for positions on each of them."""
    if len(places) == 1:
        return places[0]
    found: Value | None = None
    wide = broadcast("index", *(b.cast(p, i64) for p in places))
    for axis, place in zip(axes, wide, strict=True):
        size = broadcast_to(dim_scalar(taken.type.shape[axis], i64), place.type.shape)
        inside = b.clamp(b.full_like(place, 0), place, b.sub(size, b.full_like(size, 1)))
        found = inside if found is None else b.add(b.mul(found, size), inside)
    assert found is not None, x
    return found


def _shape(
    keys: Sequence[Any], taken: Sequence[Dim], gathered: dict[int, tuple[Dim, ...]]
) -> tuple[Dim, ...]:
    """The result's shape: what slices left, ones for new axes, the indices' shape where tensors stood."""
    shape: list[Dim] = []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        if isinstance(k, slice):
            shape.append(taken[axis])
        elif axis in gathered:
            shape += gathered[axis]
        axis += 1
    return tuple(shape)
