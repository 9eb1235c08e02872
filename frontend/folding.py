"""Windows as columns and back, with PyTorch's arguments, over 1 to 3 spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, product
from ..ir.ops.patches import FoldPatches
from .calls import called, wrong
from .tensor import Tensor, as_tensor
from .windows import Numbers, Padding, Pads, each, pads_of

__all__ = ["fold", "unfold"]


def unfold(
    input: Any, kernel_size: Numbers, dilation: Numbers = 1, padding: Padding = 0, stride: Numbers = 1
) -> Tensor:
    """The elements of each window as a column.

    Shapes:   input [N, C, spatial...] -> [N, C * product(kernel_size), L], L windows in row-major order
    Args:     kernel_size, dilation, stride: one number, or one for each spatial axis
    Gradient: each element gets the sum over the columns it is in
    Source:   PyTorch torch.nn.functional.unfold, there for two spatial axes
    """
    x = as_tensor(input)
    with called(
        "unfold", input=x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    ):
        spatial = _spatial("unfold", x.ndim - 2, "input [N, C, spatial...]")
        window, step, apart, pads = _windows("unfold", spatial, kernel_size, dilation, padding, stride)
        found = b.patches(x.value, window, step, pads, apart)
        n, channels, *windows = found.type.shape
        return Tensor(b.reshape(found, (n, channels, product(tuple(windows)))))


def fold(
    input: Any,
    output_size: Sequence[Dim],
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Padding = 0,
    stride: Numbers = 1,
) -> Tensor:
    """Columns put back where `unfold` read them, and added up where windows overlap.

    Shapes:   input [N, C * product(kernel_size), L] -> [N, C, output_size...]
    Args:     output_size: the spatial axes; the others as for `unfold`
    Gradient: the columns of dy
    Source:   PyTorch torch.nn.functional.fold, there for two spatial axes
    """
    x, sizes = as_tensor(input), tuple(output_size)
    with called("fold", input=x, output_size=sizes, kernel_size=kernel_size, stride=stride, padding=padding):
        spatial = _spatial("fold", len(sizes), "output_size with a number for each spatial axis")
        if x.ndim != 3:
            raise wrong("fold", f"expected input [N, C * places, L], found rank {x.ndim}")
        window, step, apart, pads = _windows("fold", spatial, kernel_size, dilation, padding, stride)
        windows = FoldPatches(window, step, pads, apart, sizes).extents(sizes)
        if x.shape[2] != product(windows):
            raise wrong("fold", f"input has {x.shape[2]} columns, output_size is read in {product(windows)}")
        columns = b.reshape(x.value, (*x.shape[:2], *windows))
        return Tensor(b.fold_patches(columns, sizes, window, step, pads, apart))


def _spatial(name: str, count: int, what: str) -> int:
    if not 1 <= count <= 3:
        raise wrong(name, f"{count} spatial axes, expected 1 to 3: {what}")
    return count


def _windows(
    name: str, spatial: int, kernel_size: Numbers, dilation: Numbers, padding: Padding, stride: Numbers
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Pads]:
    window, step = each(name, "kernel_size", kernel_size, spatial), each(name, "stride", stride, spatial)
    apart = each(name, "dilation", dilation, spatial)
    return window, step, apart, pads_of(name, padding, window, step, apart)
