"""What runs along an axis in order: sorting, running sums and products, the logarithm of a sum of exponentials."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.graph import make_one
from ..ir.ops.nn import LogSumExp
from .calls import called
from .reductions import Axes, axes_of, axis_of, kept
from .tensor import Tensor, as_tensor

__all__ = ["argsort", "cumprod", "cumsum", "logsumexp", "sort", "topk"]


def sort(input: Any, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The elements along an axis in order, and where they stood.

    Shapes:   [S] -> [S], i64[S]
    Gradient: to where the elements stood
    Numerics: always stable; NaN is greater than all else
    Source:   PyTorch torch.sort
    """
    x = as_tensor(input)
    with called("sort", input=x, dim=dim):
        values, indices = b.sort(x.value, axis_of("sort", dim, x.value), descending)
    return Tensor(values), Tensor(indices)


def argsort(input: Any, dim: int = -1, descending: bool = False) -> Tensor:
    """Where the elements along an axis stand, in their order; see `sort`."""
    x = as_tensor(input)
    with called("argsort", input=x, dim=dim):
        return Tensor(b.sort(x.value, axis_of("argsort", dim, x.value), descending)[1])


def topk(input: Any, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements along an axis in order, and where they stood.

    Shapes:   [..., n, ...] -> [..., k, ...], i64[..., k, ...]
    Args:     k: at most n; of a symbolic n, its least value
    Gradient: to where the elements stood
    Numerics: of equals the first comes first, NaN is greater than all else
    Source:   PyTorch torch.topk
    """
    x = as_tensor(input)
    with called("topk", input=x, k=k, dim=dim):
        values, indices = b.top_k(x.value, k, axis_of("topk", dim, x.value), largest)
    return Tensor(values), Tensor(indices)


def cumsum(input: Any, dim: int, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The sum along an axis up to each element.

    Args:     exclusive: without the element itself; reverse: from the element to the end
    Numerics: integers wrap in their own type; f16 and bf16 are summed in f32
    Source:   PyTorch torch.cumsum
    """
    x = as_tensor(input)
    with called("cumsum", input=x, dim=dim):
        return Tensor(b.cumsum(x.value, axis_of("cumsum", dim, x.value), exclusive, reverse))


def cumprod(input: Any, dim: int, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The product along an axis up to each element; its derivative is right where elements are 0.

    Args:     exclusive: without the element itself; reverse: from the element to the end
    Numerics: as `cumsum`
    Source:   PyTorch torch.cumprod
    """
    x = as_tensor(input)
    with called("cumprod", input=x, dim=dim):
        return Tensor(b.cumprod(x.value, axis_of("cumprod", dim, x.value), exclusive, reverse))


def logsumexp(input: Any, dim: Axes, keepdim: bool = False) -> Tensor:
    """The logarithm of the sum of e^x over axes, without overflow.

    Gradient: softmax over the axes; 0 where all elements are -inf
    Source:   PyTorch torch.logsumexp
    """
    x = as_tensor(input)
    with called("logsumexp", input=x, dim=dim):
        axes = axes_of("logsumexp", dim, x.value)
        found = make_one(LogSumExp(axes), x.value)
    return Tensor(b.reshape(found, kept(x.value, axes)) if keepdim else found)
