"""Layers: PyTorch's names, arguments, weight layouts and initial distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.graph import make_one
from ...ir.ops.nn import dim_value
from ...ir.ops.rng import RngSplit
from ...ir.dims import product
from ...ir.types import Array
from .. import functional as F
from ..random import generator
from ..tensor import Parameter, Tensor, as_tensor
from ..tracing import current
from .module import Module

__all__ = [
    "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Linear", "MaxPool2d", "ReLU",
    "Sequential", "Sigmoid", "Softmax", "Tanh",
]  # fmt: skip


def uniform(bound: float, shape: tuple[int, ...], rng: np.random.Generator | None) -> Array:
    """f32 numbers, uniform between -bound and bound."""
    return (rng or generator()).uniform(-bound, bound, shape).astype(np.float32)


class Linear(Module):
    """The fully connected layer, y = x w^T + b.

    Shapes:  x [..., in_features] -> [..., out_features]; weight [out, in], bias [out]
    Args:    rng: where the initial weights are drawn; the generator of nv.seed if not given
    Source:  PyTorch torch.nn.Linear; K. He et al., 2015, for the distribution
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: np.random.Generator | None = None) -> None:
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = Parameter(uniform(bound, (out_features, in_features), rng), name="weight")
        self.bias = Parameter(uniform(bound, (out_features,), rng), name="bias") if bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Conv2d(Module):
    """2-D convolution.

    Shapes:  x [N, in_channels, H, W] -> [N, out_channels, H', W']; weight [out, in / groups, kH, kW], bias [out]
    Args:    padding: one number, one an axis, four (top, bottom, left, right), "same" or "valid"
    Source:  PyTorch torch.nn.Conv2d
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} does not divide {in_channels} and {out_channels} channels")
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *F.pair(kernel_size))
        bound = 1 / math.sqrt(shape[1] * shape[2] * shape[3])
        self.weight = Parameter(uniform(bound, shape, rng), name="weight")
        self.bias = Parameter(uniform(bound, (out_channels,), rng), name="bias") if bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class MaxPool2d(Module):
    """The largest element of each window."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> None:
        self.options = (kernel_size, stride, padding, dilation, ceil_mode)

    def __call__(self, x: Any) -> Tensor:
        return F.max_pool2d(x, *self.options)


class AvgPool2d(Module):
    """The mean of each window."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> None:
        self.options = (kernel_size, stride, padding, ceil_mode, count_include_pad)

    def __call__(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, *self.options)


class ReLU(Module):
    """0 where x < 0, else x."""

    def __call__(self, x: Any) -> Tensor:
        return F.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def __call__(self, x: Any) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def __call__(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """Shares that sum to 1 along an axis."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def __call__(self, x: Any) -> Tensor:
        return F.softmax(x, self.dim)


class Flatten(Module):
    """All axes from start_dim on as one."""

    def __init__(self, start_dim: int = 1) -> None:
        self.start_dim = start_dim

    def __call__(self, x: Any) -> Tensor:
        return F.flatten(x, self.start_dim)


class Dropout(Module):
    """Zero elements with probability p in training; nothing at inference.

    The key is state: each training step splits it, keeps one half and draws from the other.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is {p}, expected 0 <= p < 1")
        self.p = p
        self.key = Parameter((rng or generator()).integers(0, 2**32, 2, dtype=np.uint32), kind="state", name="key")

    def __call__(self, x: Any) -> Tensor:
        state = current()
        if not state.training or not self.p:
            return as_tensor(x)
        keys = Tensor(make_one(RngSplit(2), as_tensor(self.key).value))
        state.update(self.key, keys[0].value)
        return F.dropout(x, self.p, keys[1])


class BatchNorm(Module):
    """Normalise each channel: with the batch's statistics in training, with running ones at inference.

    Shapes:  x [N, C, ...] -> the same; weight, bias, running_mean, running_var [C]
    Args:    momentum: the share of the batch's statistics in the running ones; the running variance is unbiased
    Source:  S. Ioffe, C. Szegedy, Batch normalization, 2015; PyTorch torch.nn.BatchNorm2d
    """

    ranks: tuple[int, ...] = (2, 3, 4, 5)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32), name="weight")
        self.bias = Parameter(np.zeros(num_features, np.float32), name="bias")
        self.running_mean = Parameter(np.zeros(num_features, np.float32), kind="state", name="running_mean")
        self.running_var = Parameter(np.ones(num_features, np.float32), kind="state", name="running_var")
        self.num_batches_tracked = Parameter(np.zeros((), np.int64), kind="state", name="num_batches_tracked")

    def __call__(self, x: Any) -> Tensor:
        tensor, state = as_tensor(x), current()
        if tensor.ndim not in self.ranks:
            raise ValueError(f"{type(self).__name__}: x has rank {tensor.ndim}, expected one of {self.ranks}")
        if not state.training:
            return F.batch_norm(tensor, self.weight, self.bias, self.running_mean, self.running_var, self.eps)
        y, mean, var = F.batch_norm_train(tensor, self.weight, self.bias, self.eps)
        axes = tuple(k for k in range(tensor.ndim) if k != 1)
        one = b.full(var.type.with_shape(()), 1)
        count = dim_value(product(tuple(tensor.shape[k] for k in axes)), one)
        unbiased = var * Tensor(b.div(count, b.sub(count, one)))
        for running, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            state.update(running, (running * (1 - self.momentum) + batch * self.momentum).value)
        state.update(self.num_batches_tracked, (self.num_batches_tracked + 1).value)
        return y


class BatchNorm1d(BatchNorm):
    """Batch normalisation of [N, C] or [N, C, L]."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of [N, C, H, W]."""

    ranks = (4,)


class Sequential(Module):
    """Layers one after the other; also by index."""

    def __init__(self, *layers: Module | Callable[[Any], Any]) -> None:
        self._layers = layers

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(k), m) for k, m in enumerate(self._layers) if isinstance(m, Module))

    def __call__(self, x: Any) -> Any:
        for layer in self._layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int) -> Any:
        return self._layers[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
