"""Reductions with numpy's arguments: axis and keepdims; mean, variance and positions of extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import build as b
from ..ir.dims import Dim, product
from ..ir.graph import Value
from .elementwise import binary, dim_scalar, mismatch

__all__ = ["Axes", "arg_extreme", "axes_of", "axis_of", "mean", "reduced", "var"]

Axes = int | Sequence[int] | None
"""One axis, several, or all; negative ones count from the end."""


def axis_of(op: str, axis: int, x: Value, extra: int = 0) -> int:
    """An axis as a number from 0 on; `extra` new axes count as x's."""
    rank = x.type.rank + extra
    if not -rank <= axis < rank:
        raise mismatch(op, f"axis {axis} is not within the {rank} axes", x)
    return axis % rank


def axes_of(op: str, axis: Axes, x: Value) -> tuple[int, ...]:
    """Axes as increasing numbers from 0 on."""
    given = range(x.type.rank) if axis is None else [axis] if isinstance(axis, int) else axis
    found = sorted(axis_of(op, a, x) for a in given)
    if len(set(found)) != len(found):
        raise mismatch(op, f"axes {list(given)} repeat", x)
    return tuple(found)


def kept(x: Value, axes: Sequence[int]) -> tuple[Dim, ...]:
    """x's shape with ones on the axes."""
    return tuple(1 if k in axes else d for k, d in enumerate(x.type.shape))


def reduced(
    op: Callable[[Value, Sequence[int]], Value], x: Value, axis: Axes = None, keepdims: bool = False
) -> Value:
    """A reduction of `ir.build` over axes."""
    axes = axes_of(op.__name__.removeprefix("reduce_"), axis, x)
    found = op(x, axes)
    return b.reshape(found, kept(x, axes)) if keepdims else found


def mean(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The sum over the axes divided by their size; floats only."""
    if not x.type.dtype.is_float:
        raise mismatch("mean", f"x is {x.type.dtype}, expected float", x, hint="use .astype('f32') first")
    axes = axes_of("mean", axis, x)
    total = reduced(b.reduce_sum, x, axes, keepdims)
    return binary(b.div, total, dim_scalar(product(tuple(x.type.shape[a] for a in axes)), x.type.dtype))


def var(x: Value, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Value:
    """The mean squared distance from the mean; the count is reduced by ddof."""
    axes = axes_of("var", axis, x)
    centred = binary(b.sub, x, mean(x, axes, keepdims=True))
    total = reduced(b.reduce_sum, b.mul(centred, centred), axes, keepdims)
    count = product(tuple(x.type.shape[a] for a in axes)) - ddof
    return binary(b.div, total, dim_scalar(count, x.type.dtype))


def arg_extreme(
    op: Callable[[Value, int], Value], x: Value, axis: int | None = None, keepdims: bool = False
) -> Value:
    """The position of an extreme along an axis, or in the flattened tensor."""
    if axis is None:
        found = op(b.reshape(x, (x.type.size,)), 0)
        return b.reshape(found, (1,) * x.type.rank) if keepdims else found
    place = axis_of(op.__name__, axis, x)
    found = op(x, place)
    return b.reshape(found, kept(x, (place,))) if keepdims else found
