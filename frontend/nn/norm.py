"""Normalisations as layers: PyTorch's names, arguments and state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ...ir.dims import Dim, product
from ...ir.errors import NervureError
from ...ir.types import dtype_of, f32
from .. import functional as F
from ..calls import wrong
from ..elementwise import dim_scalar
from ..parameter import Buffer, Parameter
from ..tensor import Tensor, as_tensor
from ..tracing import current
from .module import Module

__all__ = [
    "BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm",
]  # fmt: skip


class BatchNorm(Module):
    """Normalise each channel: with the batch's statistics in training, with running ones at inference.

    Shapes:  x [N, C, ...] -> the same; weight, bias, running_mean, running_var [C]
    Args:    momentum: the share of the batch's statistics in the running ones, None for the mean of all batches;
             affine: whether there are weight and bias; track_running_stats: whether there are running statistics,
             the batch's own serve at inference too without
    Numerics: x is normalised by the batch's biased variance; the running variance takes the unbiased one
    Source:  S. Ioffe, C. Szegedy, Batch normalization, 2015; PyTorch torch.nn.BatchNorm2d
    """

    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = f32,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        kind = dtype_of(dtype).numpy
        ones, zeros = np.ones(num_features, kind), np.zeros(num_features, kind)
        self.weight = Parameter(ones) if affine else None
        self.bias = Parameter(zeros) if affine else None
        self.running_mean = Buffer(zeros) if track_running_stats else None
        self.running_var = Buffer(ones) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.zeros((), np.int64)) if track_running_stats else None

    def _checked(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        name = type(self).__name__
        if tensor.ndim not in self.ranks:
            expected = " or ".join(map(str, self.ranks))
            raise wrong(name, f"x has rank {tensor.ndim}, expected {expected}", x=tensor)
        if tensor.shape[1] != self.num_features:
            raise wrong(name, f"x has {tensor.shape[1]} channels, expected {self.num_features}", x=tensor)
        return tensor

    def __call__(self, x: Any) -> Tensor:
        tensor = self._checked(x)
        training = self.training and current().training
        if not training and self.running_mean is not None:
            return F.batch_norm(tensor, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        y, mean, var = F.batch_norm_train(tensor, self.weight, self.bias, self.eps)
        if training:
            self._track(tensor, mean, var, product((tensor.shape[0], *tensor.shape[2:])))
        return y

    def _track(self, x: Tensor, mean: Tensor, var: Tensor, size: Dim) -> None:
        """Move the running statistics towards those of the batch, whose variance was of so many values."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        state = current()
        if size == 1:
            raise wrong(type(self).__name__, "one value a channel has no variance to train on", x=x)
        count = Tensor(dim_scalar(size, x.dtype))
        batches = self.num_batches_tracked + 1
        share = self.momentum if self.momentum is not None else 1 / batches.astype(x.dtype)
        unbiased = var * (count / (count - 1))
        for running, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            state.update(running, (running * (1 - share) + batch * share).value)
        state.update(self.num_batches_tracked, batches.value)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"
        )


class BatchNorm1d(BatchNorm):
    """Batch normalisation of [N, C] or [N, C, L]."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of [N, C, H, W]."""

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of [N, C, D, H, W]."""

    ranks = (5,)


class InstanceNorm(BatchNorm):
    """Normalise each channel of each image by its own statistics.

    Shapes:  x [N, C, spatial...] -> the same; weight, bias, running_mean, running_var [C]
    Args:    as for `BatchNorm`; affine and track_running_stats are off unless asked for; the running statistics are
             means over the batch, and serve at inference
    Source:  D. Ulyanov et al., Instance normalization, 2016; PyTorch torch.nn.InstanceNorm2d, which counts no batches
             though it has num_batches_tracked; so has this one
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: Any = f32,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype=dtype)

    def __call__(self, x: Any) -> Tensor:
        tensor = self._checked(x)
        training = self.training and current().training
        if not training and self.running_mean is not None:
            return F.batch_norm(tensor, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        if training and self.running_mean is not None:
            axes = tuple(range(2, tensor.ndim))
            self._track(
                tensor, tensor.mean(axes).mean(0), tensor.var(axes).mean(0), product(tensor.shape[2:])
            )
        return F.instance_norm(tensor, weight=self.weight, bias=self.bias, eps=self.eps)


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of [N, C, L]."""

    ranks = (3,)


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of [N, C, H, W]."""

    ranks = (4,)


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of [N, C, D, H, W]."""

    ranks = (5,)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes of each element of the batch.

    Shapes:  x [..., *normalized_shape] -> the same; weight, bias [*normalized_shape]
    Args:    elementwise_affine: whether there are weight and bias; bias: whether there is the bias of these
    Source:  J. Ba et al., Layer normalization, 2016; PyTorch torch.nn.LayerNorm
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = f32,
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        kind = dtype_of(dtype).numpy
        self.weight = Parameter(np.ones(self.normalized_shape, kind)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, kind)) if elementwise_affine and bias else None

    def __call__(self, x: Any) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class RMSNorm(Module):
    """Divide by the root of the mean square over the last axes.

    Shapes:  x [..., *normalized_shape] -> the same; weight [*normalized_shape]
    Args:    eps: the element type's distance from 1 to the next number if not given
    Source:  B. Zhang, R. Sennrich, Root mean square layer normalization, 2019; PyTorch torch.nn.RMSNorm
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = f32,
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        kind = dtype_of(dtype).numpy
        self.weight = Parameter(np.ones(self.normalized_shape, kind)) if elementwise_affine else None

    def __call__(self, x: Any) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class GroupNorm(Module):
    """Mean 0 and variance 1 over each group of channels of each image.

    Shapes:  x [N, num_channels, ...] -> the same; weight, bias [num_channels]
    Args:    num_groups: divides num_channels; affine: whether there are weight and bias
    Source:  Y. Wu, K. He, Group normalization, 2018; PyTorch torch.nn.GroupNorm
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: Any = f32,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise NervureError(f"GroupNorm: {num_groups} groups do not divide {num_channels} channels")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        kind = dtype_of(dtype).numpy
        self.weight = Parameter(np.ones(num_channels, kind)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, kind)) if affine else None

    def __call__(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        if tensor.ndim < 2 or tensor.shape[1] != self.num_channels:
            raise wrong("GroupNorm", f"expected x [N, {self.num_channels}, ...]", x=tensor)
        return F.group_norm(tensor, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"


class LocalResponseNorm(Module):
    """Divide by what the neighbouring channels hold; see `local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def __call__(self, x: Any) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
