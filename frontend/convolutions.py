"""Convolutions and transposed convolutions over 1 to 3 spatial axes, with PyTorch's arguments."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import floordiv
from ..ir.graph import Value
from .calls import called, wrong
from .tensor import Tensor, as_tensor
from .windows import Numbers, Padding, each, pads_of, shape_of

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "turned"]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution; see `conv2d`.

    Shapes:  input [N, C, L], weight [O, C / groups, kL], bias [O] -> [N, O, L']
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution (cross-correlation, as everywhere in the field).

    Equation: O = floor((W + low + high - ((K - 1) * dilation + 1)) / stride) + 1
    Shapes:  input [N, C, H, W], weight [O, C / groups, kH, kW], bias [O] -> [N, O, H', W']; the batch axis is always
             there, which PyTorch lets be left out
    Args:    padding: see `Padding`; "same" keeps H and W, with the odd pixel at the end
    Raises:  TypeInferenceError where channels or shapes do not fit, with the numbers and the user's line
    Source:  PyTorch torch.nn.functional.conv2d
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """3-D convolution; see `conv2d`.

    Shapes:  input [N, C, D, H, W], weight [O, C / groups, kD, kH, kW], bias [O] -> [N, O, D', H', W']
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _conv(
    name: str,
    spatial: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Numbers,
    padding: Padding,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    x, w = as_tensor(input), as_tensor(weight)
    with called(name, x=x, w=w, groups=groups):
        _check_ranks(name, spatial, x, w, "O, C / groups")
        step, spread = each(name, "stride", stride, spatial), each(name, "dilation", dilation, spatial)
        around = pads_of(name, padding, w.shape[2:], step, spread)
        y = b.conv(x.value, w.value, step, around, rhs_dilation=spread, groups=groups)
    return Tensor(_biased(name, y, bias))


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """1-D transposed convolution; see `conv_transpose2d`.

    Shapes:  input [N, C, L], weight [C, O / groups, kL], bias [O] -> [N, O, L']
    """
    return _transposed(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """2-D transposed convolution: the gradient of `conv2d` by its input, taken as a layer.

    Equation: O = (W - 1) * stride - 2 * padding + (K - 1) * dilation + output_padding + 1
    Shapes:  input [N, C, H, W], weight [C, O / groups, kH, kW], bias [O] -> [N, O, H', W']
    Args:    padding: what is cut off at both ends; output_padding: what is added at the end, below the stride or the
             dilation
    Raises:  TypeInferenceError where channels or shapes do not fit, with the numbers and the user's line
    Source:  PyTorch torch.nn.functional.conv_transpose2d
    """
    return _transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """3-D transposed convolution; see `conv_transpose2d`.

    Shapes:  input [N, C, D, H, W], weight [C, O / groups, kD, kH, kW], bias [O] -> [N, O, D', H', W']
    """
    return _transposed(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _transposed(
    name: str,
    spatial: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> Tensor:
    x, w = as_tensor(input), as_tensor(weight)
    with called(name, x=x, w=w, groups=groups):
        _check_ranks(name, spatial, x, w, "C, O / groups")
        step, spread = each(name, "stride", stride, spatial), each(name, "dilation", dilation, spatial)
        cut = each(name, "padding", padding, spatial)
        more = each(name, "output_padding", output_padding, spatial)
        for s, d, m in zip(step, spread, more, strict=True):
            if not 0 <= m < max(s, d):
                raise wrong(
                    name, f"output_padding is {m}, expected 0..{max(s, d) - 1}, below stride or dilation"
                )
        channels, given = w.shape[0], x.shape[1]
        if channels != given:
            raise wrong(name, f"weight expects {channels} input channels, input has {given}")
        if groups < 1 or floordiv(channels, groups) * groups != channels:
            raise wrong(name, f"{groups} groups do not divide {channels} input channels")
        window = [int(k) for k in w.type.static_shape()[2:]]
        around = [
            ((k - 1) * d - p, (k - 1) * d - p + m)
            for k, d, p, m in zip(window, spread, cut, more, strict=True)
        ]
        for axis, (size, k, s, d, p, m) in enumerate(
            zip(x.shape[2:], window, step, spread, cut, more, strict=True)
        ):
            left = (size - 1) * s - 2 * p + (k - 1) * d + m + 1
            if isinstance(left, int) and left < 1:
                formula = f"({size} - 1) * {s} - 2 * {p} + ({k} - 1) * {d} + {m} + 1 = {left}"
                raise wrong(name, f"spatial axis {axis}: nothing is left: {formula}")
        y = b.conv(x.value, turned(w.value, groups), (1,) * spatial, around, step, spread, groups)
    return Tensor(_biased(name, y, bias))


def turned(w: Value, groups: int) -> Value:
    """Filters [C, O / groups, ...] as [O, C / groups, ...], reversed."""
    channels, out, *window = w.type.shape
    spatial = tuple(range(2, w.type.rank))
    split = b.reshape(b.reverse(w, spatial), (groups, floordiv(channels, groups), out, *window))
    moved = b.permute(split, (0, 2, 1, *(k + 1 for k in spatial)))
    return b.reshape(moved, (groups * out, floordiv(channels, groups), *window))


def _check_ranks(name: str, spatial: int, x: Tensor, w: Tensor, filters: str) -> None:
    if x.ndim != spatial + 2 or w.ndim != spatial + 2:
        window = ", ".join(f"k{axis}" for axis in "DHW"[3 - spatial :]) if spatial > 1 else "kL"
        raise wrong(name, f"expected x {shape_of(spatial)} and w [{filters}, {window}]")


def _biased(name: str, y: Value, bias: Any) -> Value:
    if bias is None:
        return y
    given = as_tensor(bias)
    if given.type != y.type.with_shape(y.type.shape[1:2]):
        raise wrong(name, "bias is not one number an output channel", y=Tensor(y), bias=given)
    return b.add(y, b.broadcast_in_dim(given.value, y.type.shape, (1,)))
