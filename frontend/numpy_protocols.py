"""numpy's functions on traced tensors, by `__array_ufunc__` and `__array_function__`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..ir import build as b
from ..ir.errors import TraceError
from ..ir.graph import Value
from ..ir.types import dtype_of
from . import elementwise as e
from . import linalg
from . import ordering as o
from . import reductions as r
from . import shapes as s
from .arguments import extent
from .tensor import Tensor, as_tensor, operands
from .tracing import user_lines

__all__ = ["function_call", "ufunc_call"]

Unary = Callable[[Value], Value]

UNARY: dict[str, Unary] = {
    "absolute": b.abs,
    "ceil": b.ceil,
    "cos": b.cos,
    "exp": b.exp,
    "expm1": b.expm1,
    "fabs": b.abs,
    "floor": b.floor,
    "invert": b.not_,
    "isfinite": b.is_finite,
    "isinf": lambda x: b.not_(b.or_(b.is_finite(x), b.is_nan(x))),
    "isnan": b.is_nan,
    "log": b.log,
    "log1p": b.log1p,
    "logical_not": b.not_,
    "negative": b.neg,
    "positive": lambda x: x,
    "reciprocal": b.reciprocal,
    "rint": b.round_even,
    "sign": b.sign,
    "sin": b.sin,
    "sqrt": b.sqrt,
    "square": lambda x: b.mul(x, x),
    "tanh": b.tanh,
    "trunc": e.truncate,
}
"""numpy's ufuncs of one operand."""

BUILDERS: dict[str, Callable[[Value, Value], Value]] = {
    "add": b.add,
    "arctan2": b.atan2,
    "bitwise_and": b.and_,
    "bitwise_or": b.or_,
    "bitwise_xor": b.xor,
    "equal": b.eq,
    "fmod": b.rem,
    "greater": b.gt,
    "greater_equal": b.ge,
    "left_shift": b.shl,
    "less": b.lt,
    "less_equal": b.le,
    "logical_and": b.and_,
    "logical_or": b.or_,
    "logical_xor": b.xor,
    "maximum": b.max,
    "minimum": b.min,
    "multiply": b.mul,
    "not_equal": b.ne,
    "right_shift": b.shr,
    "subtract": b.sub,
}
"""numpy's ufuncs of two operands that are one op."""

BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "divide": e.divide,
    "floor_divide": e.floor_divide,
    "heaviside": e.heaviside,
    "matmul": s.matmul,
    "remainder": e.modulo,
}


def ufunc_call(ufunc: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """A numpy ufunc as nodes."""
    name = ufunc.__name__
    if method != "__call__" or options:
        how = f"numpy.{name}.{method}" if method != "__call__" else f"numpy.{name} with {', '.join(options)}"
        raise TraceError(
            f"{how} has no form in a graph", where=user_lines(), hint="call it plainly on tensors"
        )
    values = operands(*inputs)
    if values is None:
        return NotImplemented
    if name in UNARY:
        return Tensor(UNARY[name](values[0]))
    if name == "power":
        return Tensor(e.power(values[0], values[1], inputs[1]))
    if name in BUILDERS:
        return Tensor(e.binary(BUILDERS[name], values[0], values[1]))
    if name in BINARY:
        return Tensor(BINARY[name](values[0], values[1]))
    raise TraceError(
        f"numpy.{name} has no form in a graph",
        where=user_lines(),
        hint="write it with exp, log, tanh and arithmetic",
    )


def function_call(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A numpy function as nodes."""
    handler = FUNCTIONS.get(function.__name__)
    if handler is None:
        raise TraceError(
            f"numpy.{function.__name__} has no form in a graph",
            where=user_lines(),
            hint=f"those that have: {', '.join(sorted(FUNCTIONS))}",
        )
    return handler(*args, **options)


def _values(xs: Sequence[Any]) -> list[Value]:
    """Tensors and numbers side by side; numbers take the tensors' element type."""
    found = operands(*xs)
    return [as_tensor(x).value for x in xs] if found is None else found


def _method(name: str) -> Callable[..., Any]:
    """The tensor's method of that name, its first argument named as numpy names it."""

    def call(a: Any, *args: Any, **options: Any) -> Any:
        return getattr(as_tensor(a), name)(*args, **options)

    return call


def _attribute(name: str) -> Callable[[Any], Any]:
    """What the tensor says of itself."""
    return lambda a: getattr(as_tensor(a), name)


def _broadcast_to(array: Any, shape: Any) -> Tensor:
    return Tensor(
        e.broadcast_to(as_tensor(array).value, (shape,) if isinstance(shape, int) else tuple(shape))
    )


def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    return Tensor(s.concatenate(_values(arrays), axis))


def _dot(a: Any, b: Any) -> Tensor:
    return Tensor(s.matmul(*_values([a, b])))


def _ravel(a: Any) -> Tensor:
    return as_tensor(a).flatten()


def _reshape(a: Any, shape: Any) -> Tensor:
    return as_tensor(a).reshape(shape)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    return [Tensor(v) for v in s.split(as_tensor(ary).value, indices_or_sections, axis)]


def _stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    return Tensor(s.stack(_values(arrays), axis))


def _transpose(a: Any, axes: Sequence[int] | None = None) -> Tensor:
    return Tensor(s.transpose(as_tensor(a).value, axes))


def _ones_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Tensor:
    return _filled("ones_like", a, 1, dtype, shape)


def _zeros_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Tensor:
    return _filled("zeros_like", a, 0, dtype, shape)


def _where(condition: Any, x: Any, y: Any) -> Tensor:
    left, right = _values([x, y])
    return Tensor(e.select(as_tensor(condition).value, left, right))


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    return as_tensor(a).clip(low, high)


def _full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Tensor:
    return _filled("full_like", a, fill_value, dtype, shape)


def _filled(name: str, a: Any, fill_value: Any, dtype: Any, shape: Any) -> Tensor:
    type = as_tensor(a).type
    if shape is not None:  # of sizes that are not known yet, which numpy.zeros cannot take
        shape = shape.tolist() if isinstance(shape, np.ndarray) else shape
        if isinstance(shape, list | tuple):
            sizes = enumerate(cast("Sequence[Any]", shape))
            type = type.with_shape(tuple(extent(name, f"shape[{k}]", size) for k, size in sizes))
        else:
            type = type.with_shape((extent(name, "shape", shape),))
    kind = type.dtype if dtype is None else dtype_of(dtype)
    (value,) = operands(fill_value, dtype=kind) or [as_tensor(fill_value).value]
    return Tensor(e.broadcast_to(b.cast(value, kind), type.shape))


def _outer(a: Any, b_: Any) -> Tensor:
    x, y = _values([a, b_])
    return Tensor(b.dot_general(s.flatten(x), s.flatten(y), (), ()))


def _tensordot(a: Any, b_: Any, axes: Any = 2) -> Tensor:
    x, y = _values([a, b_])
    if isinstance(axes, int):
        pairs = (tuple(range(x.type.rank - axes, x.type.rank)), tuple(range(axes)))
    else:
        pairs = tuple(as_axes(p) for p in axes)
    left = [r.axis_of("tensordot", k, x) for k in pairs[0]]
    right = [r.axis_of("tensordot", k, y) for k in pairs[1]]
    return Tensor(b.dot_general(x, y, left, right))


def as_axes(axes: int | Sequence[int]) -> tuple[int, ...]:
    """One axis as a tuple of it."""
    return (axes,) if isinstance(axes, int) else tuple(axes)


def _take(a: Any, indices: Any, axis: int | None = None) -> Tensor:
    x = as_tensor(a)
    if axis is None:
        return x.flatten()[indices]
    return x[(*[slice(None)] * r.axis_of("take", axis, x.value), indices)]


def _take_along_axis(arr: Any, indices: Any, axis: int) -> Tensor:
    x = as_tensor(arr).value
    return Tensor(b.gather_elements(x, as_tensor(indices).value, r.axis_of("take_along_axis", axis, x)))


def _pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    if mode != "constant":
        raise TraceError(f'pad: mode is "{mode}", expected "constant"', where=user_lines())
    x, fill = _values([array, constant_values])
    return Tensor(s.pad(x, pad_width, fill))


def _swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    x = as_tensor(a).value
    order = list(range(x.type.rank))
    first, second = r.axis_of("swapaxes", axis1, x), r.axis_of("swapaxes", axis2, x)
    order[first], order[second] = order[second], order[first]
    return Tensor(b.permute(x, order))


def _shape_op(function: Callable[..., Value]) -> Callable[..., Tensor]:
    """A function of `shapes` as numpy calls it."""

    def call(a: Any, *args: Any, **options: Any) -> Tensor:
        return Tensor(function(as_tensor(a).value, *args, **options))

    return call


def _in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """A sort of `ordering` as numpy calls it; every kind is stable here."""

    def call(
        a: Any,
        axis: int | None = -1,
        kind: str | None = None,
        order: None = None,
        *,
        stable: bool | None = None,
    ) -> Any:
        if order is not None:
            raise TraceError("sort: a tensor has no fields to order by", where=user_lines())
        return function(as_tensor(a).flatten() if axis is None else a, -1 if axis is None else axis)

    return call


def _sorted(input: Any, dim: int) -> Tensor:
    return o.sort(input, dim)[0]


def _running(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A running fold of `ordering` as numpy calls it."""

    def call(a: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
        x = as_tensor(a) if dtype is None else as_tensor(a).astype(dtype)
        return function(x.flatten() if axis is None else x, 0 if axis is None else axis)

    return call


def _eigh(a: Any, UPLO: str = "L") -> tuple[Tensor, Tensor]:
    """Either triangle of a symmetric matrix is the other one."""
    return linalg.eigh(a)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "all": _method("all"),
    "amax": _method("max"),
    "amin": _method("min"),
    "any": _method("any"),
    "argmax": _method("argmax"),
    "argmin": _method("argmin"),
    "argsort": _in_order(o.argsort),
    "around": _method("__round__"),
    "astype": _method("astype"),
    "broadcast_to": _broadcast_to,
    "cholesky": linalg.cholesky,
    "clip": _clip,
    "concatenate": _concatenate,
    "cumprod": _running(o.cumprod),
    "cumsum": _running(o.cumsum),
    "dot": _dot,
    "eigh": _eigh,
    "expand_dims": _shape_op(s.expand_dims),
    "flip": _shape_op(s.flip),
    "full_like": _full_like,
    "max": _method("max"),
    "mean": _method("mean"),
    "min": _method("min"),
    "moveaxis": _shape_op(s.moveaxis),
    "ndim": _attribute("ndim"),
    "ones_like": _ones_like,
    "outer": _outer,
    "pad": _pad,
    "prod": _method("prod"),
    "ravel": _ravel,
    "reshape": _reshape,
    "round": _method("__round__"),
    "shape": _attribute("shape"),
    "size": _attribute("size"),
    "sort": _in_order(_sorted),
    "split": _split,
    "squeeze": _shape_op(s.squeeze),
    "stack": _stack,
    "std": _method("std"),
    "sum": _method("sum"),
    "swapaxes": _swapaxes,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "tensordot": _tensordot,
    "transpose": _transpose,
    "var": _method("var"),
    "where": _where,
    "zeros_like": _zeros_like,
}
"""numpy's functions by name, with numpy's parameters; those that make no sense in a graph (out=, where=) are errors."""
