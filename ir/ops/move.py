"""Data movement: exact, moves bits. Shapes may hold symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, Shape, bounds, ceildiv, dim_text, product, shape_text
from ..op import Cost, Op, register, traffic
from ..types import Array, TensorType
from .common import axes_of, need, need_kind

__all__ = ["BroadcastInDim", "Concat", "Movement", "Pad", "Permute", "Reshape", "Reverse", "Slice"]


class Movement(Op):
    """A family that moves elements and computes nothing."""

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


@register
@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements in row-major order under another shape.

    Shapes:  T[S] -> T[shape], with equally many elements
    Raises:  TypeInferenceError where the counts are not provably equal
    Source:  StableHLO reshape; ONNX Reshape-25 without 0 and -1
    """

    mnemonic = "reshape"
    shape: Shape

    def infer(self, x: TensorType) -> TensorType:
        if product(x.shape) != product(self.shape):
            raise self.error(
                f"{dim_text(x.size)} elements do not fill {shape_text(self.shape)}"
                f" with {dim_text(product(self.shape))}",
                x,
            )
        return x.with_shape(self.shape)

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        return x.reshape(types[0].static_shape())

    def fold(self, x: Any) -> Any:
        return x if x.type.shape == self.shape else None


@register
@dataclass(frozen=True)
class Permute(Movement):
    """Reorder axes: axis k of the result is axis axes[k] of x.

    Shapes:  x T[d0, ..., dn] -> T[d_axes[0], ..., d_axes[n]]
    Args:    axes: a permutation of 0..n
    Raises:  TypeInferenceError where axes is no permutation of x's axes
    Source:  ONNX Transpose-25, StableHLO transpose
    """

    mnemonic = "permute"
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        need(
            self,
            sorted(self.axes) == list(range(x.rank)),
            f"{list(self.axes)} is no permutation of the axes",
            x,
        )
        return x.with_shape(tuple(x.shape[a] for a in self.axes))

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.transpose(x, self.axes), order="C")

    def fold(self, x: Any) -> Any:
        return x if self.axes == tuple(range(len(self.axes))) else None

    @property
    def exchanges(self) -> bool:
        """Whether the first two axes are exchanged, and no others."""
        return self.axes == (1, 0, *range(2, len(self.axes)))


@register
@dataclass(frozen=True)
class BroadcastInDim(Movement):
    """Repeat x to a larger shape: axis k of x becomes axis axes[k] of the result.

    Shapes:  x T[s0, ..., sn] -> T[shape], where s_k is 1 or shape[axes[k]]
    Args:    shape: the result's; axes: one increasing axis of the result for each of x
    Source:  StableHLO broadcast_in_dim
    """

    mnemonic = "broadcast_in_dim"
    shape: Shape
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        result = x.with_shape(self.shape)
        need(self, len(self.axes) == x.rank, f"{len(self.axes)} axes for a rank {x.rank} operand", x)
        need(self, list(self.axes) == sorted(set(self.axes)), f"axes {list(self.axes)} do not increase", x)
        axes_of(self, self.axes, result)
        for size, axis in zip(x.shape, self.axes, strict=True):
            if size not in (1, self.shape[axis]):
                raise self.error(
                    f"{dim_text(size)} does not broadcast to {dim_text(self.shape[axis])} on axis {axis}", x
                )
        return result

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        shape = types[0].static_shape()
        side = [1] * len(shape)
        for size, axis in zip(x.shape, self.axes, strict=True):
            side[axis] = size
        return np.asarray(np.broadcast_to(x.reshape(side), shape), order="C")

    def fold(self, x: Any) -> Any:
        return x if x.type.shape == self.shape else None


@register
@dataclass(frozen=True)
class Slice(Movement):
    """Take elements start, start + stride, ... below limit along each axis.

    Shapes:  x T[d...] -> T[ceil((limit - start) / stride)...]
    Args:    starts, limits: dims with 0 <= start <= limit <= d; strides: integers >= 1
    Source:  StableHLO slice
    """

    mnemonic = "slice"
    starts: Shape
    limits: Shape
    strides: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        need(
            self,
            len(self.starts) == len(self.limits) == len(self.strides) == x.rank,
            "one entry an axis expected",
            x,
        )
        shape: list[Dim] = []
        for axis, (lo, hi, step) in enumerate(zip(self.starts, self.limits, self.strides, strict=True)):
            room = x.shape[axis]
            if step < 1 or bounds(lo)[0] < 0 or bounds(hi - lo)[0] < 0 or bounds(room - hi)[0] < 0:
                raise self.error(
                    f"{dim_text(lo)}:{dim_text(hi)}:{step} is not within 0:{dim_text(room)} on axis {axis}", x
                )
            shape.append(ceildiv(hi - lo, step))
        return x.with_shape(tuple(shape))

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], env: dict[str, int], **_: Any) -> Array:
        starts = TensorType(types[0].dtype, self.starts).concrete(env)
        limits = TensorType(types[0].dtype, self.limits).concrete(env)
        picks = tuple(slice(a, b, s) for a, b, s in zip(starts, limits, self.strides, strict=True))
        return np.asarray(x[picks], order="C")

    def fold(self, x: Any) -> Any:
        whole = all(s == 0 for s in self.starts) and self.limits == x.type.shape and set(self.strides) <= {1}
        return x if whole else None


@register
@dataclass(frozen=True)
class Pad(Movement):
    """Put a value around x and between its elements; negative amounts cut off.

    Shapes:  x T[d...], value T[] -> T[low + d + max(d - 1, 0) * interior + high ...]
    Args:    low, high: integers an axis; interior: integers >= 0
    Source:  StableHLO pad
    """

    mnemonic = "pad"
    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]

    def infer(self, x: TensorType, value: TensorType) -> TensorType:
        need(
            self,
            len(self.low) == len(self.high) == len(self.interior) == x.rank,
            "one entry an axis expected",
            x,
        )
        need(self, value == TensorType(x.dtype), f"the value is {value}, expected {x.dtype}[]", x, value)
        shape: list[Dim] = []
        for axis, d in enumerate(x.shape):
            gaps = (d - 1) * self.interior[axis] if bounds(d)[0] > 0 else 0
            need(
                self,
                self.interior[axis] == 0 or bounds(d)[0] > 0,
                f"axis {axis} may be empty, interior needs 1",
                x,
            )
            size = self.low[axis] + d + gaps + self.high[axis]
            need(self, bounds(size)[0] >= 0, f"axis {axis} would have {dim_text(size)} elements", x)
            shape.append(size)
        return x.with_shape(tuple(shape))

    def evaluate(self, x: Array, value: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        spread = [max(d + (d - 1) * i, 0) for d, i in zip(x.shape, self.interior, strict=True)]
        inner = np.full(spread, value, dtype=x.dtype)
        inner[tuple(slice(None, None, i + 1) for i in self.interior)] = x
        out = np.full(types[0].static_shape(), value, dtype=x.dtype)
        source = tuple(
            slice(min(max(-lo, 0), d), max(d - max(-hi, 0), 0))
            for lo, hi, d in zip(self.low, self.high, spread, strict=True)
        )
        kept = inner[source]
        target = tuple(slice(max(lo, 0), max(lo, 0) + d) for lo, d in zip(self.low, kept.shape, strict=True))
        out[target] = kept
        return out

    def fold(self, x: Any, value: Any) -> Any:
        return x if not any((*self.low, *self.high, *self.interior)) else None


@register
@dataclass(frozen=True)
class Concat(Movement):
    """Put the operands one after the other along an axis.

    Shapes:  T[..., a, ...], T[..., b, ...], ... -> T[..., a + b + ..., ...]
    Source:  ONNX Concat-13
    """

    mnemonic = "concat"
    axis: int

    def infer(self, *xs: TensorType) -> TensorType:
        need(self, bool(xs), "nothing to put together")
        axes_of(self, (self.axis,), xs[0])
        total: Dim = 0
        for x in xs:
            rest = x.shape[: self.axis] + x.shape[self.axis + 1 :]
            fits = x.dtype == xs[0].dtype and rest == xs[0].shape[: self.axis] + xs[0].shape[self.axis + 1 :]
            need(self, fits and x.rank == xs[0].rank, f"operands differ outside axis {self.axis}", *xs)
            total = total + x.shape[self.axis]
        shape = list(xs[0].shape)
        shape[self.axis] = total
        return xs[0].with_shape(tuple(shape))

    def evaluate(self, *xs: Array, **_: Any) -> Array:
        return np.concatenate(xs, axis=self.axis)

    def fold(self, *xs: Any) -> Any:
        return xs[0] if len(xs) == 1 else None


@register
@dataclass(frozen=True)
class Reverse(Movement):
    """Count the given axes backwards.

    Shapes:  T[S] -> T[S]
    Source:  StableHLO reverse
    """

    mnemonic = "reverse"
    axes: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        axes_of(self, self.axes, x)
        need_kind(self, x, ("float", "int", "uint", "bool"))
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.flip(x, self.axes), order="C")

    def fold(self, x: Any) -> Any:
        return x if not self.axes else None
