"""Shapes and movement: what moves elements and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import build as b
from ...ir.dims import Dim, Expr, bounds, ceildiv, dim_text, floordiv, maximum, minimum, product, shape_text
from ...ir.graph import Value
from ...ir.types import TensorType, bool_, i64
from ..elementwise import dim_scalar
from ..padding import pad_axis
from ..resize import depth_to_space as depth_to_space_
from ..resize import pixel_unshuffle
from ..resize import space_to_depth as space_to_depth_
from ..tensor import Tensor
from .equations import is_zero
from .node import OnnxNode
from .report import Refused
from .table import op
from .windows import part_of


@op("Reshape")
def reshape(n: OnnxNode) -> Value:
    x = n.value(0)
    return b.reshape(x, _new_shape(n, x, n.dims(1), bool(n.attr("allowzero", 0))))


def _new_shape(n: OnnxNode, x: Value, given: Sequence[Dim], zeros: bool) -> list[Dim]:
    """0 is x's own size, unless zeros are meant; -1 is what is left."""
    shape: list[Dim] = []
    for k, d in enumerate(given):
        if d == 0 and not zeros:
            if k >= x.type.rank:
                raise Refused(f"entry {k} of the shape is 0, x has rank {x.type.rank}")
            d = x.type.shape[k]
        shape.append(d)
    free = [k for k, d in enumerate(shape) if d == -1]
    if len(free) > 1:
        raise Refused(f"the shape {shape_text(tuple(shape))} has more than one -1")
    size = x.type.size
    if not free:
        n.equal(size, product(tuple(shape)), "elements before and after")
        return shape
    rest = product(tuple(d for k, d in enumerate(shape) if k != free[0]))
    if rest == 0:
        raise Refused("-1 beside a size of 0")
    n.at_least(rest, 1, "the elements beside -1")
    missing = floordiv(size, rest)
    if missing * rest != size:
        if isinstance(size, int) and isinstance(rest, int):
            raise Refused(f"{size} elements do not divide by {rest}")
        raise Refused(
            f"{dim_text(size)} elements do not divide by {dim_text(rest)} for every size",
            "give the sizes: inputs={...} or dims={...}",
        )
    shape[free[0]] = missing
    return shape


@op("Flatten")
def flatten(n: OnnxNode) -> Value:
    x = n.value(0)
    axis = n.attr("axis", 1)
    if not -x.type.rank <= axis <= x.type.rank:
        raise Refused(f"axis {axis} is not within the rank {x.type.rank}")
    axis = axis + x.type.rank if axis < 0 else axis
    return b.reshape(x, (product(x.type.shape[:axis]), product(x.type.shape[axis:])))


@op("Transpose")
def transpose(n: OnnxNode) -> Value:
    x = n.value(0)
    return b.permute(x, n.attr("perm") or tuple(reversed(range(x.type.rank))))


@op("Squeeze")
def squeeze(n: OnnxNode) -> Value:
    x = n.value(0)
    axes, shape = n.axes(1), x.type.shape
    gone = (
        [k for k, d in enumerate(shape) if d == 1] if axes is None else [n.axis(a, len(shape)) for a in axes]
    )
    for k in gone:
        if (
            n.scope.optional
            and x.type.dtype.is_float
            and bounds(shape[k])[0] >= 1
            and not is_zero(shape[k] - 1)
        ):
            lone = b.eq(dim_scalar(shape[k], i64), b.full(TensorType(i64), 1))
            x = n.or_nan(lone, part_of(x, k, 0, 1))
        else:
            n.equal(shape[k], 1, f"axis {k} is squeezed")
    return b.reshape(x, [d for k, d in enumerate(shape) if k not in gone])


@op("Unsqueeze")
def unsqueeze(n: OnnxNode) -> Value:
    x, axes = n.value(0), n.axes(1) or []
    rank = x.type.rank + len(axes)
    new = {n.axis(a, rank) for a in axes}
    if len(new) != len(axes):
        raise Refused(f"axes {axes} repeat")
    old = iter(x.type.shape)
    return b.reshape(x, [1 if k in new else next(old) for k in range(rank)])


@op("Concat")
def concat(n: OnnxNode) -> Value:
    xs = n.values()
    axis = n.axis(n.attr("axis"), xs[0].type.rank)
    for x in xs[1:]:
        for k in range(min(x.type.rank, xs[0].type.rank)):
            if k != axis:
                n.equal(xs[0].type.shape[k], x.type.shape[k], f"axis {k}")
    return b.concat(xs, axis)


@op("Split")
def split(n: OnnxNode) -> list[Value]:
    x = n.value(0)
    axis = n.axis(n.attr("axis", 0), x.type.rank)
    size = x.type.shape[axis]
    if n.has(1) or n.attr("split"):
        given: list[Dim] = n.dims(1) if n.has(1) else n.attr("split")
    else:
        count = len(n.outputs)
        if n.attr("num_outputs", count) != count:
            raise Refused(f"num_outputs is {n.attr('num_outputs')}, the node has {count} outputs")
        step = ceildiv(size, count)
        last = size - step * (count - 1)
        given = [step] * (count - 1) + [last]
    n.equal(sum_of(given), size, "the parts together and the axis")
    found: list[Value] = []
    low: Dim = 0
    for part in given:
        n.at_least(part, 0, "a part")
        found.append(part_of(x, axis, low, low + part))
        low = low + part
    return found


def sum_of(dims: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for d in dims:
        total = total + d
    return total


@op("Slice", since=10)
def slice_(n: OnnxNode) -> Value:
    starts, ends = n.dims(1), n.dims(2)
    axes = n.integers(3) if n.has(3) else list(range(len(starts)))
    steps = n.integers(4) if n.has(4) else [1] * len(starts)
    return _sliced(n, starts, ends, axes, steps)


@op("Slice")
def slice_1(n: OnnxNode) -> Value:
    starts, ends = n.attr("starts"), n.attr("ends")
    return _sliced(n, starts, ends, n.attr("axes") or list(range(len(starts))), [1] * len(starts))


def _sliced(
    n: OnnxNode, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int], steps: Sequence[int]
) -> Value:
    x = n.value(0)
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = n.axis(given, x.type.rank)
        size = x.type.shape[axis]
        if step == 0:
            raise Refused(f"the step of axis {axis} is 0")
        if step < 0:
            # from high to low: the same elements of the axis reversed
            x = b.reverse(x, (axis,))
            first = size - 1 - _bound(start, size, -1, size - 1)
            last = size - 1 - _bound(end, size, -1, size - 1)
        else:
            first, last = _bound(start, size, 0, size), _bound(end, size, 0, size)
        last = maximum(first, last)
        x = part_of(x, axis, first, last, abs(step))
    return x


def _bound(place: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
    """A place of an axis, counted from its end where it is negative, kept within low..high."""
    if isinstance(place, Expr):
        lo, hi = bounds(place)
        if hi < 0:
            place = place + size
        elif lo < 0:
            raise Refused(f"{dim_text(place)} may count from either end of an axis")
    elif place < 0:
        place = place + size
    return maximum(low, minimum(place, high))


@op("Expand")
def expand(n: OnnxNode) -> Value:
    x = n.value(0)
    wanted = n.dims(1)
    rank = max(len(wanted), x.type.rank)
    old: list[Dim] = [*[1] * (rank - x.type.rank), *x.type.shape]
    new: list[Dim] = [*[1] * (rank - len(wanted)), *wanted]
    shape: list[Dim] = []
    for k, (d, w) in enumerate(zip(old, new, strict=True)):
        if 1 not in (d, w):
            n.equal(d, w, f"axis {k} does not broadcast")
        shape.append(d if w == 1 else w)
    return b.broadcast_in_dim(x, shape, tuple(range(rank - x.type.rank, rank)))


@op("Tile")
def tile(n: OnnxNode) -> Value:
    x, repeats = n.value(0), n.dims(1)
    apart: list[Dim] = []
    wide: list[Dim] = []
    for d, r in zip(x.type.shape, repeats, strict=True):
        apart += [1, d]
        wide += [r, d]
    spread = b.broadcast_in_dim(b.reshape(x, apart), wide, tuple(range(len(wide))))
    return b.reshape(spread, [d * r for d, r in zip(x.type.shape, repeats, strict=True)])


@op("Dropout")
def dropout(n: OnnxNode) -> Any:
    """At inference x itself; the mask keeps all."""
    x = n.value(0)
    if n.has(2) and bool(n.scalar(2)) and (n.scalar(1, 0.5) != 0):
        raise Refused("dropout in training mode draws numbers of its own", "export the model in eval mode")
    mask = n.full(bool_ if n.opset >= 10 else x.type.dtype, x.type.shape, 1)
    return x, mask


@op("DepthToSpace")
def depth_to_space(n: OnnxNode) -> Tensor:
    return depth_to_space_(n.tensor(0), n.attr("blocksize"), n.attr("mode", "DCR"))


@op("SpaceToDepth")
def space_to_depth(n: OnnxNode) -> Tensor:
    x, block = n.tensor(0), n.attr("blocksize")
    return pixel_unshuffle(x, block) if n.attr("mode", "DCR") == "CRD" else space_to_depth_(x, block)


MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""ONNX's names of the modes of padding, and PyTorch's."""


@op("Pad", since=11)
def pad(n: OnnxNode) -> Value:
    x = n.value(0)
    axes = n.integers(3) if n.has(3) else list(range(x.type.rank))
    value = b.reshape(n.value(2), ()) if n.has(2) else None
    return _padded(n, x, n.dims(1), axes, value)


@op("Pad")
def pad_2(n: OnnxNode) -> Value:
    x = n.value(0)
    value = b.full(x.type.with_shape(()), n.attr("value", 0.0))
    return _padded(n, x, n.attr("pads"), list(range(x.type.rank)), value)


def _padded(n: OnnxNode, x: Value, given: Sequence[Dim], axes: Sequence[int], value: Value | None) -> Value:
    pads = [d for d in given if isinstance(d, int)]
    mode = n.attr("mode", "constant")
    if len(pads) != len(given):
        raise Refused("the pads are symbolic", "give the sizes: inputs={...} or dims={...}")
    if len(pads) != 2 * len(axes):
        raise Refused(f"{len(pads)} pads for {len(axes)} axes")
    amounts = {n.axis(a, x.type.rank): (pads[k], pads[k + len(axes)]) for k, a in enumerate(axes)}
    if mode == "constant":
        value = b.full(x.type.with_shape(()), 0) if value is None else value
        both = [amounts.get(k, (0, 0)) for k in range(x.type.rank)]
        for d, (low, high) in zip(x.type.shape, both, strict=True):
            n.at_least(d + low + high, 0, "what is left")
        return b.pad(x, value, [p[0] for p in both], [p[1] for p in both])
    if mode not in MODES:
        raise Refused(f"mode is {mode!r}, expected constant, {', '.join(MODES)}")
    for axis, (low, high) in amounts.items():
        if min(low, high) < 0:
            cut = part_of(x, axis, max(-low, 0), x.type.shape[axis] - max(-high, 0))
            x, low, high = cut, max(low, 0), max(high, 0)
        if mode != "edge":
            n.at_least(x.type.shape[axis], max(low, high) + (mode == "reflect"), f"axis {axis}")
        x = pad_axis(x, axis, low, high, MODES[mode])
    return x
