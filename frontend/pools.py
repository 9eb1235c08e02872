# long file: each pool in one, two and three dims under PyTorch's names
"""Pooling over 1 to 3 spatial axes, with PyTorch's arguments: maximum, mean, p-norm, global, and back."""

from __future__ import annotations

import math
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, product
from ..ir.graph import make_one
from ..ir.ops.nn import AvgPool
from .calls import called, wrong
from .elementwise import binary, dim_scalar
from .pointwise import where
from .tensor import Tensor, as_tensor
from .windows import Numbers, check_rank, each, pool_extra

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "global_avg_pool", "global_max_pool", "lp_pool1d", "lp_pool2d", "lp_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip


def max_pool1d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of [N, C, L]; see `max_pool2d`."""
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; the stride is the window's size if not given.

    Shapes:  input [N, C, H, W] -> [N, C, H', W'], with return_indices also i64[N, C, H', W']
    Args:    padding: below the window's size (PyTorch: at most half of it); padded elements never win;
             return_indices: also where the largest stood, counted within each plane, for `max_unpool2d`
    Gradient: to the first of the largest
    Source:  PyTorch torch.nn.functional.max_pool2d
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of [N, C, D, H, W]; see `max_pool2d`."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _max_pool(
    name: str,
    spatial: int,
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x, window = as_tensor(input), each(name, "kernel_size", kernel_size, spatial)
    step = window if stride is None else each(name, "stride", stride, spatial)
    around, spread = each(name, "padding", padding, spatial), each(name, "dilation", dilation, spatial)
    with called(name, x=x, kernel_size=window, stride=step, padding=around):
        check_rank(name, x, spatial)
        reach = [(k - 1) * d + 1 for k, d in zip(window, spread, strict=True)]
        extra = pool_extra(name, x, reach, step, around) if ceil_mode else (0,) * spatial
        pads = [(p, p + more) for p, more in zip(around, extra, strict=True)]
        values, indices = b.max_pool(x.value, window, step, pads, spread)
        if not return_indices:
            return Tensor(values)
        plane = dim_scalar(product(x.shape[2:]), indices.type.dtype)
        return Tensor(values), Tensor(binary(b.rem, indices, plane))


def avg_pool1d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of [N, C, L]; see `avg_pool2d`."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; the stride is the window's size if not given.

    Shapes:  input [N, C, H, W] -> [N, C, H', W']
    Args:    count_include_pad: whether padding counts as zeros; what ceil_mode adds beyond it never counts;
             divisor_override: by what each sum is divided instead of the count
    Source:  PyTorch torch.nn.functional.avg_pool2d
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of [N, C, D, H, W]; see `avg_pool2d`."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _avg_pool(
    name: str,
    spatial: int,
    input: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    x, window = as_tensor(input), each(name, "kernel_size", kernel_size, spatial)
    step = window if stride is None else each(name, "stride", stride, spatial)
    around = each(name, "padding", padding, spatial)
    with called(name, x=x, kernel_size=window, stride=step, padding=around):
        check_rank(name, x, spatial)
        extra = pool_extra(name, x, window, step, around) if ceil_mode else (0,) * spatial
        pads = tuple((p, p + more) for p, more in zip(around, extra, strict=True))
        if divisor is not None:
            if divisor == 0:
                raise wrong(name, "divisor_override is 0")
            return Tensor(b.window_sum(x.value, window, step, pads)) / divisor
        value, counts = x.value, count_include_pad and any(around)
        if counts and any(extra):
            zero = b.full(value.type.with_shape(()), 0)
            value = b.pad(value, zero, (0, 0, *around), (0, 0, *around))
            pads, counts = tuple((0, more) for more in extra), False
        return Tensor(make_one(AvgPool(window, step, pads, counts), value))


def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window of [N, C, L]; see `lp_pool2d`."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window: the p-th root of the sum of x^p.

    Shapes:  input [N, C, H, W] -> [N, C, H', W']
    Args:    norm_type: p; the stride is the window's size if not given
    Gradient: 0 where the sum is 0
    Numerics: x^p, not |x|^p: an odd p wants x >= 0; a window that ceil_mode cuts counts as if its mean went on
    Source:  PyTorch torch.nn.functional.lp_pool2d
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window of [N, C, D, H, W]; see `lp_pool2d`."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    name: str,
    spatial: int,
    input: Any,
    p: float,
    kernel_size: Numbers,
    stride: Numbers | None,
    ceil_mode: bool,
) -> Tensor:
    x, window = as_tensor(input), each(name, "kernel_size", kernel_size, spatial)
    if p == 0:
        raise wrong(name, "norm_type is 0, by which the exponent is divided", input=x)
    raised = x ** (int(p) if p == int(p) else p)
    mean = _avg_pool(name, spatial, raised, kernel_size, stride, 0, ceil_mode, True, None)
    total = mean * math.prod(window)
    none = total == 0
    return where(none, 0, where(none, 1, total) ** (1 / p))


def global_avg_pool(input: Any) -> Tensor:
    """The mean over all spatial axes, which stay with size 1: [N, C, ...] -> [N, C, 1, ...]."""
    x = _planes("global_avg_pool", input)
    return x.mean(tuple(range(2, x.ndim)), keepdims=True)


def global_max_pool(input: Any) -> Tensor:
    """The maximum over all spatial axes, which stay with size 1; equals share the gradient."""
    x = _planes("global_max_pool", input)
    return x.max(tuple(range(2, x.ndim)), keepdims=True)


def _planes(name: str, input: Any) -> Tensor:
    x = as_tensor(input)
    if x.ndim < 3:
        raise wrong(name, f"expected x [N, C, spatial...], x has rank {x.ndim}", x=x)
    return x


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
) -> Tensor:
    """A max_pool1d undone; see `max_unpool2d`."""
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
) -> Tensor:
    """A max_pool2d undone: each element back where it stood, zeros elsewhere.

    Shapes:  input, indices [N, C, H', W'] -> [N, C, H, W], H = (H' - 1) * stride - 2 * padding + kernel_size
    Args:    indices: from `max_pool2d` with return_indices; output_size: H and W, if other than the equation's
    Numerics: where windows overlap and an index comes twice the last stays, and only that one gets a gradient
              (PyTorch gives it to each); indices outside a plane are clamped
    Source:  PyTorch torch.nn.functional.max_unpool2d
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Any = None,
) -> Tensor:
    """A max_pool3d undone; see `max_unpool2d`."""
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def _unpool(
    name: str,
    spatial: int,
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Any,
) -> Tensor:
    x, places = as_tensor(input), as_tensor(indices)
    with called(name, input=x, indices=places, output_size=output_size):
        check_rank(name, x, spatial)
        if places.shape != x.shape or not places.dtype.is_integer:
            raise wrong(name, "expected one integer index an element of the input")
        window = each(name, "kernel_size", kernel_size, spatial)
        step = window if stride is None else each(name, "stride", stride, spatial)
        around = each(name, "padding", padding, spatial)
        sizes: list[Dim] = [
            (d - 1) * s - 2 * p + k for d, s, p, k in zip(x.shape[2:], step, around, window, strict=True)
        ]
        if output_size is not None:
            sizes = list(output_size)[-spatial:]
        batch, channels = x.shape[:2]
        empty = b.full(x.type.with_shape((batch, channels, product(tuple(sizes)))), 0)
        flat = (batch, channels, product(x.shape[2:]))
        found = b.scatter_elements(empty, b.reshape(places.value, flat), b.reshape(x.value, flat), 2, "set")
        return Tensor(b.reshape(found, (batch, channels, *sizes)))
