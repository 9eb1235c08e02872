"""Pools as layers: PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import functional as F
from ..tensor import Tensor
from ..windows import Numbers
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "GlobalAvgPool", "GlobalMaxPool", "LPPool1d", "LPPool2d",
    "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


class MaxPool(Module):
    """What the maximum pools have in common."""

    function: ClassVar[Any]

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def __call__(self, x: Any) -> Any:
        return self.function(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest element of each window of [N, C, L]; see `MaxPool2d`."""

    function = staticmethod(F.max_pool1d)


class MaxPool2d(MaxPool):
    """The largest element of each window; the stride is the window's size if not given.

    Args:    return_indices: also where the largest stood, for `MaxUnpool2d`; ceil_mode: whether a last window that
             begins inside counts
    Source:  PyTorch torch.nn.MaxPool2d
    """

    function = staticmethod(F.max_pool2d)


class MaxPool3d(MaxPool):
    """The largest element of each window of [N, C, D, H, W]; see `MaxPool2d`."""

    function = staticmethod(F.max_pool3d)


class AvgPool(Module):
    """What the average pools have in common."""

    function: ClassVar[Any]

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def __call__(self, x: Any) -> Tensor:
        more = () if self.divisor_override is None else (self.divisor_override,)
        return self.function(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, *more
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """The mean of each window of [N, C, L]; see `AvgPool2d`."""

    function = staticmethod(F.avg_pool1d)


class AvgPool2d(AvgPool):
    """The mean of each window; the stride is the window's size if not given.

    Args:    count_include_pad: whether padding counts as zeros; divisor_override: by what the sums are divided instead
    Source:  PyTorch torch.nn.AvgPool2d
    """

    function = staticmethod(F.avg_pool2d)


class AvgPool3d(AvgPool):
    """The mean of each window of [N, C, D, H, W]; see `AvgPool2d`."""

    function = staticmethod(F.avg_pool3d)


class LPPool(Module):
    """What the p-norm pools have in common."""

    function: ClassVar[Any]

    def __init__(
        self, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type, self.kernel_size, self.ceil_mode = norm_type, kernel_size, ceil_mode
        self.stride = kernel_size if stride is None else stride

    def __call__(self, x: Any) -> Tensor:
        return self.function(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}"


class LPPool1d(LPPool):
    """The p-norm of each window of [N, C, L]; see `LPPool2d`."""

    function = staticmethod(F.lp_pool1d)


class LPPool2d(LPPool):
    """The p-norm of each window; the stride is the window's size if not given."""

    function = staticmethod(F.lp_pool2d)


class LPPool3d(LPPool):
    """The p-norm of each window of [N, C, D, H, W]; see `LPPool2d`."""

    function = staticmethod(F.lp_pool3d)


class AdaptiveAvgPool(Module):
    """What the adaptive average pools have in common."""

    function: ClassVar[Any]

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        self.output_size = output_size

    def __call__(self, x: Any) -> Tensor:
        return self.function(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """The mean of output_size windows of [N, C, L]."""

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """The mean of so many windows that the result has output_size; None keeps an axis."""

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    """The mean of so many windows of [N, C, D, H, W] that the result has output_size."""

    function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPool(Module):
    """What the adaptive maximum pools have in common."""

    function: ClassVar[Any]

    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        self.output_size, self.return_indices = output_size, return_indices

    def __call__(self, x: Any) -> Any:
        return self.function(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """The largest of output_size windows of [N, C, L]."""

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """The largest of so many windows that the result has output_size; None keeps an axis."""

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """The largest of so many windows of [N, C, D, H, W] that the result has output_size."""

    function = staticmethod(F.adaptive_max_pool3d)


class GlobalAvgPool(Module):
    """The mean over all spatial axes, which stay with size 1: ONNX's GlobalAveragePool."""

    def __call__(self, x: Any) -> Tensor:
        return F.global_avg_pool(x)


class GlobalMaxPool(Module):
    """The maximum over all spatial axes, which stay with size 1: ONNX's GlobalMaxPool."""

    def __call__(self, x: Any) -> Tensor:
        return F.global_max_pool(x)


class MaxUnpool(Module):
    """What undoes the maximum pools."""

    function: ClassVar[Any]

    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def __call__(self, x: Any, indices: Any, output_size: Any = None) -> Tensor:
        return self.function(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(MaxUnpool):
    """A `MaxPool1d` undone: each element back where it stood, zeros elsewhere."""

    function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(MaxUnpool):
    """A `MaxPool2d` with return_indices undone: each element back where it stood, zeros elsewhere."""

    function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(MaxUnpool):
    """A `MaxPool3d` undone: each element back where it stood, zeros elsewhere."""

    function = staticmethod(F.max_unpool3d)
