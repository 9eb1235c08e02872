"""Reductions over axes, and the position of an extreme. The axes vanish; `reshape` puts ones back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dims import bounds
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, DType, TensorType, bool_, dtype_of, i64
from .common import accumulator, axes_of, narrow, need, need_kind

__all__ = ["ArgReduce", "Reduction"]


@dataclass(frozen=True)
class Reduction(Op):
    """One result for all elements along the axes.

    Args:    axes: increasing, within the rank
    """

    axes: tuple[int, ...]

    kinds: ClassVar[tuple[str, ...]] = ("float", "int", "uint")
    needs_elements: ClassVar[bool] = False

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, self.kinds)
        axes_of(self, self.axes, x)
        need(self, list(self.axes) == sorted(self.axes), f"axes {list(self.axes)} do not increase", x)
        if self.needs_elements:
            for axis in self.axes:
                need(
                    self, bounds(x.shape[axis])[0] > 0, f"axis {axis} may be empty and has no extreme then", x
                )
        return x.with_shape(tuple(d for k, d in enumerate(x.shape) if k not in self.axes))

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[0].size, traffic(operands, results))

    def fold(self, x: Any) -> Any:
        return x if not self.axes else None


@dataclass(frozen=True)
class Accumulation(Reduction):
    """A reduction that rounds as it goes: it keeps its sum in `acc`.

    Args:    acc: the accumulator's element type; f32 for f16 and bf16, else x's own, if not given
    """

    acc: DType | None = None

    accuracy: ClassVar[Accuracy] = Accuracy.REASSOCIATED

    def accumulator(self, x: DType) -> DType:
        """The element type that the sum is kept in."""
        return accumulator(x, self.acc)


@register
@dataclass(frozen=True)
class ReduceSum(Accumulation):
    """y = the sum over the axes; 0 over nothing.

    Shapes:   x T[S] -> T[S without axes]
    Gradient: dx = dy broadcast along the axes
    Numerics: 16 interleaved partial sums, then a fixed tree, in compiled code
    Source:   ONNX ReduceSum-13
    """

    mnemonic = "reduce_sum"

    def evaluate(self, x: Array, **_: Any) -> Array:
        dtype = dtype_of(x)
        with np.errstate(all="ignore"):
            return narrow(np.sum(x, axis=self.axes, dtype=self.accumulator(dtype).numpy), dtype)


@register
@dataclass(frozen=True)
class ReduceProd(Accumulation):
    """y = the product over the axes; 1 over nothing.

    Shapes:   x T[S] -> T[S without axes]
    Source:   ONNX ReduceProd-18
    """

    mnemonic = "reduce_prod"

    def evaluate(self, x: Array, **_: Any) -> Array:
        dtype = dtype_of(x)
        with np.errstate(all="ignore"):
            return narrow(np.prod(x, axis=self.axes, dtype=self.accumulator(dtype).numpy), dtype)


@register
@dataclass(frozen=True)
class ReduceMax(Reduction):
    """y = the largest over the axes; NaN if any is.

    Shapes:   x T[S] -> T[S without axes], the axes not empty
    Gradient: dy, shared equally by the elements that are largest
    Source:   ONNX ReduceMax-20
    """

    mnemonic = "reduce_max"
    needs_elements = True

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.max(x, axis=self.axes))


@register
@dataclass(frozen=True)
class ReduceMin(Reduction):
    """y = the smallest over the axes; NaN if any is.

    Shapes:   x T[S] -> T[S without axes], the axes not empty
    Gradient: dy, shared equally by the elements that are smallest
    Source:   ONNX ReduceMin-20
    """

    mnemonic = "reduce_min"
    needs_elements = True

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.min(x, axis=self.axes))


@register
@dataclass(frozen=True)
class ReduceAny(Reduction):
    """y = whether any is true.

    Shapes:  x bool[S] -> bool[S without axes]
    """

    mnemonic = "reduce_any"
    kinds = ("bool",)

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.any(x, axis=self.axes))


@register
@dataclass(frozen=True)
class ReduceAll(Reduction):
    """y = whether all are true.

    Shapes:  x bool[S] -> bool[S without axes]
    """

    mnemonic = "reduce_all"
    kinds = ("bool",)

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.all(x, axis=self.axes))


@dataclass(frozen=True)
class ArgReduce(Op):
    """The position of an extreme along one axis, the first where several are equal, a NaN before all."""

    axis: int

    def infer(self, x: TensorType) -> TensorType:
        need(self, x.dtype != bool_, "bool has no extreme", x)
        axes_of(self, (self.axis,), x)
        need(
            self,
            bounds(x.shape[self.axis])[0] > 0,
            f"axis {self.axis} may be empty and has no extreme then",
            x,
        )
        shape = tuple(d for k, d in enumerate(x.shape) if k != self.axis)
        return TensorType(i64, shape)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[0].size, traffic(operands, results))


@register
@dataclass(frozen=True)
class ArgMax(ArgReduce):
    """y = the position of the largest along the axis.

    Shapes:  x T[S] -> i64[S without axis]
    Source:  ONNX ArgMax-13
    """

    mnemonic = "argmax"

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.argmax(_plain(x), axis=self.axis), dtype=np.int64)


@register
@dataclass(frozen=True)
class ArgMin(ArgReduce):
    """y = the position of the smallest along the axis.

    Shapes:  x T[S] -> i64[S without axis]
    Source:  ONNX ArgMin-13
    """

    mnemonic = "argmin"

    def evaluate(self, x: Array, **_: Any) -> Array:
        return np.asarray(np.argmin(_plain(x), axis=self.axis), dtype=np.int64)


def _plain(x: Array) -> Array:
    """bf16 as f32: numpy's arg functions know no bfloat16."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
