"""What several families of ops share: checks on operand types, and numpy helpers of the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..dims import Dim, dim_text
from ..op import Op
from ..types import Array, DType, TensorType, f32

__all__ = ["axes_of", "narrow", "need", "need_kind", "need_same_type", "widen"]


def need(op: Op, holds: bool, message: str, *types: TensorType, hint: str | None = None) -> None:
    """Raise the op's type error unless the condition holds."""
    if not holds:
        raise op.error(message, *types, hint=hint)


def need_kind(op: Op, t: TensorType, kinds: Iterable[str], *, what: str = "the operand") -> None:
    """Require an element type of one of the kinds float, int, uint, bool."""
    if t.dtype.kind not in kinds:
        raise op.error(f"{what} is {t.dtype}, expected {' or '.join(kinds)}", t)


def need_same_type(op: Op, *types: TensorType) -> TensorType:
    """Require equal types; core ops neither promote nor broadcast."""
    first = types[0]
    for t in types[1:]:
        if t.dtype != first.dtype:
            raise op.error(
                f"element types differ: {first.dtype} and {t.dtype}",
                *types,
                hint=f"cast one with .astype('{first.dtype}')",
            )
        if t.shape != first.shape:
            raise op.error("shapes differ and core ops do not broadcast", *types)
    return first


def axes_of(op: Op, axes: tuple[int, ...], t: TensorType) -> tuple[int, ...]:
    """Require distinct axes within the rank."""
    for axis in axes:
        if not 0 <= axis < t.rank:
            raise op.error(f"axis {axis} is not within 0..{t.rank - 1} of a rank {t.rank} operand", t)
    if len(set(axes)) != len(axes):
        raise op.error(f"axes {list(axes)} repeat", t)
    return axes


def same_dims(op: Op, a: Dim, b: Dim, what: str, *types: TensorType) -> None:
    """Require two dims to be provably equal."""
    if a != b:
        raise op.error(f"{what}: {dim_text(a)} and {dim_text(b)} differ", *types)


def widen(x: Array) -> Array:
    """f16 and bf16 are storage types: the reference computes them in f32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


def narrow(x: Any, dtype: DType) -> Array:
    """Back to the storage type."""
    return np.asarray(x).astype(dtype.numpy, copy=False)


def through_f32(function: Callable[..., Any]) -> Callable[..., Array]:
    """The function, computed in f32 where its operands are f16 or bf16, without numpy's warnings."""

    def run(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(*map(widen, arrays))).astype(arrays[0].dtype, copy=False)

    return run


def matmul(a: Array, b: Array) -> Array:
    """The matrix product; sums of f32 are kept in f64 and rounded once.

    A BLAS sums f32 in an order that the place in its tiles decides, and the CPU: equal rows would give unequal results.
    """
    if a.dtype != np.float32:
        return np.matmul(a, b)
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)


def accumulator(dtype: DType, acc: DType | None) -> DType:
    """The element type that a sum is kept in: f32 for the half types unless the op says otherwise."""
    if acc is not None:
        return acc
    return f32 if dtype.is_float and dtype.bits == 16 else dtype
