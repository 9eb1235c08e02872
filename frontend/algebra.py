"""Matrix products as numpy has them."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.errors import TypeInferenceError
from .tensor import Tensor, as_tensor, broadcast_to
from .tracing import user_origins

__all__ = ["matmul", "tensordot"]


def matmul(x: Any, y: Any) -> Tensor:
    """x @ y: vectors, matrices, and stacks of matrices that broadcast."""
    left, right = as_tensor(x), as_tensor(y)
    if not left.ndim or not right.ndim:
        raise TypeInferenceError("matmul: scalars have no matrix product", where=[str(o) for o in user_origins()], hint="use *")
    if right.ndim == 1:
        return Tensor(b.dot_general(left.value, right.value, (left.ndim - 1,), (0,)))
    if right.ndim == 2:
        return Tensor(b.dot_general(left.value, right.value, (left.ndim - 1,), (0,)))
    if left.ndim == 1:
        moved = b.dot_general(left.value, right.value, (0,), (right.ndim - 2,))
        return Tensor(moved)
    batch = _batch(left, right)
    u = broadcast_to(left, (*batch, *left.shape[-2:]))
    v = broadcast_to(right, (*batch, *right.shape[-2:]))
    axes = tuple(range(len(batch)))
    return Tensor(b.dot_general(u.value, v.value, (len(batch) + 1,), (len(batch),), axes, axes))


def _batch(left: Tensor, right: Tensor) -> tuple[Any, ...]:
    a, c = left.shape[:-2], right.shape[:-2]
    rank = max(len(a), len(c))
    a, c = (1,) * (rank - len(a)) + a, (1,) * (rank - len(c)) + c
    for d, e in zip(a, c, strict=True):
        if d not in (1, e) and e != 1:
            raise TypeInferenceError(
                "matmul: batch axes do not broadcast",
                details=[f"operand 0: {left.type}", f"operand 1: {right.type}"],
                where=[str(o) for o in user_origins()],
            )
    return tuple(e if d == 1 else d for d, e in zip(a, c, strict=True))


def tensordot(x: Any, y: Any, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Tensor:
    """Sum of products over paired axes."""
    left, right = as_tensor(x), as_tensor(y)
    return Tensor(b.dot_general(left.value, right.value, axes[0], axes[1]))
