"""Shapes and movement with numpy's arguments: reshape with -1, transpose, stack, split, flip, pad, matmul."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, Expr, bounds, dim_text, floordiv, product, shape_text
from ..ir.graph import Value
from .elementwise import broadcast_to, mismatch
from .reductions import Axes, axes_of, axis_of

__all__ = [
    "concatenate",
    "expand_dims",
    "flatten",
    "flip",
    "matmul",
    "moveaxis",
    "pad",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "transpose",
]


def reshape(x: Value, shape: Sequence[Any]) -> Value:
    """Another shape of as many elements; one dim may be -1.

    Raises:
        TypeInferenceError: the counts differ, or the dim for -1 does not come out whole
    """
    dims = [d if isinstance(d, Expr) else int(d) for d in shape]
    free = [k for k, d in enumerate(dims) if isinstance(d, int) and d < 0]
    if not free:
        return b.reshape(x, dims)
    if len(free) > 1 or dims[free[0]] != -1:
        raise mismatch("reshape", f"{shape_text(tuple(dims))} has more than one free dim, or one below -1", x)
    rest = product(tuple(d for k, d in enumerate(dims) if k != free[0]))
    if bounds(rest)[0] <= 0:
        raise mismatch("reshape", f"-1 beside {dim_text(rest)} elements, which may be none", x)
    missing = floordiv(x.type.size, rest)
    if missing * rest != x.type.size:
        raise mismatch("reshape", f"{dim_text(x.type.size)} elements do not divide by {dim_text(rest)}", x)
    dims[free[0]] = missing
    return b.reshape(x, dims)


def flatten(x: Value, start: int = 0, end: int = -1) -> Value:
    """The axes from start to end, both included, as one."""
    if not x.type.rank:
        return b.reshape(x, (1,))
    first, last = axis_of("flatten", start, x), axis_of("flatten", end, x)
    if first > last:
        raise mismatch("flatten", f"start_dim {start} lies behind end_dim {end}", x)
    shape = x.type.shape
    return b.reshape(x, (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :]))


def transpose(x: Value, axes: Sequence[int] | None = None) -> Value:
    """The axes in another order; reversed if none is given."""
    if axes is None:
        return b.permute(x, tuple(reversed(range(x.type.rank))))
    return b.permute(x, tuple(axis_of("transpose", a, x) for a in axes))


def moveaxis(x: Value, source: int, destination: int) -> Value:
    """One axis moved to another place."""
    order = list(range(x.type.rank))
    axis = order.pop(axis_of("moveaxis", source, x))
    order.insert(axis_of("moveaxis", destination, x), axis)
    return b.permute(x, order)


def squeeze(x: Value, axis: Axes = None) -> Value:
    """Without axes of size 1: the given ones, or all."""
    shape = x.type.shape
    gone = [k for k, d in enumerate(shape) if d == 1] if axis is None else axes_of("squeeze", axis, x)
    for k in gone:
        if shape[k] != 1:
            raise mismatch("squeeze", f"axis {k} is {dim_text(shape[k])}, expected 1", x)
    return b.reshape(x, [d for k, d in enumerate(shape) if k not in gone])


def expand_dims(x: Value, axis: int) -> Value:
    """With a new axis of size 1."""
    place = axis_of("expand_dims", axis, x, extra=1)
    return b.reshape(x, (*x.type.shape[:place], 1, *x.type.shape[place:]))


def concatenate(xs: Sequence[Value], axis: int | None = 0) -> Value:
    """One after the other along an axis; flattened where it is None."""
    if axis is None:
        return b.concat([b.reshape(x, (x.type.size,)) for x in xs], 0)
    return b.concat(xs, axis_of("concatenate", axis, xs[0]))


def stack(xs: Sequence[Value], axis: int = 0) -> Value:
    """Values of one shape along a new axis."""
    place = axis_of("stack", axis, xs[0], extra=1)
    return b.concat([expand_dims(x, place) for x in xs], place)


def split(x: Value, parts: int | Sequence[int], axis: int = 0) -> list[Value]:
    """Equal parts by their count, or parts between the given places."""
    place = axis_of("split", axis, x)
    size = x.type.shape[place]
    if isinstance(parts, int):
        if parts < 1 or floordiv(size, parts) * parts != size:
            raise mismatch("split", f"axis {place} of {dim_text(size)} has no {parts} equal parts", x)
        step = floordiv(size, parts)
        cuts: list[Dim] = [step * k for k in range(parts + 1)]
    else:
        cuts = [0, *parts, size]
    zeros: list[Dim] = [0] * x.type.rank
    found: list[Value] = []
    for low, high in pairwise(cuts):
        starts, limits = list(zeros), list(x.type.shape)
        starts[place], limits[place] = low, high
        found.append(b.slice_(x, starts, limits))
    return found


def flip(x: Value, axis: Axes = None) -> Value:
    """Backwards along the axes."""
    return b.reverse(x, axes_of("flip", axis, x))


def pad(x: Value, amounts: Any, value: Value) -> Value:
    """A value around x: one amount, a (before, after) pair for all axes, or a pair an axis, as numpy takes them."""
    if isinstance(amounts, int):
        pairs = [(amounts, amounts)] * x.type.rank
    elif all(isinstance(p, int) for p in amounts):
        before, after = amounts if len(amounts) == 2 else (amounts[0], amounts[0])
        pairs = [(before, after)] * x.type.rank
    else:
        pairs = [(int(p[0]), int(p[-1])) for p in amounts]
        pairs = pairs * x.type.rank if len(pairs) == 1 else pairs
    return b.pad(x, value, [low for low, _ in pairs], [high for _, high in pairs])


def matmul(x: Value, y: Value) -> Value:
    """x @ y: vectors, matrices, and stacks of matrices that broadcast."""
    if not x.type.rank or not y.type.rank:
        raise mismatch("matmul", "a scalar has no matrix product", x, y, hint="use *")
    if x.type.dtype != y.type.dtype:
        raise mismatch(
            "matmul",
            f"element types differ: {x.type.dtype} and {y.type.dtype}",
            x,
            y,
            hint=f"cast one with .astype('{x.type.dtype}')",
        )
    rows = max(y.type.rank - 2, 0)
    if x.type.shape[-1] != y.type.shape[rows]:
        inner = f"{dim_text(x.type.shape[-1])} and {dim_text(y.type.shape[rows])}"
        raise mismatch("matmul", f"inner dims differ: {inner}", x, y)
    if y.type.rank <= 2:
        return b.dot_general(x, y, (x.type.rank - 1,), (0,))
    if x.type.rank == 1:
        return b.dot_general(x, y, (0,), (rows,))
    batch = _batch(x, y)
    left = broadcast_to(x, (*batch, *x.type.shape[-2:]))
    right = broadcast_to(y, (*batch, *y.type.shape[-2:]))
    axes = tuple(range(len(batch)))
    return b.dot_general(left, right, (len(batch) + 1,), (len(batch),), axes, axes)


def _batch(x: Value, y: Value) -> tuple[Dim, ...]:
    a, c = x.type.shape[:-2], y.type.shape[:-2]
    rank = max(len(a), len(c))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(c)) + c, strict=True)
    batch: list[Dim] = []
    for d, e in pairs:
        if d not in (1, e) and e != 1:
            raise mismatch("matmul", f"batch axes do not broadcast: {dim_text(d)} and {dim_text(e)}", x, y)
        batch.append(e if d == 1 else d)
    return tuple(batch)
