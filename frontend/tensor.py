"""Tensors while tracing: Python operators, numpy functions and methods write nodes.

Broadcasting follows numpy and is written out; a Python number takes the tensor's element type; two element types do
not mix.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text, floordiv, product
from ..ir.errors import NervureError, TraceError, TypeInferenceError
from ..ir.graph import Value
from ..ir.store import Entry
from ..ir.types import Array, DType, TensorType, bool_, dtype_of
from .tracing import Frame, current, user_origins

__all__ = ["Operand", "Parameter", "Tensor", "as_tensor", "binary", "broadcast", "unary"]

Axes = int | Sequence[int] | None


class Operand:
    """Operators and numpy protocols; a Tensor and a Parameter have them."""

    __slots__ = ()
    __array_priority__ = 1000

    def __add__(self, other: Any) -> Tensor:
        return binary(b.add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return binary(b.add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return binary(b.sub, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return binary(b.sub, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return binary(b.mul, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return binary(b.mul, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return binary(b.div, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return binary(b.div, other, self)

    def __pow__(self, other: Any) -> Tensor:
        return power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return binary(b.pow, other, self)

    def __mod__(self, other: Any) -> Tensor:
        return binary(b.rem, self, other)

    def __and__(self, other: Any) -> Tensor:
        return binary(b.and_, self, other)

    def __or__(self, other: Any) -> Tensor:
        return binary(b.or_, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return binary(b.xor, self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __lshift__(self, other: Any) -> Tensor:
        return binary(b.shl, self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return binary(b.shr, self, other)

    def __neg__(self) -> Tensor:
        return unary(b.neg, self)

    def __abs__(self) -> Tensor:
        return unary(b.abs, self)

    def __invert__(self) -> Tensor:
        return unary(b.not_, self)

    def __lt__(self, other: Any) -> Tensor:
        return binary(b.lt, self, other)

    def __le__(self, other: Any) -> Tensor:
        return binary(b.le, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return binary(b.gt, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return binary(b.ge, self, other)

    def __matmul__(self, other: Any) -> Tensor:
        from .algebra import matmul

        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        from .algebra import matmul

        return matmul(other, self)

    def __getitem__(self, key: Any) -> Tensor:
        from .indexing import index

        return index(as_tensor(self), key)

    def __bool__(self) -> bool:
        _refuse("a traced value has no truth value before the program runs", "use nn.where(condition, a, b) to choose by element")

    def __int__(self) -> int:
        _refuse("a traced value is no integer before the program runs", "keep it as a tensor, or compute it before tracing")

    def __float__(self) -> float:
        _refuse("a traced value is no number before the program runs", "keep it as a tensor, or compute it before tracing")

    __index__ = __int__

    def __array__(self, *_: Any, **__: Any) -> Array:
        _refuse("a traced value is no numpy array before the program runs", "numpy functions on traced values work; np.asarray does not")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Tensor:
        from .numpy_protocols import ufunc_call

        return ufunc_call(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        from .numpy_protocols import function_call

        return function_call(function, args, options)


class Tensor(Operand):
    """A value of the graph under construction."""

    __slots__ = ("_value", "frame")

    def __init__(self, value: Value) -> None:
        self._value = value
        self.frame: Frame = current().frame

    @property
    def value(self) -> Value:
        """The IR value as seen from where the trace stands now."""
        state = current()
        return self._value if state.frame is self.frame else state.enter(self._value, self.frame)

    @property
    def type(self) -> TensorType:
        return self._value.type

    @property
    def dtype(self) -> DType:
        return self._value.type.dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Integers, or symbolic dims."""
        return self._value.type.shape

    @property
    def ndim(self) -> int:
        return self._value.type.rank

    @property
    def size(self) -> Dim:
        return self._value.type.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        size = self.shape[0]
        if not isinstance(size, int):
            _refuse(f"axis 0 has {dim_text(size)} elements, which is not known before the program runs", "use nv.scan to go over a symbolic axis")
        return size

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # as numpy: element by element
        return binary(b.eq, self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]  # as numpy: element by element
        return binary(b.ne, self, other)

    __hash__ = object.__hash__

    @property
    def T(self) -> Tensor:
        """Axes in reverse order."""
        return self.transpose(tuple(reversed(range(self.ndim))))

    def transpose(self, axes: Sequence[int]) -> Tensor:
        return Tensor(b.permute(self.value, tuple(a % self.ndim for a in axes)))

    def reshape(self, *shape: Any) -> Tensor:
        """Another shape of as many elements; one dim may be -1."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        dims = resolve_shape(wanted, self.size)
        return Tensor(b.reshape(self.value, dims))

    def flatten(self, start_dim: int = 0) -> Tensor:
        kept = self.shape[:start_dim]
        return Tensor(b.reshape(self.value, (*kept, product(self.shape[start_dim:]))))

    def astype(self, dtype: Any) -> Tensor:
        return Tensor(b.cast(self.value, dtype_of(dtype)))

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_sum, self, axis, keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_prod, self, axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_max, self, axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_min, self, axis, keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_any, self, axis, keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return reduce(b.reduce_all, self, axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        from ..ir.ops.nn import dim_value

        total = reduce(b.reduce_sum, self, axis, keepdims)
        count = product(tuple(self.shape[a] for a in axes_of(axis, self.ndim)))
        return total / Tensor(dim_value(count, total.value))

    def argmax(self, axis: int | None = None) -> Tensor:
        x = self.flatten() if axis is None else self
        return Tensor(b.argmax(x.value, (axis or 0) % x.ndim))

    def argmin(self, axis: int | None = None) -> Tensor:
        x = self.flatten() if axis is None else self
        return Tensor(b.argmin(x.value, (axis or 0) % x.ndim))

    def __repr__(self) -> str:
        return f"Tensor({self.type})"


class Parameter(Entry, Operand):
    """A store entry that reads as a tensor while tracing: a weight, or a piece of state.

    Args:
        data: the initial content, an array
        kind: "param" or "state"
    """

    __slots__ = ()

    def __init__(self, data: Any, kind: Any = "param", name: str = "", trainable: bool | None = None) -> None:
        array = np.asarray(data)
        super().__init__(
            name, TensorType(dtype_of(array), tuple(array.shape)), kind, kind == "param" if trainable is None else trainable, array
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.static_shape()

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def T(self) -> Tensor:
        return as_tensor(self).T

    def __repr__(self) -> str:
        return f"Parameter({self.type})"


def _refuse(message: str, hint: str) -> NoReturn:
    raise TraceError(message, where=[str(o) for o in user_origins()], hint=hint)


def as_tensor(x: Any, dtype: DType | None = None) -> Tensor:
    """x as a tensor: a tensor itself, a parameter's content, or a constant."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Entry):
        state = current()
        value = state.read(x)
        tensor = Tensor(value)
        tensor.frame = state.root
        return tensor
    try:
        array = np.asarray(x)
        found = dtype_of(array)
    except (NervureError, ValueError) as error:
        raise TraceError(f"{type(x).__name__} is no tensor", where=[str(o) for o in user_origins()]) from error
    return Tensor(b.constant(array, dtype or found))


def unary(op: Callable[[Value], Value], x: Any) -> Tensor:
    """An elementwise op on one operand."""
    return Tensor(op(as_tensor(x).value))


def binary(op: Callable[[Value, Value], Value], x: Any, y: Any) -> Tensor:
    """An elementwise op on two operands, with broadcasting."""
    left, right = promote(x, y)
    u, v = broadcast([left, right])
    return Tensor(op(u.value, v.value))


def promote(*operands: Any) -> list[Tensor]:
    """Operands as tensors; Python numbers take the element type of the tensor beside them."""
    tensors = [x for x in operands if isinstance(x, (Tensor, Entry))]
    dtype = as_tensor(tensors[0]).dtype if tensors else None
    return [number(x, dtype) if isinstance(x, (bool, int, float)) and dtype is not None else as_tensor(x) for x in operands]


def number(x: bool | int | float, dtype: DType) -> Tensor:
    """A Python number in an element type.

    Raises:
        TypeInferenceError: the type cannot hold that kind of number
    """
    fits = dtype.is_float or (isinstance(x, bool) and dtype == bool_) or (isinstance(x, int) and dtype.is_integer)
    if fits and dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        fits = info.min <= x <= info.max
    if not fits:
        raise TypeInferenceError(
            f"the number {x} does not fit {dtype}", where=[str(o) for o in user_origins()], hint=f"convert the tensor with .astype first, it is {dtype}"
        )
    return Tensor(b.full(TensorType(dtype), x))


def broadcast(tensors: Sequence[Tensor]) -> list[Tensor]:
    """All of one shape, as numpy broadcasts.

    Raises:
        TypeInferenceError: two dims differ and neither is 1
    """
    rank = max(t.ndim for t in tensors)
    shape: list[Dim] = []
    for axis in range(rank):
        sizes = [t.shape[axis - rank + t.ndim] for t in tensors if axis - rank + t.ndim >= 0]
        big = [d for d in sizes if d != 1]
        if any(d != big[0] for d in big):
            raise TypeInferenceError(
                f"shapes do not broadcast: {' and '.join(dim_text(d) for d in dict.fromkeys(big))} on axis {axis - rank}",
                details=[f"operand {k}: {t.type}" for k, t in enumerate(tensors)],
                where=[str(o) for o in user_origins()],
            )
        shape.append(big[0] if big else 1)
    return [broadcast_to(t, shape) for t in tensors]


def broadcast_to(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """x repeated to a shape, its axes being the last ones."""
    if x.shape == tuple(shape):
        return x
    first = len(shape) - x.ndim
    return Tensor(b.broadcast_in_dim(x.value, tuple(shape), tuple(range(first, len(shape)))))


def axes_of(axis: Axes, rank: int) -> tuple[int, ...]:
    """Axes as sorted non-negative integers; None means all."""
    given = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    found = tuple(sorted(a % rank if -rank <= a < rank else a for a in given))
    if found and (found[0] < 0 or found[-1] >= rank):
        raise TypeInferenceError(f"axis {axis} is not within the rank {rank}", where=[str(o) for o in user_origins()])
    return found


def reduce(op: Callable[[Value, Sequence[int]], Value], x: Any, axis: Axes, keepdims: bool) -> Tensor:
    """A reduction over axes."""
    tensor = as_tensor(x)
    axes = axes_of(axis, tensor.ndim)
    value = op(tensor.value, axes)
    if keepdims:
        value = b.reshape(value, tuple(1 if k in axes else d for k, d in enumerate(tensor.shape)))
    return Tensor(value)


def power(x: Any, y: Any) -> Tensor:
    """x to the power y; small whole powers become products."""
    if isinstance(y, int) and not isinstance(y, bool) and isinstance(x, Operand) and 1 <= y <= 4:
        return operator.mul(power(x, y - 1), x) if y > 1 else as_tensor(x)
    return binary(b.pow, x, float(y) if isinstance(y, int) and as_tensor(x).dtype.is_float else y)


def resolve_shape(shape: Sequence[Any], size: Dim) -> tuple[Dim, ...]:
    """A shape in which -1 stands for what is left."""
    dims = tuple(shape)
    if not any(isinstance(d, int) and d == -1 for d in dims):
        return dims
    rest = product(tuple(d for d in dims if not (isinstance(d, int) and d == -1)))
    if bounds(rest)[0] <= 0:
        raise TypeInferenceError("-1 in a shape that may be empty", where=[str(o) for o in user_origins()])
    return tuple(floordiv(size, rest) if isinstance(d, int) and d == -1 else d for d in dims)
