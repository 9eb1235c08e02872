"""Branches and loops whose course depends on values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..dims import Dim, bounds, evaluate_dim
from ..op import Cost, Level, Op, Runner, register, traffic
from ..types import Array, TensorType, bool_
from .common import need
from .control import match_types

if TYPE_CHECKING:
    from ..graph import Graph

__all__ = ["If", "While"]

TRUTH = TensorType(bool_, ())


@register
@dataclass(frozen=True)
class If(Op):
    """One of two bodies, chosen by a truth value; the other one is not run.

    Equation: y = then(x...) where cond, else otherwise(x...)
    Shapes:   cond bool[], operands T... -> as the outputs of each region
              then, otherwise: (T...) -> T'...
    Gradient: of the body that ran
    Raises:   TypeInferenceError where cond is no bool[], or the regions differ in their types
    Source:   ONNX If-25, JAX lax.cond
    """

    mnemonic = "if"
    level = Level.CONTROL
    num_regions = 2

    def infer(
        self, cond: TensorType, *operands: TensorType, regions: tuple[Graph, ...]
    ) -> tuple[TensorType, ...]:
        need(self, cond == TRUTH, f"the condition is {cond}, expected {TRUTH}", cond, *operands)
        then, otherwise = regions
        for region in regions:
            match_types(self, "operand", [v.type for v in region.inputs], operands)
        results = [v.type for v in then.outputs]
        match_types(self, "result of the second body", results, [v.type for v in otherwise.outputs])
        return tuple(results)

    def evaluate(
        self, cond: Array, *operands: Array, regions: tuple[Graph, ...], run: Runner, **_: object
    ) -> tuple[Array, ...]:
        return run(regions[0 if cond else 1], operands)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


@register
@dataclass(frozen=True)
class While(Op):
    """Run a body on the carries as long as a condition of them holds.

    Equation: c[t+1] = body(c[t], consts) while cond(c[t], consts) and t < max_trip; the result is the last c
    Shapes:   carries C..., consts K... -> C...; cond: (C..., K...) -> bool[]; body: (C..., K...) -> (C...)
    Args:     carries: how many operands are carries, the rest are consts; max_trip: the most turns, or none
    Gradient: with max_trip, that of a scan of so many steps of which those behind the end keep the carries
    Raises:   TypeInferenceError where a region's types do not fit, or max_trip may be negative
    Source:   ONNX Loop-25, JAX lax.while_loop
    """

    mnemonic = "while"
    level = Level.CONTROL
    num_regions = 2
    carries: int
    max_trip: Dim | None = None

    def infer(self, *operands: TensorType, regions: tuple[Graph, ...]) -> tuple[TensorType, ...]:
        cond, body = regions
        need(
            self,
            0 < self.carries <= len(operands),
            f"carries is {self.carries}, expected 1..{len(operands)}",
            *operands,
        )
        if self.max_trip is not None:
            need(self, bounds(self.max_trip)[0] >= 0, f"max_trip {self.max_trip} may be negative", *operands)
        for region, what in ((cond, "input of the condition"), (body, "body input")):
            match_types(self, what, [v.type for v in region.inputs], operands)
        match_types(self, "result of the condition", [TRUTH], [v.type for v in cond.outputs])
        match_types(self, "carry", operands[: self.carries], [v.type for v in body.outputs])
        return operands[: self.carries]

    def evaluate(
        self,
        *operands: Array,
        regions: tuple[Graph, ...],
        run: Runner,
        env: dict[str, int],
        **_: object,
    ) -> tuple[Array, ...]:
        cond, body = regions
        carry, consts = operands[: self.carries], operands[self.carries :]
        left = None if self.max_trip is None else evaluate_dim(self.max_trip, env)
        while left != 0 and run(cond, (*carry, *consts))[0]:
            carry = run(body, (*carry, *consts))
            left = None if left is None else left - 1
        return tuple(carry)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))
