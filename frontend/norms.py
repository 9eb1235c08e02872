"""Normalisations: PyTorch's names and arguments. Half precision is normalised in f32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import build as b
from ..ir.dims import product
from ..ir.graph import Value, make, make_one
from ..ir.ops import nn as composites
from ..ir.types import bf16, f16, f32
from .calls import called, wrong
from .pointwise import sqrt, where
from .tensor import Tensor, as_tensor

__all__ = [
    "batch_norm", "batch_norm_train", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize",
    "rms_norm",
]  # fmt: skip


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each channel with given statistics."""
    x = as_tensor(input)
    given = [
        x.value,
        *_channels(x, weight, bias),
        as_tensor(running_mean).value,
        as_tensor(running_var).value,
    ]
    with called("batch_norm", x=x, running_mean=running_mean):
        return Tensor(make_one(composites.BatchNorm(eps), *given))


def batch_norm_train(
    input: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel with the batch's statistics, which follow the result; the variance divides by the count."""
    x = as_tensor(input)
    with called("batch_norm", x=x):
        y, mean, var = make(composites.BatchNormTrain(eps), x.value, *_channels(x, weight, bias))
    return Tensor(y), Tensor(mean), Tensor(var)


def _channels(x: Tensor, weight: Any, bias: Any) -> tuple[Value, Value]:
    """Scale and shift of each channel: 1 and 0 where they are not given."""
    channel = x.type.with_shape(x.shape[1:2])
    scale = b.full(channel, 1) if weight is None else as_tensor(weight).value
    return scale, b.full(channel, 0) if bias is None else as_tensor(bias).value


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Mean 0 and variance 1 over the last axes of each element of the batch.

    Equation: y = (x - mean) / sqrt(var + eps) * weight + bias; var divides by the count
    Shapes:  input [..., *normalized_shape], weight and bias [*normalized_shape] -> as the input
    Source:  J. Ba et al., Layer normalization, 2016; PyTorch torch.nn.functional.layer_norm
    """
    x = as_tensor(input)
    with called("layer_norm", input=x, normalized_shape=normalized_shape):
        axes = _last_axes("layer_norm", x, normalized_shape, weight, bias)
        wide = _wide(x)
        y = _standardized(wide, axes, eps)
        return _affine(y, weight, bias).astype(x.dtype)


def rms_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last axes.

    Equation: y = x / sqrt(mean of x^2 + eps) * weight
    Shapes:  input [..., *normalized_shape], weight [*normalized_shape] -> as the input
    Args:    eps: the element type's distance from 1 to the next number if not given
    Source:  B. Zhang, R. Sennrich, Root mean square layer normalization, 2019; PyTorch torch.nn.functional.rms_norm
    """
    x = as_tensor(input)
    with called("rms_norm", input=x, normalized_shape=normalized_shape):
        axes = _last_axes("rms_norm", x, normalized_shape, weight, None)
        wide = _wide(x)
        tiny = float(np.finfo(wide.dtype.numpy).eps) if eps is None else eps
        square = (wide * wide).mean(axes, keepdims=True)
        return _affine(wide / sqrt(square + tiny), weight, None).astype(x.dtype)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Mean 0 and variance 1 over each group of channels of each image.

    Shapes:  input [N, C, ...], weight and bias [C] -> as the input
    Args:    num_groups: divides C
    Source:  Y. Wu, K. He, Group normalization, 2018; PyTorch torch.nn.functional.group_norm
    """
    x = as_tensor(input)
    with called("group_norm", input=x, num_groups=num_groups):
        if x.ndim < 2:
            raise wrong("group_norm", f"expected x [N, C, ...], x has rank {x.ndim}")
        channels = x.shape[1]
        if not isinstance(channels, int) or num_groups < 1 or channels % num_groups:
            raise wrong("group_norm", f"{num_groups} groups do not divide {channels} channels")
        wide = _wide(x)
        split = wide.reshape(x.shape[0], num_groups, channels // num_groups, *x.shape[2:])
        y = _standardized(split, tuple(range(2, split.ndim)), eps).reshape(*x.shape)
        return _affine(y, _beside(x, weight), _beside(x, bias)).astype(x.dtype)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the spatial axes of each channel of each image.

    Shapes:  input [N, C, spatial...], weight, bias, running_mean and running_var [C] -> as the input
    Args:    use_input_stats: False takes the running statistics; nothing here updates them, the module does
    Source:  D. Ulyanov et al., Instance normalization, 2016; PyTorch torch.nn.functional.instance_norm
    """
    x = as_tensor(input)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise wrong("instance_norm", "running statistics are missing", input=x)
        return batch_norm(x, running_mean, running_var, weight, bias, eps)
    with called("instance_norm", input=x):
        if x.ndim < 3:
            raise wrong("instance_norm", f"expected x [N, C, spatial...], x has rank {x.ndim}")
        if product(x.shape[2:]) == 1:
            raise wrong("instance_norm", "one value a channel has no variance", input=x)
        y = _standardized(_wide(x), tuple(range(2, x.ndim)), eps)
        return _affine(y, _beside(x, weight), _beside(x, bias)).astype(x.dtype)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by what the neighbouring channels hold.

    Equation: y = x / (k + alpha / size * sum of x^2 over size channels around)^beta
    Shapes:  input [N, C, spatial...] -> as the input; of an even size the window reaches further back
    Source:  A. Krizhevsky et al., ImageNet classification, 2012; PyTorch torch.nn.functional.local_response_norm
    """
    x = as_tensor(input)
    with called("local_response_norm", input=x, size=size):
        if x.ndim < 3:
            raise wrong("local_response_norm", f"expected x [N, C, spatial...], x has rank {x.ndim}")
        if size < 1:
            raise wrong("local_response_norm", f"size is {size}, expected a number from 1 on")
        wide = _wide(x)
        line = (wide * wide).reshape(x.shape[0], 1, x.shape[1], product(x.shape[2:]))
        pads = ((size // 2, (size - 1) // 2), (0, 0))
        total = Tensor(b.window_sum(line.value, (size, 1), (1, 1), pads)).reshape(*x.shape)
        return (wide / (total * (alpha / size) + k) ** float(beta)).astype(x.dtype)


def normalize(input: Any, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along an axis, or by eps where the norm is smaller.

    Gradient: 0 of the norm where it is 0
    Source:  PyTorch torch.nn.functional.normalize
    """
    x = as_tensor(input)
    with called("normalize", input=x, dim=dim):
        norm = p_norm(x, p, dim, keepdims=True)
        return x / norm.clip(min=eps)


def p_norm(x: Tensor, p: float, dim: int | Sequence[int], keepdims: bool = False) -> Tensor:
    """(sum of |x|^p)^(1 / p) along axes; |x| summed for 1, the largest |x| for infinity. Its gradient at 0 is 0."""
    size = abs(x)
    if p == float("inf"):
        return size.max(dim, keepdims)
    if p == 1:
        return size.sum(dim, keepdims)
    if p <= 0:
        raise wrong("norm", f"p is {p}, expected a positive number", x=x)
    if p == 2:
        total = (x * x).sum(dim, keepdims)
    else:
        total = where(size == 0, 0, where(size == 0, 1, size) ** float(p)).sum(dim, keepdims)
    none = total == 0
    safe = where(none, 1, total)
    return where(none, 0, sqrt(safe) if p == 2 else safe ** (1 / p))


def _standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdims=True)
    return centred / sqrt((centred * centred).mean(axes, keepdims=True) + eps)


def _wide(x: Tensor) -> Tensor:
    return x.astype(f32) if x.dtype in (f16, bf16) else x


def _affine(y: Tensor, weight: Any, bias: Any) -> Tensor:
    if weight is not None:
        y = y * as_tensor(weight).astype(y.dtype)
    return y if bias is None else y + as_tensor(bias).astype(y.dtype)


def _beside(x: Tensor, channel: Any) -> Tensor | None:
    """[C] as [C, 1, ...], to stand beside x [N, C, ...]."""
    if channel is None:
        return None
    given = as_tensor(channel)
    if given.shape != x.shape[1:2]:
        raise wrong("norm", f"{given.type} is not one number a channel", x=x)
    return given.reshape(given.shape[0], *[1] * (x.ndim - 2))


def _last_axes(
    name: str, x: Tensor, normalized_shape: int | Sequence[int], weight: Any, bias: Any
) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.ndim < len(shape) or x.shape[x.ndim - len(shape) :] != shape:
        raise wrong(name, f"x ends in {list(x.shape)[-max(len(shape), 1) :]}, expected {list(shape)}")
    for what, given in (("weight", weight), ("bias", bias)):
        if given is not None and as_tensor(given).shape != shape:
            raise wrong(name, f"{what} is {as_tensor(given).type}, expected the shape {list(shape)}")
    return tuple(range(x.ndim - len(shape), x.ndim))
