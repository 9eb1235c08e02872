"""What a program expects of its inputs beyond their types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..dims import Dim, bounds, dim_text
from ..op import Cost, Level, Op, register, traffic
from ..types import Array, TensorType
from .common import need, need_kind

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["ExpectRange"]


@register
@dataclass(frozen=True)
class ExpectRange(Op):
    """x itself, said to lie within low..high - 1: labels of classes, rows of a table.

    Shapes:   I[S] -> I[S]
    Args:     low, high: the range, high excluded; high may be symbolic, as the lengths of sequences are bound by their steps
    Numerics: an executable looks at the inputs that reach this op by casts and movement alone, in the bodies of scans
              too, and refuses those outside; elsewhere nothing is looked at
    """

    mnemonic = "expect_range"
    level = Level.NN
    low: int
    high: Dim

    def infer(self, x: TensorType) -> TensorType:
        need_kind(self, x, ("int", "uint"))
        need(
            self,
            self.low < bounds(self.high)[1],
            f"the range {self.low}..{dim_text(self.high - 1)} is empty",
            x,
        )
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        return x

    def decompose(self, x: Value) -> Value:
        return x

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))
