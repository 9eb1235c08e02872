"""Padding as layers: PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import functional as F
from ..calls import wrong
from ..tensor import Tensor, as_tensor
from .module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "ReflectionPad1d",
    "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d",
    "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class Pad(Module):
    """More around the spatial axes of [N, C, spatial...].

    Args:    padding: one number, or (low, high) of the last axis, then of the one before, and so on
    """

    spatial: ClassVar[int]
    mode: ClassVar[str] = "constant"

    def __init__(self, padding: int | Sequence[int]) -> None:
        count = 2 * self.spatial
        self.padding = (padding,) * count if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != count:
            raise wrong(
                type(self).__name__,
                f"padding={self.padding} has {len(self.padding)} entries, expected {count}",
            )
        self.value = 0.0

    def __call__(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        if tensor.ndim < self.spatial + 1:
            name = type(self).__name__
            raise wrong(
                name, f"x has rank {tensor.ndim}, expected {self.spatial} axes behind the channels", x=tensor
            )
        return F.pad(tensor, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Pad):
    """A number around."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPad):
    """A number around [N, C, L]."""

    spatial = 1


class ConstantPad2d(ConstantPad):
    """A number around [N, C, H, W]."""

    spatial = 2


class ConstantPad3d(ConstantPad):
    """A number around [N, C, D, H, W]."""

    spatial = 3


class ZeroPad1d(Pad):
    """Zeros around [N, C, L]; negative amounts cut."""

    spatial = 1


class ZeroPad2d(Pad):
    """Zeros around [N, C, H, W]; negative amounts cut."""

    spatial = 2


class ZeroPad3d(Pad):
    """Zeros around [N, C, D, H, W]; negative amounts cut."""

    spatial = 3


class ReflectionPad1d(Pad):
    """[N, C, L] mirrored at its ends, without the end itself."""

    spatial, mode = 1, "reflect"


class ReflectionPad2d(Pad):
    """[N, C, H, W] mirrored at its edges, without the edge itself."""

    spatial, mode = 2, "reflect"


class ReflectionPad3d(Pad):
    """[N, C, D, H, W] mirrored at its faces, without the face itself."""

    spatial, mode = 3, "reflect"


class ReplicationPad1d(Pad):
    """[N, C, L] with its ends again."""

    spatial, mode = 1, "replicate"


class ReplicationPad2d(Pad):
    """[N, C, H, W] with its edges again."""

    spatial, mode = 2, "replicate"


class ReplicationPad3d(Pad):
    """[N, C, D, H, W] with its faces again."""

    spatial, mode = 3, "replicate"


class CircularPad1d(Pad):
    """[N, C, L] with the other end."""

    spatial, mode = 1, "circular"


class CircularPad2d(Pad):
    """[N, C, H, W] with the opposite edges."""

    spatial, mode = 2, "circular"


class CircularPad3d(Pad):
    """[N, C, D, H, W] with the opposite faces."""

    spatial, mode = 3, "circular"
