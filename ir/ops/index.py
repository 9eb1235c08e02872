"""Reading and writing at computed positions.

Every index is total: one below 0 reads or writes at 0, one beyond the end at the last element. Entry checks of a
program (labels within the classes) belong to the frontend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, Shape, bounds, dim_text
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType, i64
from .common import axes_of, need, need_kind

__all__ = [
    "SCATTER_MODES",
    "DynamicSlice",
    "DynamicUpdateSlice",
    "Gather",
    "GatherElements",
    "ScatterElements",
]

SCATTER_MODES = ("add", "set", "mul", "min", "max")
_COMBINE: dict[str, Any] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


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
    """x with values set or joined at indices along an axis, in the row-major order of the updates.

    Equation: y = x; y[a, i, b] = y[a, i, b] op updates[a, j, b], i = indices[a, j, b], one after the other
    Shapes:   x T[A..., d, B...], indices I[A..., e, B...], updates T[A..., e, B...] -> T[A..., d, B...]
    Args:     mode: "add", "mul", "min" or "max"; "set" takes the update alone. bool is only set
    Gradient: add, set: dy at the indices, of "set" to the last writer; mul: the product of the others, by division
              where none is 0; min, max: dy shared among all that equal the result, x itself among them
    Numerics: min and max propagate NaN
    Source:   ONNX ScatterElements-18 with indices clamped and the order fixed; PyTorch scatter_reduce
    """

    mnemonic = "scatter_elements"
    accuracy = Accuracy.REASSOCIATED
    axis: int
    mode: str = "add"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        need(
            self,
            self.mode in SCATTER_MODES,
            f'mode is "{self.mode}", expected one of {", ".join(SCATTER_MODES)}',
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
        joins = self.mode == "set" or x.dtype.kind != "bool"
        need(self, joins, f'bool has no mode "{self.mode}"', x, indices, updates)
        return x

    def evaluate(self, x: Array, indices: Array, updates: Array, **_: Any) -> Array:
        out = x.copy()
        places: list[Any] = list(np.indices(indices.shape))
        places[self.axis] = _clamped(indices, x.shape[self.axis])
        if self.mode == "set":
            out[tuple(places)] = updates
        else:
            with np.errstate(all="ignore"):
                _COMBINE[self.mode].at(out, tuple(places), updates)
        return out

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[2].size, traffic(operands, results))


class AtStarts(Op):
    """A family that reads or writes a box whose corner is computed; the box is moved until it lies within x."""

    def check(self, x: TensorType, starts: TensorType, sizes: Sequence[Dim], *types: TensorType) -> None:
        wanted = TensorType(i64, (x.rank,))
        need(self, starts == wanted, f"starts is {starts}, expected {wanted}, one an axis", *types)
        need(self, len(sizes) == x.rank, f"{len(sizes)} sizes for {x.rank} axes", *types)
        for axis, (size, d) in enumerate(zip(sizes, x.shape, strict=True)):
            fits = bounds(size)[0] >= 0 and bounds(d - size)[0] >= 0
            found = f"{dim_text(size)} elements of {dim_text(d)}"
            need(self, fits, f"axis {axis}: {found} are not known to be there", *types)

    @staticmethod
    def box(starts: Array, sizes: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
        """Where the box lies."""
        return tuple(
            slice(low, low + size)
            for s, size, d in zip(starts.tolist(), sizes, shape, strict=True)
            for low in (min(max(s, 0), d - size),)
        )


@register
@dataclass(frozen=True)
class DynamicSlice(AtStarts):
    """A box of x of known size, at a corner that is computed.

    Equation: y[i] = x[s + i], s = min(max(starts, 0), the shape of x - sizes)
    Shapes:   x T[S...], starts i64[rank of x] -> T[sizes...]
    Args:     sizes: of the box, axis by axis, each at most x's
    Gradient: dy in a box of zeros
    Numerics: exact, moves bits
    Source:   StableHLO dynamic_slice
    """

    mnemonic = "dynamic_slice"
    sizes: Shape

    def infer(self, x: TensorType, starts: TensorType) -> TensorType:
        self.check(x, starts, self.sizes, x, starts)
        return x.with_shape(self.sizes)

    def evaluate(self, x: Array, starts: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        return x[self.box(starts, types[0].static_shape(), x.shape)].copy()

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands[1:], results) + results[0].nbytes)


@register
@dataclass(frozen=True)
class DynamicUpdateSlice(AtStarts):
    """x with a box of it replaced, at a corner that is computed.

    Equation: y = x; y[s + i] = update[i], s = min(max(starts, 0), the shape of x - that of update)
    Shapes:   x T[S...], update T[U...], starts i64[rank of x] -> T[S...], U at most S in each axis
    Gradient: dx = dy with zeros in the box, dupdate = the box of dy
    Numerics: exact, moves bits
    Source:   StableHLO dynamic_update_slice
    """

    mnemonic = "dynamic_update_slice"

    def infer(self, x: TensorType, update: TensorType, starts: TensorType) -> TensorType:
        types = (x, update, starts)
        need(self, update.dtype == x.dtype, f"element types differ: {x.dtype} and {update.dtype}", *types)
        self.check(x, starts, update.shape, *types)
        return x

    def evaluate(self, x: Array, update: Array, starts: Array, **_: Any) -> Array:
        out = np.array(x)
        out[self.box(starts, update.shape, x.shape)] = update
        return out

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


def _need_aligned(op: Op, axis: int, x: TensorType, indices: TensorType) -> None:
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    fits = indices.rank == x.rank and rest == indices.shape[:axis] + indices.shape[axis + 1 :]
    need(op, fits, f"x and indices differ outside axis {axis}", x, indices)
