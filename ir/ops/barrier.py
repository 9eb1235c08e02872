"""Ops that are x itself, and say something to who reads the graph: to autodiff, or to the passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..op import Cost, Level, Op, register
from ..types import Array, TensorType

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["OptBarrier", "StopGradient"]


class Itself(Op):
    """A family whose result is the operand."""

    def infer(self, x: TensorType) -> TensorType:
        return x

    def evaluate(self, x: Array, **_: Any) -> Array:
        return x

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, operands[0].nbytes + results[0].nbytes)


@register
@dataclass(frozen=True)
class StopGradient(Itself):
    """x itself, as a constant where derivatives are taken.

    Shapes:    x T[S...] -> T[S...]
    Gradient:  none: cotangents end here
    Numerics:  exact, the same bits
    Source:    JAX lax.stop_gradient, PyTorch Tensor.detach
    """

    mnemonic = "stop_gradient"
    level = Level.NN

    def decompose(self, x: Value) -> Value:
        return x


@register
@dataclass(frozen=True)
class OptBarrier(Itself):
    """x itself, as an unknown value where programs are improved: nothing on one side merges with the other.

    Shapes:    x T[S...], after any types... -> T[S...]
    Gradient:  dy; none for what stands after x
    Numerics:  exact, the same bits; whoever reads the result runs when all operands are computed
    Source:    StableHLO optimization_barrier, of which one result is used
    """

    mnemonic = "opt_barrier"

    def infer(self, x: TensorType, *after: TensorType) -> TensorType:
        return x

    def evaluate(self, x: Array, *after: Array, **_: Any) -> Array:
        return x
