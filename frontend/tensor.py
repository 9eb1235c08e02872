"""Tensors while tracing: Python operators, numpy functions and methods write nodes.

Broadcasting follows numpy and is written out; a Python number takes the tensor's element type; two element types do
not mix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim, Expr, dim_text
from ..ir.errors import NervureError, TraceError
from ..ir.graph import Value
from ..ir.store import Entry
from ..ir.types import DType, TensorType, dtype_of
from . import elementwise as e
from . import reductions as r
from . import shapes as s
from .indexing import index
from .refusals import Refusals, refusal
from .tracing import Frame, current, user_lines

__all__ = ["NoTensor", "Operand", "Tensor", "as_tensor", "operands"]

Binary = Callable[[Value, Value], Value]


class NoTensor(TraceError):
    """What was given is no tensor."""


class Operand(Refusals):
    """What a Tensor and a Parameter have in common: operators, methods and numpy's protocols."""

    __slots__ = ()
    type: TensorType

    @property
    def value(self) -> Value:
        """The IR value as seen from where the trace stands now."""
        raise TypeError(type(self).__name__)

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Integers, or symbolic dims."""
        return self.type.shape

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def size(self) -> Dim:
        return self.type.size

    # arithmetic
    def __add__(self, other: Any) -> Any:
        return _apply(b.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _apply(b.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _apply(b.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _apply(b.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply(b.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _apply(b.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _call(e.divide, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _call(e.divide, other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _call(e.floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _call(e.floor_divide, other, self)

    def __mod__(self, other: Any) -> Any:
        return _call(e.modulo, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _call(e.modulo, other, self)

    def __pow__(self, other: Any) -> Any:
        return _call(lambda x, y: e.power(x, y, other), self, other)

    def __rpow__(self, other: Any) -> Any:
        return _call(e.power, other, self)

    def __matmul__(self, other: Any) -> Any:
        return _call(s.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _call(s.matmul, other, self)

    def __neg__(self) -> Tensor:
        return Tensor(b.neg(self.value))

    def __pos__(self) -> Tensor:
        return Tensor(self.value)

    def __abs__(self) -> Tensor:
        return Tensor(b.abs(self.value))

    def __round__(self, digits: None = None) -> Tensor:
        return Tensor(b.round_even(self.value))

    # bits and truth values
    def __and__(self, other: Any) -> Any:
        return _apply(b.and_, self, other)

    def __rand__(self, other: Any) -> Any:
        return _apply(b.and_, other, self)

    def __or__(self, other: Any) -> Any:
        return _apply(b.or_, self, other)

    def __ror__(self, other: Any) -> Any:
        return _apply(b.or_, other, self)

    def __xor__(self, other: Any) -> Any:
        return _apply(b.xor, self, other)

    def __rxor__(self, other: Any) -> Any:
        return _apply(b.xor, other, self)

    def __lshift__(self, other: Any) -> Any:
        return _apply(b.shl, self, other)

    def __rlshift__(self, other: Any) -> Any:
        return _apply(b.shl, other, self)

    def __rshift__(self, other: Any) -> Any:
        return _apply(b.shr, self, other)

    def __rrshift__(self, other: Any) -> Any:
        return _apply(b.shr, other, self)

    def __invert__(self) -> Tensor:
        return Tensor(b.not_(self.value))

    # comparisons, as numpy: element by element
    def __eq__(self, other: object) -> Any:
        return _apply(b.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return _apply(b.ne, self, other)

    def __lt__(self, other: Any) -> Any:
        return _apply(b.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return _apply(b.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return _apply(b.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return _apply(b.ge, self, other)

    __hash__ = object.__hash__

    # elements
    def __getitem__(self, key: Any) -> Tensor:
        keys = cast("tuple[Any, ...]", key if isinstance(key, tuple) else (key,))
        return Tensor(
            index(self.value, [as_tensor(k).value if isinstance(k, Entry | Operand) else k for k in keys])
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        size = self.shape[0]
        if not isinstance(size, int):
            raise refusal(
                f"axis 0 has {dim_text(size)} elements, known when the program runs",
                "go over it with nv.scan",
            )
        return size

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from .numpy_protocols import ufunc_call

        return ufunc_call(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        from .numpy_protocols import function_call

        return function_call(function, args, options)

    # methods
    @property
    def T(self) -> Tensor:
        """Axes in reverse order."""
        return Tensor(s.transpose(self.value))

    def transpose(self, *axes: Any) -> Tensor:
        """Axes in another order; reversed if none is given."""
        return Tensor(s.transpose(self.value, _unpack(axes) or None))

    def permute(self, *axes: Any) -> Tensor:
        """Axes in another order."""
        return Tensor(s.transpose(self.value, _unpack(axes)))

    def reshape(self, *shape: Any) -> Tensor:
        """Another shape of as many elements; one dim may be -1."""
        return Tensor(s.reshape(self.value, _unpack(shape)))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from start_dim to end_dim as one."""
        return Tensor(s.flatten(self.value, start_dim, end_dim))

    def squeeze(self, axis: r.Axes = None) -> Tensor:
        """Without axes of size 1: the given ones, or all."""
        return Tensor(s.squeeze(self.value, axis))

    def astype(self, dtype: Any) -> Tensor:
        """Converted to another element type."""
        return Tensor(b.cast(self.value, dtype_of(dtype)))

    def sum(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_sum, self.value, axis, keepdims))

    def prod(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_prod, self.value, axis, keepdims))

    def max(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_max, self.value, axis, keepdims))

    def min(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_min, self.value, axis, keepdims))

    def any(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_any, self.value, axis, keepdims))

    def all(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.reduced(b.reduce_all, self.value, axis, keepdims))

    def mean(self, axis: r.Axes = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.mean(self.value, axis, keepdims))

    def var(self, axis: r.Axes = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        return Tensor(r.var(self.value, axis, keepdims, ddof))

    def std(self, axis: r.Axes = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        return Tensor(b.sqrt(r.var(self.value, axis, keepdims, ddof)))

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.arg_extreme(b.argmax, self.value, axis, keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return Tensor(r.arg_extreme(b.argmin, self.value, axis, keepdims))

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Not below min and not above max; either may be left out."""
        found = as_tensor(self)
        if min is not None:
            found = _call(lambda x, y: e.binary(b.max, x, y), found, min)
        return found if max is None else _call(lambda x, y: e.binary(b.min, x, y), found, max)


class Tensor(Operand):
    """A value of the graph under construction."""

    __slots__ = ("_value", "frame", "type")

    def __init__(self, value: Value) -> None:
        self._value = value
        self.type = value.type
        self.frame: Frame = current().frame

    @property
    def value(self) -> Value:
        state = current()
        return self._value if state.frame is self.frame else state.enter(self._value, self.frame)

    def __repr__(self) -> str:
        return f"Tensor({self.type})"


def _unpack(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """(2, 3) and ((2, 3),) both as (2, 3)."""
    first: Any = arguments[0] if len(arguments) == 1 else None
    return tuple(cast("Sequence[Any]", first)) if isinstance(first, tuple | list) else arguments


def as_tensor(x: Any, dtype: DType | None = None) -> Tensor:
    """x as a tensor: itself, a store entry's content, a constant; a Python number needs the element type."""
    if isinstance(x, Tensor):
        return x
    found = operands(x, dtype=dtype)
    if found is None:
        kind = "bool_" if isinstance(x, bool) else "int64" if isinstance(x, int) else "float32"
        hint = f"give it an element type, such as np.{kind}({x!r})" if isinstance(x, int | float) else None
        raise NoTensor(
            f"{x!r} is no tensor" if hint else f"{type(x).__name__} is no tensor",
            where=user_lines(),
            hint=hint,
        )
    return Tensor(found[0])


def operands(*xs: Any, dtype: DType | None = None) -> list[Value] | None:
    """What stands in an expression as values; None where something is no tensor and no number.

    Numbers and dims take the element type of the first operand that has one, or the given one.
    """
    for x in xs:
        if (
            dtype is None
            and isinstance(x, Operand | Entry | np.ndarray | np.generic)
            and not isinstance(x, float)
        ):
            dtype = dtype_of(x.type.dtype if isinstance(x, Operand | Entry) else x)
    values: list[Value] = []
    for x in xs:
        if isinstance(x, Operand):
            values.append(x.value)
        elif isinstance(x, Entry):
            values.append(current().read(x))
        elif dtype is not None and isinstance(x, bool | int | float):
            values.append(e.scalar(x, dtype))
        elif dtype is not None and isinstance(x, Expr):
            values.append(e.dim_scalar(x, dtype))
        elif isinstance(x, np.ndarray | np.generic) and _has_dtype(x):
            current()
            values.append(b.constant(x))
        else:
            return None
    return values


def _has_dtype(x: Any) -> bool:
    try:
        dtype_of(x)
    except NervureError:
        return False
    return True


def _call(function: Callable[[Value, Value], Value], x: Any, y: Any) -> Any:
    """A function of two values on what the user wrote; for an operator NotImplemented where one is foreign."""
    found = operands(x, y)
    return NotImplemented if found is None else Tensor(function(found[0], found[1]))


def _apply(op: Binary, x: Any, y: Any) -> Any:
    return _call(lambda u, v: e.binary(op, u, v), x, y)
