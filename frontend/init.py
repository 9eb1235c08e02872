"""Initialisers: what weights are before training, drawn from the generator of `nv.seed`.

    nv.seed(0)
    nv.init.xavier_uniform(layer.weight)           # fills a parameter, and returns it
    self.w = nv.init.normal((3, 4), std=0.1)       # makes one

Each takes a parameter or a shape. Numbers are drawn in f64 and rounded to the parameter's element type, so that a seed
means the same weights in every type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..ir.errors import InputError
from ..ir.types import Array, DType, dtype_of, f32
from .parameter import Parameter
from .random import generator

__all__ = [
    "calculate_gain", "constant", "kaiming_normal", "kaiming_uniform", "normal", "ones", "orthogonal", "trunc_normal",
    "uniform", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Target = Parameter | Sequence[int]
"""A parameter to fill, or the shape of a new one."""

Mode = Literal["fan_in", "fan_out"]

GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **{f"conv{k}d": 1.0 for k in (1, 2, 3)},
    **{f"conv_transpose{k}d": 1.0 for k in (1, 2, 3)},
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By what the spread of weights is scaled so that signals behind an activation keep their size.

    Args:
        nonlinearity: linear, conv1d and the like, sigmoid, tanh, relu, leaky_relu, selu
        param:        of leaky_relu its slope, 0.01 if not given

    Raises:
        InputError: no gain is known for it
    Source: PyTorch torch.nn.init.calculate_gain
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise InputError(
            f"calculate_gain: no gain is known for {nonlinearity}",
            hint=f"there are {', '.join([*GAINS, 'leaky_relu'])}",
        )
    return GAINS[nonlinearity]


def uniform(target: Target, low: float = 0.0, high: float = 1.0, *, dtype: Any = f32) -> Parameter:
    """Evenly between low and high."""
    return _fill(target, dtype, generator().uniform(low, high, _shape(target)))


def normal(target: Target, mean: float = 0.0, std: float = 1.0, *, dtype: Any = f32) -> Parameter:
    """Normally distributed."""
    if not std >= 0:
        raise InputError(f"normal: std is {std}, expected at least 0")
    return _fill(target, dtype, generator().normal(mean, std, _shape(target)))


def constant(target: Target, value: float, *, dtype: Any = f32) -> Parameter:
    """The same number everywhere."""
    return _fill(target, dtype, np.full(_shape(target), value))


def zeros(target: Target, *, dtype: Any = f32) -> Parameter:
    """0 everywhere."""
    return constant(target, 0.0, dtype=dtype)


def ones(target: Target, *, dtype: Any = f32) -> Parameter:
    """1 everywhere."""
    return constant(target, 1.0, dtype=dtype)


def xavier_uniform(target: Target, gain: float = 1.0, *, dtype: Any = f32) -> Parameter:
    """Evenly between -bound and bound, so that signals keep their size in both directions.

    Equation: bound = gain sqrt(6 / (fan_in + fan_out))
    Raises:   InputError: a weight has fewer than two axes
    Source:   X. Glorot, Y. Bengio, 2010; PyTorch torch.nn.init.xavier_uniform_
    """
    bound = gain * math.sqrt(6 / sum(_fans("xavier_uniform", target)))
    return uniform(target, -bound, bound, dtype=dtype)


def xavier_normal(target: Target, gain: float = 1.0, *, dtype: Any = f32) -> Parameter:
    """Normally distributed, so that signals keep their size in both directions.

    Equation: std = gain sqrt(2 / (fan_in + fan_out))
    Raises:   InputError: a weight has fewer than two axes
    Source:   X. Glorot, Y. Bengio, 2010; PyTorch torch.nn.init.xavier_normal_
    """
    std = gain * math.sqrt(2 / sum(_fans("xavier_normal", target)))
    return normal(target, 0.0, std, dtype=dtype)


def kaiming_uniform(
    target: Target,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: Any = f32,
) -> Parameter:
    """Evenly between -bound and bound, so that signals behind an activation keep their size.

    Equation: bound = gain sqrt(3 / fan)
    Args:     a: the slope of leaky_relu; mode: fan_in keeps sizes forward, fan_out backward
    Raises:   InputError: a weight has fewer than two axes, or no such mode or gain
    Source:   K. He et al., 2015; PyTorch torch.nn.init.kaiming_uniform_
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform", target, a, mode, nonlinearity)
    return uniform(target, -bound, bound, dtype=dtype)


def kaiming_normal(
    target: Target,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    dtype: Any = f32,
) -> Parameter:
    """Normally distributed, so that signals behind an activation keep their size; see `kaiming_uniform`.

    Equation: std = gain / sqrt(fan)
    Source:   K. He et al., 2015; PyTorch torch.nn.init.kaiming_normal_
    """
    std = _kaiming_std("kaiming_normal", target, a, mode, nonlinearity)
    return normal(target, 0.0, std, dtype=dtype)


def trunc_normal(
    target: Target,
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    dtype: Any = f32,
) -> Parameter:
    """Normally distributed, drawn again where outside low and high, which are no multiples of std.

    Raises: InputError: low is not below high, or the mean lies further than 2 std outside
    Source: PyTorch torch.nn.init.trunc_normal_
    """
    if not (low < high and std > 0 and low - 2 * std <= mean <= high + 2 * std):
        raise InputError(
            f"trunc_normal: mean is {mean}, std {std} and the range {low} to {high}, expected a positive std and a mean "
            "within 2 std of the range"
        )
    found = np.empty(math.prod(_shape(target)))
    todo = np.arange(found.size)
    while todo.size:
        drawn = generator().normal(mean, std, todo.size)
        if (
            high - low < 2 * std
        ):  # few would hit a narrow range: draw within it, keep as many as the density says
            drawn = generator().uniform(low, high, todo.size)
            top = math.exp(-(((min(max(mean, low), high) - mean) / std) ** 2) / 2)
            kept = generator().uniform(0, top, todo.size) < np.exp(-(((drawn - mean) / std) ** 2) / 2)
        else:
            kept = (low <= drawn) & (drawn <= high)
        found[todo[kept]] = drawn[kept]
        todo = todo[~kept]
    return _fill(target, dtype, found.reshape(_shape(target)))


def orthogonal(target: Target, gain: float = 1.0, *, dtype: Any = f32) -> Parameter:
    """Rows, or columns if these are fewer, that are orthogonal and of length gain; axes behind the first count as one.

    Raises: InputError: a weight has fewer than two axes
    Source: A. Saxe et al., 2014; PyTorch torch.nn.init.orthogonal_
    """
    shape = _shape(target)
    if len(shape) < 2:
        raise InputError(f"orthogonal: a weight of shape {list(shape)} has fewer than two axes")
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = generator().normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    signed = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # otherwise the distribution is not uniform
    matrix = signed.T if rows < columns else signed
    return _fill(target, dtype, gain * matrix.reshape(shape))


def _shape(target: Target) -> tuple[int, ...]:
    return target.type.static_shape() if isinstance(target, Parameter) else tuple(target)


def _fill(target: Target, dtype: Any, array: Array) -> Parameter:
    if isinstance(target, Parameter):
        target.assign(array.astype(target.type.dtype.numpy))
        return target
    kind: DType = dtype_of(dtype)
    return Parameter(array.astype(kind.numpy))


def _fans(name: str, target: Target) -> tuple[int, int]:
    """How many numbers go into, and come out of, one element: of [out, in, window...]."""
    shape = _shape(target)
    if len(shape) < 2:
        raise InputError(
            f"{name}: a weight of shape {list(shape)} has fewer than two axes, and so no fan_in and fan_out"
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _kaiming_std(name: str, target: Target, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise InputError(f"{name}: mode is {mode!r}, expected 'fan_in' or 'fan_out'")
    fan = _fans(name, target)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))
