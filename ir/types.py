"""Types: an element type and a shape, written ``f32[B,1,28,28]``; a scalar is ``f32[]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import ml_dtypes
import numpy as np
import numpy.typing as npt

from .dims import Dim, Shape, evaluate_dim, free_symbols, product, shape_text, symbol
from .errors import NervureError

__all__ = [
    "DTYPES",
    "Array",
    "DType",
    "Dim",
    "Shape",
    "TensorType",
    "bf16",
    "bool_",
    "dtype_of",
    "f16",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u32",
    "u64",
]

Array = npt.NDArray[Any]
Kind = Literal["float", "int", "uint", "bool"]


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: its name in the text, its kind, its width in bits."""

    name: str
    kind: Kind
    bits: int

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype; bf16 is ml_dtypes.bfloat16."""
        return _NUMPY[self.name]

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory; bool takes one."""
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def eps(self) -> float:
        """The distance from 1 to the next float; 0 for exact types."""
        info = cast(Any, ml_dtypes.finfo)  # pyright: ignore[reportUnknownMemberType]  # it has no types
        return float(info(self.numpy).eps) if self.is_float else 0.0

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


f64, f32, f16, bf16 = (
    DType("f64", "float", 64),
    DType("f32", "float", 32),
    DType("f16", "float", 16),
    DType("bf16", "float", 16),
)
i64, i32, i16, i8 = (
    DType("i64", "int", 64),
    DType("i32", "int", 32),
    DType("i16", "int", 16),
    DType("i8", "int", 8),
)
u64, u32, u8 = DType("u64", "uint", 64), DType("u32", "uint", 32), DType("u8", "uint", 8)
bool_ = DType("bool", "bool", 8)

DTYPES: dict[str, DType] = {d.name: d for d in (f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u8, bool_)}

_NUMPY: dict[str, np.dtype[Any]] = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "u64": np.dtype(np.uint64),
    "u32": np.dtype(np.uint32),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
_BY_NUMPY = {dtype: DTYPES[name] for name, dtype in _NUMPY.items()}


def dtype_of(what: Any) -> DType:
    """The DType of an array, a numpy or torch dtype, a DType or a name.

    Raises:
        NervureError: nervure has no such element type
    """
    if isinstance(what, DType):
        return what
    if isinstance(what, str) and what in DTYPES:
        return DTYPES[what]
    given: Any = what if isinstance(what, type) else getattr(what, "dtype", what)
    try:
        if given is None:  # which numpy takes for f64
            raise TypeError
        if type(given).__module__ == "torch":  # named as numpy's
            given = str(given).removeprefix("torch.")
        return _BY_NUMPY[np.dtype(given)]
    except (KeyError, TypeError):
        raise NervureError(
            f"no element type for {given!s}", hint=f"nervure has {', '.join(DTYPES)}"
        ) from None


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of every value: a dense tensor of one element type.

    Args:
        dtype: the element type
        shape: one dim an axis; an integer, or an expression of symbols
    """

    dtype: DType
    shape: Shape = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes of a dense array of this type."""
        return self.size * self.dtype.bytes

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; only where is_static."""
        assert all(isinstance(d, int) for d in self.shape), self
        return tuple(d for d in self.shape if isinstance(d, int))

    def concrete(self, env: dict[str, int]) -> tuple[int, ...]:
        """The shape for given values of the symbols."""
        return tuple(evaluate_dim(d, env) for d in self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}{shape_text(self.shape)}"

    __repr__ = __str__


def common_symbols(types: tuple[TensorType, ...]) -> dict[str, Dim]:
    """Every symbol of the types by name.

    Raises:
        NervureError: two symbols share a name and differ in range
    """
    found: dict[str, Any] = {}
    for t in types:
        for d in t.shape:
            for s in free_symbols(d):
                if found.setdefault(s.name, s) != s:
                    other = found[s.name]
                    raise NervureError(
                        f"symbol {s.name} has two ranges: {other.lo}..{other.hi} and {s.lo}..{s.hi}"
                    )
    return {name: symbol(s.name, s.lo, s.hi) for name, s in found.items()}
