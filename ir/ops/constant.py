"""Values that need no operands: constants and iota."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Shape
from ..op import Op, register
from ..types import Array, DType, TensorType, dtype_of

__all__ = ["Constant", "Iota", "Literal"]

INLINE_ELEMENTS = 16
"""Up to so many elements are written in the text; a larger literal is its content hash."""


class Literal:
    """An immutable array used as an attribute; equal when type and bits are equal."""

    __slots__ = ("array", "digest", "type")

    def __init__(self, value: Any, dtype: DType | None = None) -> None:
        array = np.array(value, dtype=None if dtype is None else dtype.numpy, order="C")
        array.setflags(write=False)
        self.array: Array = array
        self.type = TensorType(dtype_of(array), tuple(array.shape))
        self.digest = hashlib.blake2b(str(self.type).encode() + array.tobytes(), digest_size=32).hexdigest()

    @property
    def is_inline(self) -> bool:
        return self.array.size <= INLINE_ELEMENTS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Literal({self.type}, {self.digest[:6]})"


@register
@dataclass(frozen=True)
class Constant(Op):
    """A tensor known when the program is written. Weights are no constants: they live in the store.

    Shapes:  -> the literal's type
    Source:  ONNX Constant-25
    """

    mnemonic = "constant"
    value: Literal

    def infer(self) -> TensorType:
        return self.value.type

    def evaluate(self, **_: Any) -> Array:
        return self.value.array


@register
@dataclass(frozen=True)
class Iota(Op):
    """0, 1, 2, ... along one axis, equal along the others.

    Shapes:  -> dtype[shape]
    Args:    shape: dims, symbols allowed; axis: within the rank
    Source:  StableHLO iota
    """

    mnemonic = "iota"
    dtype: DType
    shape: Shape
    axis: int = 0

    def infer(self) -> TensorType:
        result = TensorType(self.dtype, self.shape)
        if not 0 <= self.axis < len(self.shape):
            raise self.error(f"axis {self.axis} is not within the rank of {result}")
        if self.dtype.kind == "bool":
            raise self.error("bool does not count")
        return result

    def evaluate(self, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        shape = types[0].static_shape()
        line = np.arange(shape[self.axis]).astype(self.dtype.numpy)
        side = [1] * len(shape)
        side[self.axis] = -1
        return np.ascontiguousarray(np.broadcast_to(line.reshape(side), shape))
