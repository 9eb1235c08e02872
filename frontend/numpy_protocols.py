"""numpy's functions on traced tensors, by `__array_ufunc__` and `__array_function__`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import build as b
from ..ir.errors import TraceError
from .algebra import matmul
from .tensor import Tensor, as_tensor, binary, broadcast, broadcast_to, power, promote, reduce, unary
from .tracing import user_origins

__all__ = ["function_call", "ufunc_call"]

_UNARY: dict[Any, Callable[..., Any]] = {
    np.negative: b.neg, np.absolute: b.abs, np.sign: b.sign, np.floor: b.floor, np.ceil: b.ceil, np.rint: b.round_even,
    np.sqrt: b.sqrt, np.reciprocal: b.reciprocal, np.exp: b.exp, np.expm1: b.expm1, np.log: b.log, np.log1p: b.log1p,
    np.sin: b.sin, np.cos: b.cos, np.tanh: b.tanh, np.invert: b.not_, np.logical_not: b.not_, np.isnan: b.is_nan,
    np.isfinite: b.is_finite,
}  # fmt: skip
_BINARY: dict[Any, Callable[..., Any]] = {
    np.add: b.add, np.subtract: b.sub, np.multiply: b.mul, np.divide: b.div, np.fmod: b.rem, np.maximum: b.max,
    np.minimum: b.min, np.equal: b.eq, np.not_equal: b.ne, np.less: b.lt, np.less_equal: b.le, np.greater: b.gt,
    np.greater_equal: b.ge, np.bitwise_and: b.and_, np.bitwise_or: b.or_, np.bitwise_xor: b.xor, np.logical_and: b.and_,
    np.logical_or: b.or_, np.left_shift: b.shl, np.right_shift: b.shr,
}  # fmt: skip


def ufunc_call(ufunc: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Tensor:
    """A numpy ufunc as a node."""
    if method == "__call__" and not options:
        if ufunc in _UNARY:
            return unary(_UNARY[ufunc], inputs[0])
        if ufunc in _BINARY:
            return binary(_BINARY[ufunc], inputs[0], inputs[1])
        if ufunc is np.power:
            return power(inputs[0], inputs[1])
        if ufunc is np.square:
            return as_tensor(inputs[0]) * as_tensor(inputs[0])
        if ufunc is np.matmul:
            return matmul(inputs[0], inputs[1])
    raise TraceError(f"numpy.{ufunc.__name__} with these options has no node", where=[str(o) for o in user_origins()])


def function_call(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A numpy function as nodes."""
    handler = _FUNCTIONS.get(function)
    if handler is None:
        raise TraceError(f"numpy.{function.__name__} has no node", where=[str(o) for o in user_origins()])
    return handler(*args, **options)


def _reduction(op: Any) -> Callable[..., Tensor]:
    return lambda x, axis=None, keepdims=False: reduce(op, x, axis, keepdims)


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return as_tensor(x).mean(axis, keepdims)


def _transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    tensor = as_tensor(x)
    return tensor.T if axes is None else tensor.transpose(axes)


def _concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    tensors = promote(*xs)
    return Tensor(b.concat([t.value for t in tensors], axis % tensors[0].ndim))


def _stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    tensors = promote(*xs)
    place = axis % (tensors[0].ndim + 1)
    shape = (*tensors[0].shape[:place], 1, *tensors[0].shape[place:])
    return Tensor(b.concat([b.reshape(t.value, shape) for t in tensors], place))


def _where(condition: Any, x: Any, y: Any) -> Tensor:
    left, right = promote(x, y)
    c, u, v = broadcast([as_tensor(condition), left, right])
    return Tensor(b.select(c.value, u.value, v.value))


def _clip(x: Any, lo: Any = None, hi: Any = None) -> Tensor:
    result = as_tensor(x)
    if lo is not None:
        result = binary(b.max, result, lo)
    return result if hi is None else binary(b.min, result, hi)


def _squeeze(x: Any, axis: Any = None) -> Tensor:
    tensor = as_tensor(x)
    gone = [k for k, d in enumerate(tensor.shape) if d == 1] if axis is None else [axis] if isinstance(axis, int) else list(axis)
    gone = [a % tensor.ndim for a in gone]
    return tensor.reshape(tuple(d for k, d in enumerate(tensor.shape) if k not in gone))


def _expand_dims(x: Any, axis: int) -> Tensor:
    tensor = as_tensor(x)
    place = axis % (tensor.ndim + 1)
    return tensor.reshape((*tensor.shape[:place], 1, *tensor.shape[place:]))


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _reduction(b.reduce_sum),
    np.prod: _reduction(b.reduce_prod),
    np.max: _reduction(b.reduce_max),
    np.min: _reduction(b.reduce_min),
    np.any: _reduction(b.reduce_any),
    np.all: _reduction(b.reduce_all),
    np.mean: _mean,
    np.argmax: lambda x, axis=None: as_tensor(x).argmax(axis),
    np.argmin: lambda x, axis=None: as_tensor(x).argmin(axis),
    np.reshape: lambda x, shape: as_tensor(x).reshape(shape),
    np.transpose: _transpose,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.where: _where,
    np.clip: _clip,
    np.squeeze: _squeeze,
    np.expand_dims: _expand_dims,
    np.broadcast_to: lambda x, shape: broadcast_to(as_tensor(x), shape),
    np.dot: matmul,
    np.shape: lambda x: as_tensor(x).shape,
    np.ndim: lambda x: as_tensor(x).ndim,
    np.zeros_like: lambda x: as_tensor(_full_like(x, 0)),
    np.ones_like: lambda x: as_tensor(_full_like(x, 1)),
    np.flip: lambda x, axis=0: Tensor(b.reverse(as_tensor(x).value, (axis % as_tensor(x).ndim,))),
    np.take: lambda x, indices, axis=0: Tensor(b.gather(as_tensor(x).value, as_tensor(indices).value, axis)),
}


def _full_like(x: Any, value: float) -> Tensor:
    """One number everywhere, of x's type."""
    return Tensor(b.full_like(as_tensor(x).value, value))
