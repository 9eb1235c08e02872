"""Boxes at computed corners in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.types import i64
from .elementwise import Emitter
from .writer import Writer, result

__all__ = ["EMITTERS"]


def _corner(w: Writer, starts: Value, axes: Sequence[int], sizes: Sequence[Dim], shape: Sequence[Dim]) -> str:
    """Where the box begins on these axes, moved until it lies within."""
    name = w.tensor(starts)
    if len(axes) < len(shape):
        name = w.node("Gather", [name, w.vector(axes)], axis=0)
    room = w.shape([shape[a] - sizes[a] for a in axes])
    return w.node("Max", [w.node("Min", [name, room]), w.vector([0])])


def _moved_axes(sizes: Sequence[Dim], shape: Sequence[Dim]) -> list[int]:
    """The axes on which the box may lie in more than one place."""
    return [a for a, (size, d) in enumerate(zip(sizes, shape, strict=True)) if size != d]


def dynamic_slice(w: Writer, node: Node) -> None:
    x, starts = node.operands
    sizes, shape = node.results[0].type.shape, x.type.shape
    axes = _moved_axes(sizes, shape)
    if not axes:
        result(w, node, w.node("Identity", [w.tensor(x)]))
        return
    first = _corner(w, starts, axes, sizes, shape)
    last = w.node("Add", [first, w.shape([sizes[a] for a in axes])])
    result(w, node, w.node("Slice", [w.tensor(x), first, last, w.vector(axes)]))


def dynamic_update_slice(w: Writer, node: Node) -> None:
    """ScatterND of whole slices: an index for each place of the axes up to the last on which the box may move."""
    x, update, starts = node.operands
    sizes, shape = update.type.shape, x.type.shape
    moved = _moved_axes(sizes, shape)
    if not moved or any(size == 0 for size in sizes):
        result(w, node, w.node("Identity", [w.tensor(update if not moved else x)]))
        return
    count = moved[-1] + 1
    first = _corner(w, starts, range(count), sizes, shape)
    box = w.shape(sizes[:count])
    parts: list[str] = []
    for axis in range(count):
        line = w.node("Range", [w.scalar(0, i64), w.reshape(w.dim(sizes[axis]), ()), w.scalar(1, i64)])
        line = w.node("Add", [line, w.node("Gather", [first, w.vector([axis])], axis=0)])
        others = [a for a in range(count + 1) if a != axis]
        line = w.node("Unsqueeze", [line, w.vector(others)])
        one = w.vector([1])
        parts.append(w.node("Expand", [line, w.node("Concat", [box, one], axis=0)]))
    indices = w.node("Concat", parts, axis=count)
    result(w, node, w.node("ScatterND", [w.tensor(x), indices, w.tensor(update)]))


EMITTERS: dict[str, Emitter] = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
}
