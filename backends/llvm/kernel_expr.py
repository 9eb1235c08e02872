"""Expressions and buffers of the kernel IR; their meaning is in kernel_ir.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...ir.dims import Dim, product
from ...ir.dims import Expr as DimExpr
from ...ir.types import DType, bool_, i64

if TYPE_CHECKING:
    from .kernel_ir import Store

__all__ = [
    "Binary", "BinaryOp", "Bits", "Buffer", "Call", "Cast", "Combine", "Compare", "CompareOp", "Const", "Expr", "Fma",
    "Function", "Index", "Load", "Number", "Select", "Size", "Unary", "UnaryOp", "Var", "as_index", "call", "const",
    "like", "maximum", "minimum", "row_major", "select", "zero",
]  # fmt: skip

UnaryOp = Literal["neg", "abs", "sqrt", "floor", "ceil", "round_even", "not"]
BinaryOp = Literal[
    "add", "sub", "mul", "div", "rem", "floordiv", "mod", "min", "max", "and", "or", "xor", "shl", "shr"
]  # fmt: skip
CompareOp = Literal["eq", "ne", "lt", "le", "gt", "ge"]
Function = Literal[
    "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "pow", "atan2"
]  # fmt: skip
Combine = Literal["add", "mul", "min", "max"]
Number = int | float | bool


class Expr:
    """A scalar expression; inside a vector loop, one value a lane."""

    __slots__ = ()
    dtype: DType

    def __add__(self, other: Expr | Number | DimExpr) -> Expr:
        return _binary("add", self, other)

    def __radd__(self, other: Number | DimExpr) -> Expr:
        return _binary("add", self, other)

    def __sub__(self, other: Expr | Number | DimExpr) -> Expr:
        return _binary("sub", self, other)

    def __rsub__(self, other: Number | DimExpr) -> Expr:
        return Binary("sub", like(self, other), self)

    def __mul__(self, other: Expr | Number | DimExpr) -> Expr:
        return _binary("mul", self, other)

    def __rmul__(self, other: Number | DimExpr) -> Expr:
        return _binary("mul", self, other)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return _binary("div", self, other)

    def __floordiv__(self, other: Expr | Number | DimExpr) -> Expr:
        return _binary("floordiv", self, other)

    def __mod__(self, other: Expr | Number | DimExpr) -> Expr:
        return _binary("mod", self, other)

    def __and__(self, other: Expr) -> Expr:
        return _binary("and", self, other)

    def __or__(self, other: Expr) -> Expr:
        return _binary("or", self, other)

    def __neg__(self) -> Expr:
        return Unary("neg", self)

    def __invert__(self) -> Expr:
        return Unary("not", self)

    def __lt__(self, other: Expr | Number | DimExpr) -> Expr:
        return Compare("lt", self, like(self, other))

    def __le__(self, other: Expr | Number | DimExpr) -> Expr:
        return Compare("le", self, like(self, other))

    def __gt__(self, other: Expr | Number | DimExpr) -> Expr:
        return Compare("gt", self, like(self, other))

    def __ge__(self, other: Expr | Number | DimExpr) -> Expr:
        return Compare("ge", self, like(self, other))

    def eq(self, other: Expr | Number | DimExpr) -> Expr:
        """self == other; `==` itself stays identity."""
        return Compare("eq", self, like(self, other))

    def ne(self, other: Expr | Number | DimExpr) -> Expr:
        """self != other; true for NaN."""
        return Compare("ne", self, like(self, other))

    def cast(self, dtype: DType) -> Expr:
        """The value in another element type; itself where it has that type."""
        return self if self.dtype == dtype else Cast(self, dtype)

    def __bool__(self) -> bool:
        raise TypeError("a kernel expression has no truth value")


Index = Expr | Dim
"""What may stand as an index or extent: an i64 expression, an integer, or a dim."""


@dataclass(frozen=True, slots=True, eq=False)
class Const(Expr):
    """A literal; floats are Python floats and round to the dtype once."""

    value: Number
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Size(Expr):
    """The run-time value of a dim."""

    dim: Dim
    dtype: DType = i64


@dataclass(frozen=True, slots=True, eq=False)
class Var(Expr):
    """A name bound by a loop, a binding, a carry or a reduction; equal only to itself."""

    name: str
    dtype: DType = i64


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Typed memory.

    Args:
        name:    unique in its kernel
        dtype:   bool is one byte an element, 0 or 1
        shape:   one dim an axis
        strides: in elements; row-major where None
        align:   bytes that the address is known to be a multiple of; 0 for the element's size
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...] | None = None
    align: int = 0

    @property
    def steps(self) -> tuple[Dim, ...]:
        """The strides in elements."""
        return row_major(self.shape) if self.strides is None else self.strides

    @property
    def alignment(self) -> int:
        return self.align or self.dtype.bytes

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Load:
        return Load(self, _indices(index))

    def at(self, *index: Index, inside: Expr | None = None, otherwise: Expr | None = None) -> Load:
        """A load that touches no memory where `inside` is false and gives `otherwise` (0) there."""
        return Load(self, _indices(index), inside, otherwise)

    def store(
        self,
        index: Index | tuple[Index, ...],
        value: Expr,
        mask: Expr | None = None,
        combine: Combine | None = None,
    ) -> Store:
        from .kernel_ir import Store

        return Store(self, _indices(index), value, mask, combine)


@dataclass(frozen=True, slots=True, eq=False)
class Load(Expr):
    """One element of a buffer; `otherwise` (default 0) where `inside` is false."""

    buffer: Buffer
    index: tuple[Expr, ...]
    inside: Expr | None = None
    otherwise: Expr | None = None

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.buffer.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expr):
    op: UnaryOp
    x: Expr

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.x.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    op: BinaryOp
    a: Expr
    b: Expr

    def __post_init__(self) -> None:
        assert self.a.dtype == self.b.dtype, f"{self.op}: {self.a.dtype} and {self.b.dtype}"

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.a.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Expr):
    """Ordered, so false for NaN, except `ne`."""

    op: CompareOp
    a: Expr
    b: Expr
    dtype: DType = bool_

    def __post_init__(self) -> None:
        assert self.a.dtype == self.b.dtype, f"{self.op}: {self.a.dtype} and {self.b.dtype}"


@dataclass(frozen=True, slots=True, eq=False)
class Select(Expr):
    """a where cond, else b; both are computed."""

    cond: Expr
    a: Expr
    b: Expr

    def __post_init__(self) -> None:
        assert self.cond.dtype == bool_ and self.a.dtype == self.b.dtype, (
            f"select: {self.a.dtype} and {self.b.dtype}"
        )

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.a.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Fma(Expr):
    """a * b + c, rounded once (f32, f64)."""

    a: Expr
    b: Expr
    c: Expr

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.a.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Expr):
    x: Expr
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Bits(Expr):
    """The same bits as another dtype of the same width."""

    x: Expr
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Call(Expr):
    """A function of mathematics, by its accuracy in vecmath.py."""

    function: Function
    args: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:  # pyright: ignore[reportIncompatibleVariableOverride] -- a field elsewhere
        return self.args[0].dtype


def row_major(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """The strides, in elements, of a dense array."""
    return tuple(product(tuple(shape[axis + 1 :])) for axis in range(len(shape)))


def as_index(x: Index) -> Expr:
    """An index as an i64 expression."""
    if isinstance(x, Expr):
        assert x.dtype == i64, f"index of {x.dtype}"
        return x
    return Const(x, i64) if isinstance(x, int) else Size(x)


def _indices(index: Index | tuple[Index, ...]) -> tuple[Expr, ...]:
    return tuple(as_index(x) for x in (index if isinstance(index, tuple) else (index,)))


def like(x: Expr, other: Expr | Number | DimExpr) -> Expr:
    """`other` as an expression of x's dtype."""
    if isinstance(other, Expr):
        return other
    return as_index(other) if isinstance(other, DimExpr) else const(other, x.dtype)


def const(value: Number, dtype: DType) -> Const:
    """A literal of the dtype."""
    return Const(float(value) if dtype.is_float else bool(value) if dtype == bool_ else int(value), dtype)


def zero(dtype: DType) -> Const:
    return const(0, dtype)


def _binary(op: BinaryOp, a: Expr, b: Expr | Number | DimExpr) -> Expr:
    return Binary(op, a, like(a, b))


def minimum(a: Expr, b: Expr | Number | DimExpr) -> Expr:
    return _binary("min", a, b)


def maximum(a: Expr, b: Expr | Number | DimExpr) -> Expr:
    return _binary("max", a, b)


def select(cond: Expr, a: Expr, b: Expr) -> Expr:
    return Select(cond, a, b)


def call(function: Function, *args: Expr) -> Expr:
    """A mathematical function of expressions."""
    return Call(function, args)
