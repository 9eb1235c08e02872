"""Running sums and products along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType, dtype_of
from .common import accumulator, axes_of, narrow, need_kind

__all__ = ["CumProd", "CumSum", "Cumulative"]


@dataclass(frozen=True)
class Cumulative(Op):
    """y = at each place of the axis, the fold of what stands up to there.

    Args:    axis; exclusive: without the element itself, so that the first result is the identity;
             reverse: from the end to the front
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False

    accuracy: ClassVar[Accuracy] = Accuracy.REASSOCIATED
    identity: ClassVar[int] = 0
    numpy: ClassVar[Any] = None

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("float", "int", "uint"))
        axes_of(self, (self.axis,), x)
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        dtype = dtype_of(x)
        line = np.moveaxis(x, self.axis, 0).astype(accumulator(dtype, None).numpy)
        line = line[::-1] if self.reverse else line
        if self.exclusive:
            first = np.full_like(line[:1], self.identity)
            line = np.concatenate([first, line[:-1]])
        with np.errstate(all="ignore"):
            total = type(self).numpy.accumulate(line, axis=0)
            total = total[::-1] if self.reverse else total
            return narrow(np.ascontiguousarray(np.moveaxis(total, 0, self.axis)), dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(operands[0].size, traffic(operands, results))


@register
@dataclass(frozen=True)
class CumSum(Cumulative):
    """y[k] = the sum of x[0] to x[k] along the axis.

    Shapes:   x T[S] -> T[S]
    Args:     axis; exclusive: to x[k - 1]; reverse: from x[k] to the last
    Gradient: dx = the running sum of dy from the other end
    Numerics: one after the other in the order of the axis; f16 and bf16 in f32
    Source:   ONNX CumSum-14, numpy.cumsum
    """

    mnemonic = "cumsum"
    identity = 0
    numpy = np.add


@register
@dataclass(frozen=True)
class CumProd(Cumulative):
    """y[k] = the product of x[0] to x[k] along the axis.

    Shapes:   x T[S] -> T[S]
    Args:     axis; exclusive: to x[k - 1]; reverse: from x[k] to the last
    Gradient: dx[k] = sum over j >= k of dy[j] times the product of the others up to j, right where elements are 0
    Numerics: one after the other in the order of the axis; f16 and bf16 in f32
    Source:   ONNX CumProd-26, numpy.cumprod
    """

    mnemonic = "cumprod"
    identity = 1
    numpy = np.multiply
