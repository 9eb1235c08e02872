"""dot_general: every matrix product, inner product and outer product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, product
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, DType, TensorType, dtype_of
from .common import accumulator, axes_of, matmul, narrow, need, need_kind, same_dims

__all__ = ["DotGeneral"]


@register
@dataclass(frozen=True)
class DotGeneral(Op):
    """Multiply and sum over contracted axes, for each index of the batch axes.

    Equation: z[b, i, j] = sum over k of x[b, i, k] * y[b, j, k], with b, i, j, k each any number of axes
    Shapes:   x T[...], y T[...] -> T[batch..., x's free axes..., y's free axes...]
    Args:     lhs_batch, rhs_batch: paired batch axes; lhs_contract, rhs_contract: paired summed axes;
              acc: the accumulator's element type, f32 for f16 and bf16 if not given
    Gradient: dx = dz . y and dy = dz . x, each again a dot_general
    Numerics: fused multiply-add, in an order fixed by dims and schedule
    Source:   StableHLO dot_general
    """

    mnemonic = "dot_general"
    accuracy = Accuracy.REASSOCIATED
    lhs_contract: tuple[int, ...]
    rhs_contract: tuple[int, ...]
    lhs_batch: tuple[int, ...] = ()
    rhs_batch: tuple[int, ...] = ()
    acc: DType | None = None

    def free_axes(self, lhs_rank: int, rhs_rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes of each operand that are neither batch nor contracted."""
        lhs = tuple(k for k in range(lhs_rank) if k not in self.lhs_batch + self.lhs_contract)
        rhs = tuple(k for k in range(rhs_rank) if k not in self.rhs_batch + self.rhs_contract)
        return lhs, rhs

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_kind(self, x, ("float", "int", "uint"))
        need(self, x.dtype == y.dtype, f"element types differ: {x.dtype} and {y.dtype}", x, y)
        need(self, len(self.lhs_contract) == len(self.rhs_contract), "contracted axes do not pair up", x, y)
        need(self, len(self.lhs_batch) == len(self.rhs_batch), "batch axes do not pair up", x, y)
        axes_of(self, self.lhs_batch + self.lhs_contract, x)
        axes_of(self, self.rhs_batch + self.rhs_contract, y)
        for a, b in zip(self.lhs_contract, self.rhs_contract, strict=True):
            same_dims(self, x.shape[a], y.shape[b], f"contracted axes {a} and {b}", x, y)
        for a, b in zip(self.lhs_batch, self.rhs_batch, strict=True):
            same_dims(self, x.shape[a], y.shape[b], f"batch axes {a} and {b}", x, y)
        lhs, rhs = self.free_axes(x.rank, y.rank)
        shape: list[Dim] = [x.shape[k] for k in self.lhs_batch + lhs] + [y.shape[k] for k in rhs]
        return x.with_shape(tuple(shape))

    def evaluate(self, x: Array, y: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        dtype = dtype_of(x)
        wide = accumulator(dtype, self.acc).numpy
        lhs, rhs = self.free_axes(x.ndim, y.ndim)
        batch = [x.shape[k] for k in self.lhs_batch]
        depth = int(np.prod([x.shape[k] for k in self.lhs_contract], dtype=np.int64))
        rows = int(np.prod([x.shape[k] for k in lhs], dtype=np.int64))
        columns = int(np.prod([y.shape[k] for k in rhs], dtype=np.int64))
        a = x.transpose(self.lhs_batch + lhs + self.lhs_contract).reshape([*batch, rows, depth]).astype(wide)
        b = (
            y.transpose(self.rhs_batch + self.rhs_contract + rhs)
            .reshape([*batch, depth, columns])
            .astype(wide)
        )
        with np.errstate(all="ignore"):
            return narrow(matmul(a, b), dtype).reshape(types[0].static_shape())

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        depth = product(tuple(operands[0].shape[k] for k in self.lhs_contract))
        return Cost(2 * results[0].size * depth, traffic(operands, results))
