"""Layers: PyTorch's names, arguments, weight layouts and initial distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir.errors import NervureError
from ...ir.types import f32
from .. import functional as F
from ..random import generator
from ..tensor import Tensor, as_tensor
from ..tracing import current
from ..windows import Padding, Pair, pair
from .module import Module, uniform

__all__ = ["AvgPool2d", "Conv2d", "Dropout", "Flatten", "Identity", "Linear", "MaxPool2d"]


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
        self.weight = uniform(bound, (out_features, in_features), rng, dtype)
        self.bias = uniform(bound, (out_features,), rng, dtype) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Conv2d(Module):
    """2-D convolution.

    Shapes:  x [N, in_channels, H, W] -> [N, out_channels, H', W']; weight [out, in / groups, kH, kW], bias [out]
    Args:    padding: one number, one an axis, four (top, bottom, left, right), "same" or "valid";
             dtype, rng: as for `Linear`
    Source:  PyTorch torch.nn.Conv2d
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise NervureError(
                f"Conv2d: groups={groups} does not divide {in_channels} input and {out_channels} output channels"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.dilation = pair(kernel_size), pair(stride), pair(dilation)
        self.padding, self.groups = padding, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = uniform(bound, shape, rng, dtype)
        self.bias = uniform(bound, (out_channels,), rng, dtype) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        if self.padding not in (0, (0, 0)):
            parts.append(f"padding={self.padding!r}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class MaxPool2d(Module):
    """The largest element of each window; the stride is the window's size if not given."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def __call__(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window; the stride is the window's size if not given."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def __call__(self, x: Any) -> Tensor:
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Flatten(Module):
    """The axes from start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def __call__(self, x: Any) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """x itself."""

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
        self.key = F.new_key(rng or generator())

    def __call__(self, x: Any) -> Tensor:
        if not (self.training and current().training) or not self.p:
            return as_tensor(x)
        return F.dropout(x, self.p, training=True, key=F.split_key(self.key))

    def extra_repr(self) -> str:
        return f"p={self.p}"
