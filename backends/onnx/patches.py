"""Windows as channels in ONNX: gathers along the spatial axes; and back by Col2Im, or by adding at positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.dims import Dim, product
from ...ir.graph import Node
from ...ir.ops.common import accumulator
from ...ir.ops.patches import FoldPatches, Patches
from ...ir.types import DType, f32, i32, i64
from .elementwise import Emitter
from .move import pad_tensor
from .writer import Writer, result

__all__ = ["EMITTERS"]


def _positions(w: Writer, op: Patches | FoldPatches, axis: int, windows: Dim) -> str:
    """Where the places of all windows lie along a padded axis: i64[places, windows]."""
    places = np.arange(op.window[axis], dtype=np.int64)[:, None] * op.dilation[axis]
    if isinstance(windows, int):
        return w.constant(places + np.arange(windows, dtype=np.int64) * op.strides[axis])
    line = w.node("Range", [w.scalar(0, i64), w.reshape(w.dim(windows), ()), w.scalar(1, i64)])
    return w.node("Add", [w.constant(places), w.node("Mul", [line, w.scalar(op.strides[axis], i64)])])


def patches(w: Writer, node: Node) -> None:
    op, x = node.op, node.operands[0]
    assert isinstance(op, Patches)
    dtype, spatial = x.type.dtype, len(op.window)
    inner = {"i16": i32, "bf16": f32}.get(dtype.name, dtype)
    name = w.cast(w.tensor(x), dtype, inner)
    if any(any(p) for p in op.padding):
        low, high = [0, 0, *(p[0] for p in op.padding)], [0, 0, *(p[1] for p in op.padding)]
        name = pad_tensor(w, name, w.scalar(0, inner), x.type.shape, low, high, [0] * (spatial + 2))
    shape = node.results[0].type.shape
    for axis in range(spatial):
        name = w.node("Gather", [name, _positions(w, op, axis, shape[axis + 2])], axis=2 + 2 * axis)
    if spatial > 1:
        order = [0, 1, *range(2, 2 + 2 * spatial, 2), *range(3, 3 + 2 * spatial, 2)]
        name = w.node("Transpose", [name], perm=order)
    result(w, node, w.cast(w.reshape(name, shape), inner, dtype))


def fold_patches(w: Writer, node: Node) -> None:
    op, x = node.op, node.operands[0]
    assert isinstance(op, FoldPatches)
    dtype = x.type.dtype
    acc = accumulator(dtype, None)
    name = w.cast(w.tensor(x), dtype, acc)
    if acc == f32 and len(op.window) == 2 and min(min(p) for p in op.padding) >= 0:
        name = _column_to_image(w, op, name, node)
    else:
        name = _added(w, op, name, node, acc)
    result(w, node, w.cast(name, acc, dtype))


def _column_to_image(w: Writer, op: FoldPatches, name: str, node: Node) -> str:
    """Col2Im; onnxruntime's is right for two spatial axes only."""
    shape = node.operands[0].type.shape
    w.need(18)
    columns = w.reshape(name, (*shape[:2], product(shape[2:])))
    pads = [p[0] for p in op.padding] + [p[1] for p in op.padding]
    found = w.node(
        "Col2Im", [columns, w.shape(op.sizes), w.vector(op.window)], strides=list(op.strides),
        dilations=list(op.dilation), pads=pads,
    )  # fmt: skip
    return w.reshape(found, node.results[0].type.shape)


def _added(w: Writer, op: FoldPatches, name: str, node: Node, dtype: DType) -> str:
    """Each element added at its position in a padded image, the channels one after the other."""
    shape, out = node.operands[0].type.shape, node.results[0].type.shape
    spatial = len(op.window)
    padded = [d + lo + hi for d, (lo, hi) in zip(op.sizes, op.padding, strict=True)]
    positions: str | None = None
    for axis in range(spatial):
        name_here = _positions(w, op, axis, shape[axis + 2])
        name_here = w.node("Mul", [name_here, w.reshape(w.dim(product(tuple(padded[axis + 1 :]))), ())])
        others = [a for a in range(2 * spatial) if a % spatial != axis]
        name_here = w.node("Unsqueeze", [name_here, w.vector(others)]) if others else name_here
        positions = name_here if positions is None else w.node("Add", [positions, name_here])
    assert positions is not None
    images = out[0] * out[1]
    per_image = op.places * product(shape[2:])
    rows = w.node(
        "Expand", [w.scalar(0, i64), w.shape((images, 1))]
    )  # a row alone would stay where there is no image
    positions = w.node("Add", [rows, w.reshape(positions, (1, per_image))])
    empty = w.node("Expand", [w.scalar(0, dtype), w.shape((images, product(tuple(padded))))])
    parts = w.reshape(name, (images, per_image))
    found = w.node("ScatterElements", [empty, positions, parts], axis=1, reduction="add")
    return _cut(w, op, w.reshape(found, (*out[:2], *padded)), (*out[:2], *padded), dtype)


def _cut(w: Writer, op: FoldPatches, name: str, shape: Sequence[Dim], dtype: DType) -> str:
    """The image without its padding; zeros where the windows cut something."""
    low, high = [0, 0, *(-p[0] for p in op.padding)], [0, 0, *(-p[1] for p in op.padding)]
    if not any((*low, *high)):
        return name
    inner = {"i16": i32}.get(dtype.name, dtype)
    name = w.cast(name, dtype, inner)
    name = pad_tensor(w, name, w.scalar(0, inner), shape, low, high, [0] * len(shape))
    return w.cast(name, inner, dtype)


EMITTERS: dict[str, Emitter] = {
    "patches": patches,
    "fold_patches": fold_patches,
}
