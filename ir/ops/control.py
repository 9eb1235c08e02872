"""Ops with regions. A region is a graph with typed arguments that names no outer value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import Dim, evaluate_dim
from ..op import Cost, Level, Op, Runner, register, traffic
from ..types import Array, TensorType
from .common import need

if TYPE_CHECKING:
    from ..graph import Graph

__all__ = ["Fuse", "Scan", "match_types"]


@register
@dataclass(frozen=True)
class Fuse(Op):
    """A region that a backend runs as one kernel; its meaning is its region's.

    Shapes:  operands as the region's inputs -> results as the region's outputs
    Args:    label: what was fused, in words, such as "conv+bias+relu"
    """

    mnemonic = "fuse"
    level = Level.CONTROL
    num_regions = 1
    label: str

    def infer(self, *operands: TensorType, regions: tuple[Graph, ...]) -> tuple[TensorType, ...]:
        (body,) = regions
        match_types(self, "operand", [v.type for v in body.inputs], operands)
        return tuple(v.type for v in body.outputs)

    def evaluate(
        self, *operands: Array, regions: tuple[Graph, ...], run: Runner, **_: Any
    ) -> tuple[Array, ...]:
        return run(regions[0], operands)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


@register
@dataclass(frozen=True)
class Scan(Op):
    """Run a body `length` times: carries go from step to step, xs are read and ys written one slice a step.

    Equation: c[t+1], y[t] = body(c[t], x[t], consts); results are c[length] and all y
    Shapes:   carries C..., xs T[length, S]..., consts K... -> C..., T'[length, S']...
              body: (C..., T[S]..., K...) -> (C..., T'[S']...)
    Args:     length: a dim; carries, xs: how many operands are of each kind, the rest are consts;
              reverse: from the last step to the first; unroll: steps a trip of the compiled loop
    Gradient: a scan the other way over saved residuals
    Source:   ONNX Scan-25 with axis 0, JAX lax.scan
    """

    mnemonic = "scan"
    level = Level.CONTROL
    num_regions = 1
    length: Dim
    carries: int
    xs: int
    reverse: bool = False
    unroll: int = 1

    def infer(self, *operands: TensorType, regions: tuple[Graph, ...]) -> tuple[TensorType, ...]:
        (body,) = regions
        counts = min(self.carries, self.xs) >= 0 and not (isinstance(self.length, int) and self.length < 0)
        need(self, counts, "length, carries and xs may not be negative", *operands)
        need(
            self,
            len(operands) >= self.carries + self.xs,
            f"{len(operands)} operands, expected at least {self.carries + self.xs}",
            *operands,
        )
        need(self, self.unroll >= 1, f"unroll is {self.unroll}, expected at least 1")
        inits = operands[: self.carries]
        slices: list[TensorType] = []
        for x in operands[self.carries : self.carries + self.xs]:
            need(
                self,
                x.rank > 0 and x.shape[0] == self.length,
                f"{x} is not {self.length} steps long on axis 0",
                *operands,
            )
            slices.append(x.with_shape(x.shape[1:]))
        match_types(
            self,
            "body input",
            [v.type for v in body.inputs],
            (*inits, *slices, *operands[self.carries + self.xs :]),
        )
        need(
            self,
            len(body.outputs) >= self.carries,
            f"the body returns {len(body.outputs)} values for {self.carries} carries",
        )
        outs = [v.type for v in body.outputs]
        match_types(self, "carry", list(inits), outs[: self.carries])
        return (*inits, *(t.with_shape((self.length, *t.shape)) for t in outs[self.carries :]))

    def evaluate(
        self,
        *operands: Array,
        types: tuple[TensorType, ...],
        regions: tuple[Graph, ...],
        run: Runner,
        env: dict[str, int],
        **_: Any,
    ) -> tuple[Array, ...]:
        length = evaluate_dim(self.length, env)
        carry = list(operands[: self.carries])
        xs, consts = operands[self.carries : self.carries + self.xs], operands[self.carries + self.xs :]
        ys = [np.zeros(t.static_shape(), dtype=t.dtype.numpy) for t in types[self.carries :]]
        for t in reversed(range(length)) if self.reverse else range(length):
            outs = run(regions[0], (*carry, *(np.asarray(x[t], order="C") for x in xs), *consts))
            carry = list(outs[: self.carries])
            for y, step in zip(ys, outs[self.carries :], strict=True):
                y[t] = step
        return (*carry, *ys)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


def match_types(op: Op, what: str, expected: Sequence[TensorType], found: Sequence[TensorType]) -> None:
    """Require the same types in the same order."""
    need(op, len(expected) == len(found), f"{len(found)} {what}s, expected {len(expected)}", *found)
    for k, (want, got) in enumerate(zip(expected, found, strict=True)):
        need(op, want == got, f"{what} {k} is {got}, expected {want}", *found)
