"""Layers: PyTorch's names, arguments, weight layouts and initial distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.errors import NervureError
from ...ir.types import dtype_of, f32
from .. import functional as F
from ..layers import new_key, row_of, split_key
from ..parameter import Parameter
from ..random import generator
from ..tensor import Tensor, as_tensor
from ..tracing import current
from .module import Module, uniform

__all__ = ["Bilinear", "Dropout", "Embedding", "Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Module):
    """The fully connected layer, y = x w^T + b.

    Shapes:  x [..., in_features] -> [..., out_features]; weight [out, in], bias [out]
    Args:    dtype: of the weights; rng: where they are drawn, the generator of nv.seed if not given
    Source:  PyTorch torch.nn.Linear; K. He et al., 2015, for the distribution
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = uniform(bound, (out_features, in_features), rng, dtype, of=type(self).__name__)
        self.bias = uniform(bound, (out_features,), rng, dtype, of=type(self).__name__) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """A number for each output from two vectors, y[o] = x1 weight[o] x2 + bias[o].

    Shapes:  x1 [..., in1_features], x2 [..., in2_features] -> [..., out_features]; weight [out, in1, in2], bias [out]
    Args:    dtype, rng: as for `Linear`
    Source:  PyTorch torch.nn.Bilinear
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        if in1_features < 1:
            raise NervureError(f"Bilinear: in1_features is {in1_features}, expected a number from 1 on")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        bound = 1 / math.sqrt(in1_features)
        self.weight = uniform(
            bound, (out_features, in1_features, in2_features), rng, dtype, of=type(self).__name__
        )
        self.bias = uniform(bound, (out_features,), rng, dtype, of=type(self).__name__) if bias else None

    def __call__(self, x1: Any, x2: Any) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Embedding(Module):
    """A table of vectors, picked by index.

    Shapes:  x integers [...] -> [..., embedding_dim]; weight [num_embeddings, embedding_dim]
    Args:    padding_idx: a row that starts as zeros and gets no gradient; dtype, rng: as for `Linear`
    Raises:  InputError at the call of an executable whose input holds indices outside the table
    Source:  PyTorch torch.nn.Embedding; its max_norm and sparse gradients are left out
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        table = (rng or generator()).normal(size=(num_embeddings, embedding_dim))
        self.padding_idx = None
        if padding_idx is not None:
            self.padding_idx = row_of("Embedding", padding_idx, num_embeddings)
            table[self.padding_idx] = 0
        self.weight = Parameter(table.astype(dtype_of(dtype).numpy))

    def __call__(self, x: Any) -> Tensor:
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Flatten(Module):
    """The axes from start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def __call__(self, x: Any) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several; one of the sizes may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[Any]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def __call__(self, x: Any) -> Tensor:
        return F.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """x itself; arguments of any kind make no difference."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __call__(self, x: Any) -> Tensor:
        return as_tensor(x)


class Dropout(Module):
    """Zero elements with probability p in training and scale the rest by 1 / (1 - p); nothing at inference.

    The key is state: each training step splits it, keeps one half and draws from the other.

    Args:    p: 0 <= p <= 1
    Source:  PyTorch torch.nn.Dropout
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise NervureError(f"Dropout: p is {p}, expected 0 <= p <= 1")
        self.p = p
        self.key = new_key(rng or generator())

    def __call__(self, x: Any) -> Tensor:
        if not (self.training and current().training) or not self.p:
            return as_tensor(x)
        return F.dropout(x, self.p, training=True, key=split_key(self.key))

    def extra_repr(self) -> str:
        return f"p={self.p}"
