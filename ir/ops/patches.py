"""Windows written out as channels, and back: a convolution as a matrix product, and what is no convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, Shape, dim_text, floordiv, mod, product
from ..op import Accuracy, Cost, Op, register, traffic
from ..types import Array, TensorType, dtype_of
from .common import accumulator, narrow, need, need_kind
from .window import NEUTRAL, Pads, check_window, spread_and_pad, window_extent, window_views

__all__ = ["FoldPatches", "Patches"]


@dataclass(frozen=True)
class Windowed(Op):
    """A family that reads [N, C, spatial...] in windows, or puts such windows together."""

    neutral = NEUTRAL
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]

    @property
    def places(self) -> int:
        """How many places a window has."""
        return int(np.prod(self.window, dtype=np.int64))

    def extents(self, sizes: Sequence[Dim]) -> tuple[Dim, ...]:
        """How many windows there are along each spatial axis."""
        axes = zip(sizes, self.window, self.strides, self.padding, self.dilation, strict=True)
        return tuple(window_extent(self, n, k, s, p, d, 1, a) for a, (n, k, s, p, d) in enumerate(axes))

    def check(self, x: TensorType) -> None:
        need_kind(self, x, ("float", "int", "uint"))
        spatial = check_window(self, x, self.window, self.strides, self.padding, self.dilation)
        need(self, spatial <= 3, f"{spatial} spatial axes, expected 1 to 3", x)
        for what, numbers in (
            ("window", self.window),
            ("strides", self.strides),
            ("dilation", self.dilation),
        ):
            need(self, min(numbers) >= 1, f"{what} is {list(numbers)}, expected numbers from 1 on", x)


@register
@dataclass(frozen=True)
class Patches(Windowed):
    """Each window's elements as channels (im2col).

    Equation: y[n, c K + k, o] = x[n, c, o * stride + k * dilation - low], K places k in row-major order
    Shapes:   x T[N, C, spatial...] -> T[N, C * product(window), spatial'...], 1 to 3 spatial axes
    Args:     window, strides, dilation >= 1; padding: (low, high) an axis, negative cuts; padded elements are 0
    Gradient: dx = fold_patches(dy)
    Numerics: exact, moves bits
    Source:   PyTorch torch.nn.functional.unfold, JAX lax.conv_general_dilated_patches
    """

    mnemonic = "patches"

    def infer(self, x: TensorType) -> TensorType:
        self.check(x)
        return x.with_shape((x.shape[0], x.shape[1] * self.places, *self.extents(x.shape[2:])))

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        shape = types[0].static_shape()
        padded = spread_and_pad(x, self.padding, (1,) * len(self.window), 0)
        views = window_views(padded, self.window, self.strides, self.dilation, shape[2:])
        return np.stack(views, axis=2).reshape(shape)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


@register
@dataclass(frozen=True)
class FoldPatches(Windowed):
    """Windows put back where they were read and added up where they overlap (col2im): the adjoint of `patches`.

    Equation: y[n, c, i] = sum over o, k with o * stride + k * dilation - low = i of x[n, c K + k, o]
    Shapes:   x T[N, C * product(window), spatial'...] -> T[N, C, sizes...], 1 to 3 spatial axes
    Args:     sizes: the spatial axes of the result; window, strides, padding, dilation: as `patches` that read it
    Gradient: dx = patches(dy)
    Numerics: f16 and bf16 are summed in f32
    Raises:   TypeInferenceError where windows over `sizes` are not as many as x has
    Source:   PyTorch torch.nn.functional.fold, ONNX Col2Im-18
    """

    mnemonic = "fold_patches"
    accuracy = Accuracy.REASSOCIATED
    sizes: Shape

    def infer(self, x: TensorType) -> TensorType:
        self.check(x)
        count = len(self.sizes)
        need(self, count == len(self.window), f"{count} sizes for {len(self.window)} spatial axes", x)
        found = dim_text(x.shape[1])
        need(
            self,
            mod(x.shape[1], self.places) == 0,
            f"{found} channels are no multiple of {self.places} places",
            x,
        )
        wanted = self.extents(self.sizes)
        for axis, (have, want) in enumerate(zip(x.shape[2:], wanted, strict=True)):
            size = dim_text(self.sizes[axis])
            message = f"spatial axis {axis} has {dim_text(have)} windows, {size} elements are read in {dim_text(want)}"
            need(self, have == want, message, x)
        return x.with_shape((x.shape[0], floordiv(x.shape[1], self.places), *self.sizes))

    def evaluate(self, x: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        shape, dtype = types[0].static_shape(), dtype_of(x)
        acc = accumulator(dtype, None).numpy
        out = np.zeros(
            (*shape[:2], *(d + lo + hi for d, (lo, hi) in zip(shape[2:], self.padding, strict=True))), acc
        )
        views = window_views(out, self.window, self.strides, self.dilation, x.shape[2:])
        parts = x.astype(acc).reshape(*shape[:2], self.places, *x.shape[2:])
        with np.errstate(all="ignore"):
            for k, view in enumerate(views):
                view += parts[:, :, k]
        around = tuple((-lo, -hi) for lo, hi in self.padding)
        return narrow(spread_and_pad(out, around, (1,) * len(self.window), 0), dtype)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(product(operands[0].shape), traffic(operands, results))
