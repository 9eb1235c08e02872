"""Rules of data movement: exact, they move bits."""

from __future__ import annotations

from ...ir import build as b
from ...ir.dims import Dim, bounds
from ...ir.graph import Node, Value, make_one
from ...ir.ops.move import Concat, Pad, Permute, Reshape, Reverse, Slice
from .base import Rule, number_of, producer

__all__ = ["RULES"]


def merge_permutes(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Permute)
    if inner is None or not isinstance(node.op, Permute) or not isinstance(inner.op, Permute):
        return None
    return b.permute(inner.operands[0], tuple(inner.op.axes[a] for a in node.op.axes))


def permute_only_ones(node: Node, operands: tuple[Value, ...]) -> Value | None:
    x = operands[0]
    assert isinstance(node.op, Permute)
    moved = [a for a in node.op.axes if x.type.shape[a] != 1]
    return b.reshape(x, node.results[0].type.shape) if moved == sorted(moved) else None


def merge_reshapes(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reshape)
    return None if inner is None else b.reshape(inner.operands[0], node.results[0].type.shape)


def merge_slices(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Slice)
    if inner is None or not isinstance(node.op, Slice) or not isinstance(inner.op, Slice):
        return None
    outer, within = node.op, inner.op
    places: list[tuple[Dim, Dim]] = []
    for axis, size in enumerate(inner.operands[0].type.shape):
        start, limit = outer.starts[axis], outer.limits[axis]
        low, high = within.starts[axis], within.limits[axis]
        if (start, limit) == (0, operands[0].type.shape[axis]):
            places.append((low, high))
        elif (low, high) == (0, size):
            places.append((start, limit))
        elif all(isinstance(d, int) for d in (start, limit, low)):
            places.append((low + start, low + limit))
        else:
            return None
    if any(s != 1 for s in within.strides):
        return None
    starts, limits = [start for start, _ in places], [limit for _, limit in places]
    return b.slice_(inner.operands[0], starts, limits, outer.strides)


def slice_of_concat(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Concat)
    if inner is None or not isinstance(node.op, Slice) or not isinstance(inner.op, Concat):
        return None
    op, axis = node.op, inner.op.axis
    start, limit = op.starts[axis], op.limits[axis]
    offset = 0
    for part in inner.operands:
        size = part.type.shape[axis]
        if not isinstance(size, int) or not isinstance(start, int) or not isinstance(limit, int):
            return None
        if offset <= start and limit <= offset + size and start < limit:
            starts = (*op.starts[:axis], start - offset, *op.starts[axis + 1 :])
            limits = (*op.limits[:axis], limit - offset, *op.limits[axis + 1 :])
            return b.slice_(part, starts, limits, op.strides)
        offset += size
    return None


def slice_of_permute(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Permute)
    if inner is None or not isinstance(node.op, Slice) or not isinstance(inner.op, Permute):
        return None
    axes = inner.op.axes
    starts, limits, strides = (
        [items[axes.index(a)] for a in range(len(axes))]
        for items in (node.op.starts, node.op.limits, node.op.strides)
    )
    return b.permute(make_one(Slice(tuple(starts), tuple(limits), tuple(strides)), inner.operands[0]), axes)  # type: ignore[arg-type]


def slice_of_unit_reshape(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reshape)
    if inner is None or not isinstance(node.op, Slice):
        return None
    op, x = node.op, inner.operands[0]
    old, new = x.type.shape, operands[0].type.shape
    wide_old, wide_new = ([a for a, d in enumerate(shape) if d != 1] for shape in (old, new))
    same = [old[a] for a in wide_old] == [new[a] for a in wide_new]
    whole = all((op.starts[a], op.limits[a]) == (0, 1) for a in range(len(new)) if a not in wide_new)
    if not same or not whole:
        return None
    starts, limits, strides = [0] * len(old), [1] * len(old), [1] * len(old)
    for a, c in zip(wide_old, wide_new, strict=True):
        starts[a], limits[a], strides[a] = op.starts[c], op.limits[c], op.strides[c]  # type: ignore[call-overload]
    part = make_one(Slice(tuple(starts), tuple(limits), tuple(strides)), x)
    return b.reshape(part, node.results[0].type.shape)


def concat_without_empty(node: Node, operands: tuple[Value, ...]) -> Value | None:
    assert isinstance(node.op, Concat)
    axis = node.op.axis
    kept = [o for o in operands if o.type.shape[axis] != 0]
    return b.concat(kept, axis) if kept and len(kept) < len(operands) else None


def concat_of_neighbours(node: Node, operands: tuple[Value, ...]) -> Value | None:
    assert isinstance(node.op, Concat)
    axis, parts = node.op.axis, [producer(o, Slice) for o in operands]
    first, last = parts[0], parts[-1]
    if first is None or last is None or not isinstance(first.op, Slice) or not isinstance(last.op, Slice):
        return None
    place = first.op.starts[axis]
    for part in parts:
        if part is None or not isinstance(part.op, Slice) or part.operands[0] is not first.operands[0]:
            return None
        op = part.op
        rest = _without(op.starts, axis), _without(op.limits, axis)
        same = rest == (_without(first.op.starts, axis), _without(first.op.limits, axis))
        if not same or any(s != 1 for s in op.strides) or op.starts[axis] != place:
            return None
        place = op.limits[axis]
    return b.slice_(first.operands[0], first.op.starts, last.op.limits)


def _without(entries: tuple[object, ...], axis: int) -> tuple[object, ...]:
    return entries[:axis] + entries[axis + 1 :]


def merge_pads(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Pad)
    if inner is None or not isinstance(node.op, Pad) or not isinstance(inner.op, Pad):
        return None
    outer, within = node.op, inner.op
    amounts = (*outer.low, *outer.high, *within.low, *within.high)
    a, c = number_of(operands[1]), number_of(inner.operands[1])
    same = operands[1] is inner.operands[1] or (
        a is not None and c is not None and a.tobytes() == c.tobytes()
    )
    if not same or min(amounts, default=0) < 0 or any(outer.interior):
        return None
    low = tuple(p + q for p, q in zip(outer.low, within.low, strict=True))
    high = tuple(p + q for p, q in zip(outer.high, within.high, strict=True))
    return b.pad(inner.operands[0], operands[1], low, high, within.interior)


def merge_reverses(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Reverse)
    if inner is None or not isinstance(inner.op, Reverse) or not isinstance(node.op, Reverse):
        return None
    once = [a for a in range(operands[0].type.rank) if (a in inner.op.axes) != (a in node.op.axes)]
    return b.reverse(inner.operands[0], once)


def reverse_of_short(node: Node, operands: tuple[Value, ...]) -> Value | None:
    assert isinstance(node.op, Reverse)
    shape = operands[0].type.shape
    long = tuple(a for a in node.op.axes if bounds(shape[a])[1] > 1)
    if len(long) == len(node.op.axes):
        return None
    return make_one(Reverse(long), operands[0]) if long else operands[0]


RULES = (
    # permute(permute(x, p), q) = permute(x, p then q)
    Rule("merge-permutes", Permute, merge_permutes),
    # permute(x, p) = reshape(x)                               where p moves only axes of size 1
    Rule("permute-only-ones", Permute, permute_only_ones),
    # reshape(reshape(x)) = reshape(x)
    Rule("merge-reshapes", Reshape, merge_reshapes),
    # x[a:b][c:d:s] = x[a+c:a+d:s]
    Rule("merge-slices", Slice, merge_slices),
    # concat(x, y)[a:b] = x[a:b]                               where a:b lies within x
    Rule("slice-of-concat", Slice, slice_of_concat),
    # permute(x, p)[i] = permute(x[i at p], p)
    Rule("slice-of-permute", Slice, slice_of_permute),
    # reshape(x)[i] = reshape(x[i])                            where only axes of size 1 come or go
    Rule("slice-of-unit-reshape", Slice, slice_of_unit_reshape),
    # concat(x, empty, y) = concat(x, y)
    Rule("concat-without-empty", Concat, concat_without_empty),
    # concat(x[a:b], x[b:c]) = x[a:c]
    Rule("concat-of-neighbours", Concat, concat_of_neighbours),
    # pad(pad(x, p), q) = pad(x, p + q)                        with one value, none cut off
    Rule("merge-pads", Pad, merge_pads),
    # reverse(reverse(x, a), b) = reverse(x, axes in one of a and b)
    Rule("merge-reverses", Reverse, merge_reverses),
    # reverse(x, a) = x                                        along axes of at most one element
    Rule("reverse-of-short", Reverse, reverse_of_short),
)
