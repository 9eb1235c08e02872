"""x[...]: integers, slices, new axes, an ellipsis, and one integer tensor."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text, minimum
from ..ir.errors import TypeInferenceError
from ..ir.store import Entry
from .tensor import Tensor, as_tensor
from .tracing import user_origins

__all__ = ["index"]


def index(x: Tensor, key: Any) -> Tensor:
    """What numpy's basic indexing gives; an integer tensor picks along its axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    used = sum(1 for k in keys if k is not None and k is not Ellipsis)
    if used > x.ndim:
        raise _error(x, f"{used} indices for {x.ndim} axes")
    if not any(k is Ellipsis for k in keys):
        keys.append(Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [slice(None)] * (x.ndim - used)
    tensors = [k for k in keys if isinstance(k, (Tensor, Entry))]
    if tensors:
        return _gather(x, keys)
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[int] = []
    reversed_axes: list[int] = []
    shape: list[Dim] = []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        lo, hi, step, size = _range(x, k, axis)
        if step < 0:
            reversed_axes.append(axis)
        starts.append(lo)
        limits.append(hi)
        strides.append(abs(step))
        if size is not None:
            shape.append(size)
        axis += 1
    value = b.slice_(x.value, starts, limits, strides)
    value = b.reverse(value, reversed_axes)
    final = _final(keys, value.type.shape)
    return Tensor(b.reshape(value, final))


def _final(keys: list[Any], sliced: tuple[Dim, ...]) -> tuple[Dim, ...]:
    shape: list[Dim] = []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
        else:
            if isinstance(k, slice):
                shape.append(sliced[axis])
            axis += 1
    return tuple(shape)


def _range(x: Tensor, k: Any, axis: int) -> tuple[Dim, Dim, int, Dim | None]:
    size = x.shape[axis]
    if isinstance(k, slice):
        step = 1 if k.step is None else int(k.step)
        if step == 0:
            raise _error(x, "a slice's step is 0")
        if isinstance(size, int):
            picked = range(size)[k]
            if not picked:
                return 0, 0, 1, 0
            first, last = (picked[0], picked[-1]) if step > 0 else (picked[-1], picked[0])
            return first, last + 1, step, len(picked)
        lo = _bound(0 if k.start is None else k.start, size)
        hi = _bound(size if k.stop is None else k.stop, size)
        if step < 0 and (k.start is not None or k.stop is not None):
            raise _error(x, "a backward slice with bounds on a symbolic axis")
        return (0, size, step, size) if step < 0 else (lo, hi, step, size)
    if isinstance(k, bool) or not hasattr(k, "__index__"):
        raise _error(x, f"{type(k).__name__} is no index")
    place = int(k)
    start: Dim = place if place >= 0 else size + place
    if bounds(start)[0] < 0 or bounds(size - start)[0] < 1:
        raise _error(x, f"index {place} is not within axis {axis} of {dim_text(size)} elements")
    return start, start + 1, 1, None


def _bound(k: Any, size: Dim) -> Dim:
    if isinstance(k, int):
        return minimum(k, size) if k >= 0 else size + k
    return k


def _gather(x: Tensor, keys: list[Any]) -> Tensor:
    places = [i for i, k in enumerate(keys) if isinstance(k, (Tensor, Entry))]
    rest = [k for i, k in enumerate(keys) if i not in places]
    if len(places) != 1 or any(k != slice(None) for k in rest):
        raise _error(x, "only one tensor index, alone or beside full slices")
    indices = as_tensor(keys[places[0]])
    return Tensor(b.gather(x.value, indices.value, places[0]))


def _error(x: Tensor, message: str) -> TypeInferenceError:
    return TypeInferenceError(f"index: {message}", details=[f"x: {x.type}"], where=[str(o) for o in user_origins()])
