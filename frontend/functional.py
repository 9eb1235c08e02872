"""Layers as functions of tensors: PyTorch's names and argument meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import ceildiv, dim_text
from ..ir.errors import TypeInferenceError
from ..ir.graph import make, make_one
from ..ir.ops import nn as composites
from .tensor import Tensor, as_tensor, binary, broadcast, promote, unary
from .tracing import current, user_origins

__all__ = [
    "avg_pool2d", "batch_norm", "conv2d", "cross_entropy", "dropout", "exp", "flatten", "linear", "log", "log_softmax",
    "max_pool2d", "mse_loss", "relu", "reshape", "sigmoid", "softmax", "sqrt", "stack", "tanh", "where",
]  # fmt: skip

Pair = int | Sequence[int]


def relu(x: Any) -> Tensor:
    """0 where x < 0, else x."""
    return Tensor(make_one(composites.Relu(), as_tensor(x).value))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return unary(b.tanh, x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e^-x)."""
    return unary(b.sigmoid, x)


def exp(x: Any) -> Tensor:
    """e^x."""
    return unary(b.exp, x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return unary(b.log, x)


def sqrt(x: Any) -> Tensor:
    """The square root."""
    return unary(b.sqrt, x)


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where the condition holds, else y."""
    left, right = promote(x, y)
    c, u, v = broadcast([as_tensor(condition), left, right])
    return Tensor(b.select(c.value, u.value, v.value))


def reshape(x: Any, shape: Sequence[Any]) -> Tensor:
    """Another shape of as many elements; one dim may be -1."""
    return as_tensor(x).reshape(tuple(shape))


def flatten(x: Any, start_dim: int = 1) -> Tensor:
    """All axes from start_dim on as one."""
    return as_tensor(x).flatten(start_dim)


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    import numpy as np

    return np.stack(xs, axis)  # type: ignore[no-any-return]


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x w^T + b; weight [out, in]."""
    operands = [as_tensor(t).value for t in (x, weight, bias) if t is not None]
    return Tensor(make_one(composites.Linear(), *operands))


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Any = 0, dilation: Pair = 1, groups: int = 1
) -> Tensor:
    """2-D convolution.

    Args:
        x:       [N, C, H, W]; weight: [O, C / groups, kH, kW]; bias: [O]
        padding: one number, one an axis, four (top, bottom, left, right), or "same" or "valid"

    Raises:
        TypeInferenceError: channels or shapes do not fit, with the numbers and the line
    """
    image, kernel = as_tensor(x), as_tensor(weight)
    _check_conv(image, kernel, groups)
    step, spread = pair(stride), pair(dilation)
    y = b.conv(image.value, kernel.value, step, pads(padding, kernel, step, spread), None, spread, groups)
    if bias is not None:
        y = b.add(y, b.broadcast_in_dim(as_tensor(bias).value, y.type.shape, (1,)))
    return Tensor(y)


def _check_conv(x: Tensor, w: Tensor, groups: int) -> None:
    line = f"x: {x.type}   w: {w.type}   groups={groups}"
    where = [str(o) for o in user_origins()]
    if x.ndim != 4 or w.ndim != 4:
        raise TypeInferenceError("conv2d: expected x [N, C, H, W] and weight [O, C / groups, kH, kW]", details=[line], where=where)
    wanted, found = w.shape[1] * groups, x.shape[1]
    if wanted != found:
        hint = f"pass groups={found} for a depthwise convolution" if w.shape[1] == 1 and groups == 1 else None
        plural = "" if wanted == 1 else "s"
        raise TypeInferenceError(
            f"conv2d: weight expects {dim_text(wanted)} input channel{plural}, input has {dim_text(found)}",
            details=[line],
            where=where,
            hint=hint,
        )


def pair(value: Pair) -> tuple[int, int]:
    """One number for both spatial axes, or one each."""
    if isinstance(value, int):
        return value, value
    first, second = value
    return int(first), int(second)


def pads(padding: Any, w: Tensor, stride: tuple[int, int], dilation: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Low and high padding of each spatial axis."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise TypeInferenceError('conv2d: padding="same" needs stride 1', where=[str(o) for o in user_origins()])
        total = [(int(k) - 1) * d for k, d in zip(w.type.static_shape()[2:], dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    given = tuple(int(p) for p in padding)
    if len(given) == 2:
        return (given[0], given[0]), (given[1], given[1])
    top, bottom, left, right = given
    return (top, bottom), (left, right)


def _pool_pads(x: Tensor, window: tuple[int, int], stride: tuple[int, int], padding: Pair, ceil_mode: bool) -> tuple[tuple[int, int], ...]:
    """Symmetric padding, and what ceil_mode adds at the end so that the last partial window counts."""
    result: list[tuple[int, int]] = []
    for axis, (k, s, p) in enumerate(zip(window, stride, pair(padding), strict=True)):
        extra = 0
        size = x.shape[axis + 2]
        if ceil_mode:
            if not isinstance(size, int):
                raise TypeInferenceError("ceil_mode needs a spatial size that is known", where=[str(o) for o in user_origins()])
            count = int(ceildiv(size + 2 * p - k, s)) + 1  # type: ignore[arg-type]
            if (count - 1) * s >= size + p:
                count -= 1
            extra = max(0, (count - 1) * s + k - size - 2 * p)
        result.append((p, p + extra))
    return tuple(result)


def max_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False) -> Tensor:
    """The largest element of each window; the stride is the window's size if not given."""
    image, window = as_tensor(x), pair(kernel_size)
    step = window if stride is None else pair(stride)
    reach = tuple((k - 1) * d + 1 for k, d in zip(window, pair(dilation), strict=True))
    padding_ = _pool_pads(image, (reach[0], reach[1]), step, padding, ceil_mode)
    values, _ = b.max_pool(image.value, window, step, padding_, pair(dilation))
    return Tensor(values)


def avg_pool2d(
    x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Tensor:
    """The mean of each window; the stride is the window's size if not given."""
    image, window = as_tensor(x), pair(kernel_size)
    step = window if stride is None else pair(stride)
    padding_ = _pool_pads(image, window, step, padding, ceil_mode)
    if ceil_mode and count_include_pad and any(lo != hi for lo, hi in padding_):
        raise TypeInferenceError(
            "avg_pool2d: ceil_mode with a partial window needs count_include_pad=False", where=[str(o) for o in user_origins()]
        )
    return Tensor(make_one(composites.AvgPool(window, step, padding_, count_include_pad), image.value))


def softmax(x: Any, dim: int = -1) -> Tensor:
    """Shares that sum to 1 along an axis."""
    tensor = as_tensor(x)
    return Tensor(make_one(composites.Softmax(dim % tensor.ndim), tensor.value))


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """The logarithm of softmax."""
    tensor = as_tensor(x)
    return Tensor(make_one(composites.LogSoftmax(dim % tensor.ndim), tensor.value))


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits [N, C] with class numbers i64[N].

    Labels outside 0..C-1 count as the nearest class.
    """
    return Tensor(make_one(composites.CrossEntropy(reduction), as_tensor(logits).value, as_tensor(labels).value))


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference, averaged over all elements."""
    difference = binary(b.sub, x, target)
    square = difference * difference
    return square if reduction == "none" else square.sum() if reduction == "sum" else square.mean()


def dropout(x: Any, p: float, key: Any) -> Tensor:
    """Zero elements with probability p and scale the rest by 1 / (1 - p), drawn from a key u32[2]."""
    return Tensor(make_one(composites.Dropout(float(p)), as_tensor(x).value, as_tensor(key).value))


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float = 1e-5) -> Tensor:
    """Normalise each channel with given statistics."""
    operands = [as_tensor(t).value for t in (x, weight, bias, mean, var)]
    return Tensor(make_one(composites.BatchNorm(eps), *operands))


def batch_norm_train(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel with the batch's own statistics, which are returned too (the variance divides by N)."""
    operands = [as_tensor(t).value for t in (x, weight, bias)]
    y, mean, var = make(composites.BatchNormTrain(eps), *operands)
    return Tensor(y), Tensor(mean), Tensor(var)


def is_training() -> bool:
    """Whether the trace that is going on is one of training."""
    return current().training
