"""Batch normalisation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...ir.dims import product
from ...ir.types import dtype_of, f32
from .. import functional as F
from ..calls import wrong
from ..elementwise import dim_scalar
from ..parameter import Buffer, Parameter
from ..tensor import Tensor, as_tensor
from ..tracing import current
from .module import Module

__all__ = ["BatchNorm", "BatchNorm1d", "BatchNorm2d"]


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

    def __call__(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        name = type(self).__name__
        if tensor.ndim not in self.ranks:
            expected = " or ".join(map(str, self.ranks))
            raise wrong(name, f"x has rank {tensor.ndim}, expected {expected}", x=tensor)
        if tensor.shape[1] != self.num_features:
            raise wrong(name, f"x has {tensor.shape[1]} channels, expected {self.num_features}", x=tensor)
        training = self.training and current().training
        if not training and self.running_mean is not None:
            return F.batch_norm(tensor, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        y, mean, var = F.batch_norm_train(tensor, self.weight, self.bias, self.eps)
        if training:
            self._track(tensor, mean, var)
        return y

    def _track(self, x: Tensor, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards the batch's."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        state = current()
        size = product((x.shape[0], *x.shape[2:]))
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
