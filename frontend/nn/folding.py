"""Windows as columns and back, as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import functional as F
from ..tensor import Tensor
from ..windows import Numbers, Padding
from .module import Module

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """The elements of each window as a column; see `unfold`."""

    def __init__(
        self, kernel_size: Numbers, dilation: Numbers = 1, padding: Padding = 0, stride: Numbers = 1
    ) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def __call__(self, x: Any) -> Tensor:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns put back and added up where windows overlap; see `fold`."""

    def __init__(
        self,
        output_size: Sequence[int],
        kernel_size: Numbers,
        dilation: Numbers = 1,
        padding: Padding = 0,
        stride: Numbers = 1,
    ) -> None:
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def __call__(self, x: Any) -> Tensor:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        given = f"{self.output_size}, {self.kernel_size}"
        return f"{given}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
