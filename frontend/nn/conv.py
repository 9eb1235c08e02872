"""Convolutions as layers: PyTorch's names, arguments, weight layouts and initial distributions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ...ir.errors import NervureError
from ...ir.types import f32
from .. import functional as F
from ..padding import pad
from ..tensor import Tensor, as_tensor
from ..windows import Numbers, Padding, check_rank, each, pads_of
from .module import Module, uniform

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "SeparableConv2d",
]  # fmt: skip


PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _check_groups(name: str, groups: int, channels: int, out: int) -> None:
    if groups < 1 or channels % groups or out % groups:
        raise NervureError(
            f"{name}: groups={groups} does not divide {channels} input and {out} output channels"
        )


class Conv(Module):
    """What the convolutions have in common."""

    spatial: ClassVar[int]
    function: ClassVar[Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Padding = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        name, spatial = type(self).__name__, self.spatial
        _check_groups(name, groups, in_channels, out_channels)
        if padding_mode not in PADDING_MODES:
            expected = ", ".join(f'"{m}"' for m in PADDING_MODES)
            raise NervureError(f'{name}: padding_mode is "{padding_mode}", expected one of {expected}')
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = each(name, "kernel_size", kernel_size, spatial)
        self.stride = each(name, "stride", stride, spatial)
        self.dilation = each(name, "dilation", dilation, spatial)
        self.padding, self.groups, self.padding_mode = padding, groups, padding_mode
        self.around = pads_of(name, padding, self.kernel_size, self.stride, self.dilation)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        bound = 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        self.weight = uniform(bound, shape, rng, dtype, of=type(self).__name__)
        self.bias = uniform(bound, (out_channels,), rng, dtype, of=type(self).__name__) if bias else None

    def __call__(self, x: Any) -> Tensor:
        tensor, padding = as_tensor(x), self.padding
        if self.padding_mode != "zeros" and any(map(any, self.around)):
            check_rank(type(self).__name__, tensor, self.spatial)
            amounts = [amount for pads in reversed(self.around) for amount in pads]
            tensor, padding = pad(tensor, amounts, self.padding_mode), 0
        return self.function(tensor, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        if any(map(any, self.around)):
            parts.append(f"padding={self.padding!r}")
        if any(d != 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class Conv1d(Conv):
    """1-D convolution of [N, C, L]; see `Conv2d`. Weight [out, in / groups, kL]."""

    spatial = 1
    function = staticmethod(F.conv1d)


class Conv2d(Conv):
    """2-D convolution.

    Shapes:  x [N, in_channels, H, W] -> [N, out_channels, H', W']; weight [out, in / groups, kH, kW], bias [out]
    Args:    padding: one number, one an axis, four (top, bottom, left, right), "same" or "valid"; groups: as many as
             in_channels for a depthwise convolution; padding_mode: "zeros", "reflect", "replicate" or "circular";
             dtype, rng: as for `Linear`
    Source:  PyTorch torch.nn.Conv2d
    """

    spatial = 2
    function = staticmethod(F.conv2d)


class Conv3d(Conv):
    """3-D convolution of [N, C, D, H, W]; see `Conv2d`. Weight [out, in / groups, kD, kH, kW]."""

    spatial = 3
    function = staticmethod(F.conv3d)


class ConvTranspose(Module):
    """What the transposed convolutions have in common."""

    spatial: ClassVar[int]
    function: ClassVar[Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        name, spatial = type(self).__name__, self.spatial
        _check_groups(name, groups, in_channels, out_channels)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each(name, "kernel_size", kernel_size, spatial)
        self.stride = each(name, "stride", stride, spatial)
        self.padding = each(name, "padding", padding, spatial)
        self.output_padding = each(name, "output_padding", output_padding, spatial)
        self.dilation = each(name, "dilation", dilation, spatial)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        bound = 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        self.weight = uniform(bound, shape, rng, dtype, of=type(self).__name__)
        self.bias = uniform(bound, (out_channels,), rng, dtype, of=type(self).__name__) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return self.function(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, output_padding={self.output_padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}"
        )


class ConvTranspose1d(ConvTranspose):
    """1-D transposed convolution of [N, C, L]; see `ConvTranspose2d`. Weight [in, out / groups, kL]."""

    spatial = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(ConvTranspose):
    """2-D transposed convolution: what carries the gradient of a `Conv2d` back, as a layer.

    Equation: O = (W - 1) * stride - 2 * padding + (K - 1) * dilation + output_padding + 1
    Shapes:  x [N, in_channels, H, W] -> [N, out_channels, H', W']; weight [in, out / groups, kH, kW], bias [out]
    Args:    output_padding: what is added at the end, below the stride or the dilation; dtype, rng: as for `Linear`
    Source:  PyTorch torch.nn.ConvTranspose2d, whose output_size at the call is left out: choose output_padding
    """

    spatial = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(ConvTranspose):
    """3-D transposed convolution of [N, C, D, H, W]; see `ConvTranspose2d`. Weight [in, out / groups, kD, kH, kW]."""

    spatial = 3
    function = staticmethod(F.conv_transpose3d)


class SeparableConv2d(Module):
    """A depthwise convolution, each channel by itself, and then a 1 x 1 convolution across them.

    Shapes:  x [N, in_channels, H, W] -> [N, out_channels, H', W']; depthwise.weight [in * multiplier, 1, kH, kW],
             pointwise.weight [out, in * multiplier, 1, 1], pointwise.bias [out]
    Args:    depth_multiplier: filters for each channel; the rest as for `Conv2d`
    Source:  F. Chollet, Xception, 2017; PyTorch has no such layer
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Padding = 0,
        dilation: Numbers = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        between = in_channels * depth_multiplier
        self.depthwise = Conv2d(
            in_channels, between, kernel_size, stride, padding, dilation, in_channels, False, padding_mode,
            dtype=dtype, rng=rng,
        )  # fmt: skip
        self.pointwise = Conv2d(between, out_channels, 1, bias=bias, dtype=dtype, rng=rng)

    def __call__(self, x: Any) -> Tensor:
        return self.pointwise(self.depthwise(x))
