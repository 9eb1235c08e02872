"""Reading and writing at computed positions.

Every index is total: one below 0 reads or writes at 0, one beyond the end at the last element. Entry checks of a
program (labels within the classes) belong to the frontend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import bounds
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType
from .common import axes_of, need, need_kind

__all__ = ["Gather", "GatherElements", "ScatterElements"]


def _clamped(indices: Array, size: int) -> Array:
    return np.clip(indices, 0, max(size - 1, 0)).astype(np.int64)


class Indexing(Op):
    """A family that reads or writes where an integer operand says."""

    def check(self, axis: int, x: TensorType, indices: TensorType) -> None:
        axes_of(self, (axis,), x)
        need_kind(self, indices, ("int", "uint"), what="the index")
        empty = bounds(indices.size)[1] == 0
        need(
            self,
            empty or bounds(x.shape[axis])[0] > 0,
            f"axis {axis} may be empty and cannot be indexed",
            x,
            indices,
        )

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands[1:], results) + results[0].nbytes)


@register
@dataclass(frozen=True)
class Gather(Indexing):
    """Whole slices of x along an axis, picked by index: an embedding look-up.

    Equation: y[a, i, b] = x[a, indices[i], b], with a, i, b each any number of axes
    Shapes:   x T[A..., d, B...], indices I[S] -> T[A..., S..., B...]
    Gradient: dy added at the indices
    Source:   ONNX Gather-13 with indices clamped
    """

    mnemonic = "gather"
    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check(self.axis, x, indices)
        return x.with_shape(x.shape[: self.axis] + indices.shape + x.shape[self.axis + 1 :])

    def evaluate(self, x: Array, indices: Array, **_: Any) -> Array:
        return np.take(x, _clamped(indices, x.shape[self.axis]), axis=self.axis)


@register
@dataclass(frozen=True)
class GatherElements(Indexing):
    """One element of x for each index, along an axis.

    Equation: y[a, j, b] = x[a, indices[a, j, b], b]
    Shapes:   x T[A..., d, B...], indices I[A..., e, B...] -> T[A..., e, B...]
    Gradient: dy added at the indices
    Source:   ONNX GatherElements-13 with indices clamped
    """

    mnemonic = "gather_elements"
    axis: int

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check(self.axis, x, indices)
        _need_aligned(self, self.axis, x, indices)
        return x.with_shape(indices.shape)

    def evaluate(self, x: Array, indices: Array, **_: Any) -> Array:
        return np.take_along_axis(x, _clamped(indices, x.shape[self.axis]), axis=self.axis)


@register
@dataclass(frozen=True)
class ScatterElements(Indexing):
    """x with values set or added at indices along an axis, in the row-major order of the updates.

    Equation: y = x; y[a, indices[a, j, b], b] = or += updates[a, j, b], one after the other
    Shapes:   x T[A..., d, B...], indices I[A..., e, B...], updates T[A..., e, B...] -> T[A..., d, B...]
    Args:     mode: "add" or "set"
    Source:   ONNX ScatterElements-18 with indices clamped and the order fixed
    """

    mnemonic = "scatter_elements"
    accuracy = Accuracy.REASSOCIATED
    axis: int
    mode: str = "add"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        need(
            self,
            self.mode in ("add", "set"),
            f'mode is "{self.mode}", expected "add" or "set"',
            x,
            indices,
            updates,
        )
        self.check(self.axis, x, indices)
        _need_aligned(self, self.axis, x, indices)
        need(
            self,
            updates == x.with_shape(indices.shape),
            f"updates are {updates}, expected {x.with_shape(indices.shape)}",
            x,
            indices,
            updates,
        )
        need(self, self.mode == "set" or x.dtype.kind != "bool", "bool does not add", x, indices, updates)
        return x

    def evaluate(self, x: Array, indices: Array, updates: Array, **_: Any) -> Array:
        out = x.copy()
        places: list[Any] = list(np.indices(indices.shape))
        places[self.axis] = _clamped(indices, x.shape[self.axis])
        if self.mode == "set":
            out[tuple(places)] = updates
        else:
            np.add.at(out, tuple(places), updates)
        return out

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[2].size, traffic(operands, results))


def _need_aligned(op: Op, axis: int, x: TensorType, indices: TensorType) -> None:
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    fits = indices.rank == x.rank and rest == indices.shape[:axis] + indices.shape[axis + 1 :]
    need(op, fits, f"x and indices differ outside axis {axis}", x, indices)
