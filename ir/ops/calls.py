"""Functions within a graph that tell autodiff what to do: a derivative of one's own, or to compute again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..op import Cost, Level, Op, Runner, register, traffic
from ..types import Array, TensorType
from .common import need
from .control import match_types

if TYPE_CHECKING:
    from ..graph import Graph

__all__ = ["Call", "CustomVjp", "Remat"]


class Call(Op):
    """A family whose meaning is the first region."""

    level = Level.CONTROL

    def evaluate(
        self, *operands: Array, regions: tuple[Graph, ...], run: Runner, **_: Any
    ) -> tuple[Array, ...]:
        return run(regions[0], operands)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


@register
@dataclass(frozen=True)
class Remat(Call):
    """A function whose inner values are computed again for its derivative instead of being kept.

    Shapes:    operands as the region's inputs -> results as the region's outputs
    Gradient:  that of the region, built anew on the operands behind an opt_barrier, so that it shares nothing with the
               first computation and does not begin before the cotangents are there
    Source:    T. Chen et al., Training deep nets with sublinear memory cost, 2016; JAX checkpoint
    """

    mnemonic = "remat"
    num_regions = 1

    def infer(self, *operands: TensorType, regions: tuple[Graph, ...]) -> tuple[TensorType, ...]:
        (body,) = regions
        match_types(self, "operand", [v.type for v in body.inputs], operands)
        return tuple(v.type for v in body.outputs)


@register
@dataclass(frozen=True)
class CustomVjp(Call):
    """A function with a derivative of its own.

    Equation:  y... = forward(x...);  dx_k for k in by = backward(x..., y..., dy...), with one dy for each float y
    Shapes:    operands as the inputs of forward -> results as its outputs
               backward: operands, results, cotangents of the float results -> cotangents of the operands in `by`
    Args:      by: the float operands that have a derivative, increasing
    Gradient:  the backward region; its own derivative is taken through its ops
    Raises:    TypeInferenceError where a region's types do not fit, or a position in `by` is that of no float operand
    Source:    JAX custom_vjp, PyTorch autograd.Function
    """

    mnemonic = "custom_vjp"
    num_regions = 2
    by: tuple[int, ...]

    def infer(self, *operands: TensorType, regions: tuple[Graph, ...]) -> tuple[TensorType, ...]:
        forward, backward = regions
        match_types(self, "operand", [v.type for v in forward.inputs], operands)
        results = tuple(v.type for v in forward.outputs)
        for k in self.by:
            need(
                self,
                0 <= k < len(operands) and operands[k].dtype.is_float,
                f"by has {k}, which is the place of no float operand",
                *operands,
            )
        need(
            self, tuple(sorted(set(self.by))) == self.by, f"by is {list(self.by)}, expected increasing places"
        )
        given = (*operands, *results, *(t for t in results if t.dtype.is_float))
        match_types(self, "backward input", given, [v.type for v in backward.inputs])
        match_types(self, "cotangent", [operands[k] for k in self.by], [v.type for v in backward.outputs])
        return results
