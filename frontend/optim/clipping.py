"""Clipping: a stage between gradients and optimiser, ``training_step(..., clip=clip_norm(1.0))``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.errors import NervureError
from ...ir.types import DType, f32, f64
from ..arguments import is_number
from ..tensor import Tensor
from ..tracing import user_lines

__all__ = ["Clip", "clip_each_norm", "clip_norm", "clip_value"]

Clip = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From the gradients by their parameters' names to those that the optimiser gets."""

EPS = 1e-6
"""Added to the norm before dividing by it, as PyTorch does."""


def clip_value(limit: float) -> Clip:
    """Every element of a gradient between -limit and limit.

    Source: PyTorch torch.nn.utils.clip_grad_value_
    """
    _positive("clip_value", limit)
    return lambda gradients: {name: g.clip(-limit, limit) for name, g in gradients.items()}


def clip_norm(limit: float, norm_type: float = 2.0) -> Clip:
    """All gradients together scaled down so that their norm, as of one long vector, is at most the limit.

    Equation: g = g min(1, limit / (norm + 1e-6))
    Args:     norm_type: p of the norm, or infinity
    Source:   PyTorch torch.nn.utils.clip_grad_norm_
    """
    _positive("clip_norm", limit)
    _positive("clip_norm", norm_type)

    def clip(gradients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        wide = f64 if any(g.dtype == f64 for g in gradients.values()) else f32
        return _scaled(gradients, limit, _norm(list(gradients.values()), norm_type, wide))

    return clip


def clip_each_norm(limit: float, norm_type: float = 2.0) -> Clip:
    """Each parameter's gradient scaled down so that its own norm is at most the limit; see `clip_norm`."""
    _positive("clip_each_norm", limit)
    _positive("clip_each_norm", norm_type)

    def clip(gradients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, g in gradients.items():
            found |= _scaled({name: g}, limit, _norm([g], norm_type, f64 if g.dtype == f64 else f32))
        return found

    return clip


def _positive(name: str, value: Any) -> None:
    if not is_number(value) or not value > 0:
        raise NervureError(f"{name}: expected a number above 0, got {value}", where=user_lines())


def _scaled(gradients: Mapping[str, Tensor], limit: float, norm: Tensor) -> dict[str, Tensor]:
    factor = (limit / (norm + EPS)).clip(max=1.0)
    return {name: g * factor.astype(g.dtype) for name, g in gradients.items()}


def _norm(tensors: list[Tensor], p: float, dtype: DType) -> Tensor:
    """The p-norm of all elements, in an element type that holds it."""
    sizes = [abs(t.astype(dtype)) for t in tensors if _some(t.size)]
    if not sizes:
        return Tensor(b.constant(0.0, dtype))
    if math.isinf(p):
        parts = [s.max() for s in sizes]
        return _folded(parts, lambda x, y: Tensor(b.max(x.value, y.value)))
    parts = [(s * s).sum() if p == 2 else s.sum() if p == 1 else (s**p).sum() for s in sizes]
    total = _folded(parts, lambda x, y: x + y)
    return Tensor(b.sqrt(total.value)) if p == 2 else total if p == 1 else total ** (1 / p)


def _some(size: Dim) -> bool:
    return not (isinstance(size, int) and size == 0)


def _folded(parts: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    found = parts[0]
    for part in parts[1:]:
        found = join(found, part)
    return found
