"""Sorting along an axis. One rule for all: stable, so that equals keep their order; NaN is greater than all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import bounds, dim_text
from ..op import Cost, Op, register, traffic
from ..types import Array, TensorType, i64
from .common import axes_of, need, need_kind, widen

__all__ = ["Sort", "TopK"]


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Where the elements of each line stand in x, in the order of the sorted line."""
    wide = widen(x)
    if not descending:
        return np.argsort(wide, axis=axis, kind="stable")
    # sorting the line from its end and reading the result from its end leaves equals in their order
    backwards = np.argsort(np.flip(wide, axis), axis=axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - backwards, axis)


def _taken(x: Array, order: Array, axis: int) -> tuple[Array, Array]:
    indices = np.ascontiguousarray(order).astype(np.int64)
    return np.take_along_axis(x, indices, axis=axis), indices


@register
@dataclass(frozen=True)
class Sort(Op):
    """Each line along an axis in order, and where its elements stood.

    Shapes:   x T[S] -> T[S], i64[S]
    Args:     axis; descending: the greatest first
    Gradient: dy written back to where the elements stood
    Numerics: exact; equals (0 and -0 too) keep their order, NaN is greater than infinity
    Source:   numpy.argsort with kind "stable"; PyTorch torch.sort
    """

    mnemonic = "sort"
    axis: int
    descending: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        need_kind(self, x, ("float", "int", "uint"))
        axes_of(self, (self.axis,), x)
        return x, x.with_dtype(i64)

    def evaluate(self, x: Array, **_: Any) -> tuple[Array, Array]:
        return _taken(x, _order(x, self.axis, self.descending), self.axis)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(_comparisons(operands[0], self.axis), traffic(operands, results))


@register
@dataclass(frozen=True)
class TopK(Op):
    """The k greatest or least of each line along an axis, in order, and where they stood.

    Shapes:   x T[S] -> T[S'], i64[S'], S' being S with k on the axis
    Args:     k: 0 <= k <= the axis; axis; largest: the greatest first, else the least
    Gradient: dy written back to where the elements stood
    Numerics: exact; of equals the first comes first, NaN is greater than infinity
    Source:   ONNX TopK-11, PyTorch torch.topk with the order of equals fixed
    """

    mnemonic = "top_k"
    k: int
    axis: int
    largest: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        need_kind(self, x, ("float", "int", "uint"))
        axes_of(self, (self.axis,), x)
        size = x.shape[self.axis]
        need(
            self,
            0 <= self.k <= bounds(size)[0],
            f"k is {self.k}, expected 0 <= k <= {dim_text(size)}, the size of axis {self.axis}",
            x,
        )
        shape = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return x.with_shape(shape), TensorType(i64, shape)

    def evaluate(self, x: Array, **_: Any) -> tuple[Array, Array]:
        order = _order(x, self.axis, self.largest)
        return _taken(x, order.take(range(self.k), axis=self.axis), self.axis)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(_comparisons(operands[0], self.axis), traffic(operands, results))


def _comparisons(x: TensorType, axis: int) -> Any:
    """n log n of each line; a line of symbolic size counts as one of its least."""
    return x.size * max(bounds(x.shape[axis])[0].bit_length(), 1)
