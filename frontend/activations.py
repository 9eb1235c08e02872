"""Activations: PyTorch's names and arguments. All are elementwise but those along an axis; NaN passes through all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.graph import make_one
from ..ir.ops import nn as composites
from .calls import called, wrong
from .elementwise import broadcast_to
from .pointwise import log1p_exp, where
from .shapes import split
from .tensor import Tensor, as_tensor

__all__ = [
    "celu", "elu", "gelu", "glu", "hardmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin",
    "softplus", "softshrink", "softsign", "step", "swiglu", "tanh", "tanhshrink", "threshold", "thresholded_relu",
]  # fmt: skip

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
"""The fixed point of mean 0 and variance 1: G. Klambauer et al., Self-normalizing neural networks, 2017."""


def relu(input: Any) -> Tensor:
    """0 where x < 0, else x; its derivative at 0 is 0."""
    x = as_tensor(input)
    with called("relu", x=x):
        return Tensor(make_one(composites.Relu(), x.value))


def step(input: Any, at0: float = 0.0) -> Tensor:
    """The perceptron's threshold: 1 where x > 0, 0 where x < 0, at0 where x is 0. Its gradient is 0.

    Source:  PyTorch torch.heaviside; W. McCulloch, W. Pitts, 1943
    """
    return Tensor(b.step(_floats("step", input).value, at0))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x; its derivative at 0 is the slope."""
    x = _floats("leaky_relu", input)
    return where(x > 0, x, x * negative_slope)


def prelu(input: Any, weight: Any) -> Tensor:
    """x where x > 0, else weight * x.

    Shapes:  input [N, C, ...] or any, weight [C] or [1] -> as the input
    Source:  K. He et al., Delving deep into rectifiers, 2015; PyTorch torch.nn.functional.prelu
    """
    x, w = _floats("prelu", input), as_tensor(weight)
    with called("prelu", input=x, weight=w):
        channels = x.shape[1] if x.ndim > 1 else 1
        if w.ndim != 1 or w.shape[0] not in (1, channels):
            raise wrong("prelu", f"expected one slope or {channels}, one a channel", input=x, weight=w)
        if x.ndim > 1:
            w = w.reshape(-1, *[1] * (x.ndim - 2))
        return where(x > 0, x, x * w)


def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (e^x - 1)."""
    return _exponential("elu", input, alpha, 1.0)


def celu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (e^(x / alpha) - 1)."""
    if alpha == 0:
        raise wrong("celu", "alpha is 0, by which x is divided")
    return _exponential("celu", input, alpha, 1 / alpha)


def selu(input: Any) -> Tensor:
    """1.0507 times the elu with alpha = 1.6733, whose output keeps mean 0 and variance 1."""
    return SELU_SCALE * _exponential("selu", input, SELU_ALPHA, 1.0)


def _exponential(name: str, input: Any, alpha: float, rate: float) -> Tensor:
    x = _floats(name, input)
    positive = x > 0
    # e^x may be infinite in the branch not taken, and 0 times its derivative then no number
    left = where(positive, 0, x * rate)
    return where(positive, x, alpha * Tensor(b.expm1(left.value)))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x times the standard normal's distribution function at x; approximate "tanh" for the usual formula.

    Source:  D. Hendrycks, K. Gimpel, Gaussian error linear units, 2016
    """
    x = _floats("gelu", input)
    if approximate == "tanh":
        inner = 0.7978845608028654 * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + tanh(inner))
    if approximate != "none":
        raise wrong("gelu", f'approximate is "{approximate}", expected "none" or "tanh"')
    return 0.5 * x * (1 + Tensor(b.erf((x * math.sqrt(0.5)).value)))


def silu(input: Any) -> Tensor:
    """x times its sigmoid."""
    x = _floats("silu", input)
    return x * sigmoid(x)


def mish(input: Any) -> Tensor:
    """x tanh(softplus(x))."""
    x = _floats("mish", input)
    return x * tanh(log1p_exp(x))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, without overflow; x itself where beta x > threshold."""
    x = _floats("softplus", input)
    if beta <= 0:
        raise wrong("softplus", f"beta is {beta}, expected a positive number", input=x)
    scaled = x if beta == 1 else x * beta
    smooth = log1p_exp(scaled)
    return where(scaled > threshold, x, smooth if beta == 1 else smooth / beta)


def softsign(input: Any) -> Tensor:
    """x / (1 + |x|)."""
    x = _floats("softsign", input)
    return x / (1 + abs(x))


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return Tensor(b.tanh(as_tensor(input).value))


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^-x)."""
    return Tensor(b.sigmoid(as_tensor(input).value))


def logsigmoid(input: Any) -> Tensor:
    """The logarithm of the sigmoid, without its underflow."""
    return -log1p_exp(-_floats("logsigmoid", input))


def hardsigmoid(input: Any) -> Tensor:
    """x / 6 + 1 / 2 between -3 and 3, 0 below and 1 above; its derivative is 0 at the corners."""
    x = _floats("hardsigmoid", input)
    return where(x <= -3, 0, where(x >= 3, 1, (x + 3) / 6))


def hardswish(input: Any) -> Tensor:
    """x times its hardsigmoid."""
    x = _floats("hardswish", input)
    return where(x <= -3, 0, where(x >= 3, x, x * (x + 3) / 6))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x between two bounds, the bound beyond them; its derivative is 0 at the bounds."""
    x = as_tensor(input)
    if min_val >= max_val:
        raise wrong("hardtanh", f"the bounds {min_val} and {max_val} do not increase", input=x)
    return where(x <= min_val, min_val, where(x >= max_val, max_val, x))


def relu6(input: Any) -> Tensor:
    """x between 0 and 6, the bound beyond them."""
    return hardtanh(input, 0.0, 6.0)


def threshold(input: Any, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else the value."""
    x = as_tensor(input)
    return where(x <= threshold, value, x)


def thresholded_relu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where x > alpha, else 0: ONNX's ThresholdedRelu."""
    return threshold(_floats("thresholded_relu", input), alpha, 0.0)


def tanhshrink(input: Any) -> Tensor:
    """x - tanh(x)."""
    x = _floats("tanhshrink", input)
    return x - tanh(x)


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x moved by lambd towards 0, where it stops."""
    x = _floats("softshrink", input)
    if lambd < 0:
        raise wrong("softshrink", f"lambd is {lambd}, expected at least 0", input=x)
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, x * 0))


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """0 where -lambd <= x <= lambd, else x."""
    x = as_tensor(input)
    return where((x >= -lambd) & (x <= lambd), 0, x)


def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second.

    Source:  Y. Dauphin et al., Language modeling with gated convolutional networks, 2017
    """
    first, second = _halves("glu", input, dim)
    return first * sigmoid(second)


def swiglu(input: Any, dim: int = -1) -> Tensor:
    """silu of the first half of an axis times the second.

    Source:  N. Shazeer, GLU variants improve transformer, 2020
    """
    first, second = _halves("swiglu", input, dim)
    return silu(first) * second


def _halves(name: str, input: Any, dim: int) -> Sequence[Tensor]:
    x = _floats(name, input)
    with called(name, input=x, dim=dim):
        return [Tensor(v) for v in split(x.value, 2, dim)]


def softmax(input: Any, dim: int = -1) -> Tensor:
    """Shares that are positive and sum to 1 along an axis."""
    x = as_tensor(input)
    with called("softmax", x=x, dim=dim):
        return Tensor(make_one(composites.Softmax(_axis(dim, x)), x.value))


def softmin(input: Any, dim: int = -1) -> Tensor:
    """softmax of -x: the smallest gets the largest share."""
    return softmax(-_floats("softmin", input), dim)


def log_softmax(input: Any, dim: int = -1) -> Tensor:
    """The logarithm of softmax."""
    x = as_tensor(input)
    with called("log_softmax", x=x, dim=dim):
        return Tensor(make_one(composites.LogSoftmax(_axis(dim, x)), x.value))


def hardmax(input: Any, dim: int = -1) -> Tensor:
    """1 at the first of the largest along an axis, 0 elsewhere: ONNX's Hardmax. Its gradient is 0."""
    x = _floats("hardmax", input)
    with called("hardmax", input=x, dim=dim):
        best = x.argmax(dim, keepdims=True)
        place = b.iota(best.dtype, x.shape, _axis(dim, x))
        return Tensor(b.cast(b.eq(place, broadcast_to(best.value, x.shape)), x.dtype))


def _axis(dim: int, x: Tensor) -> int:
    return dim + x.ndim if dim < 0 else dim


def _floats(name: str, input: Any) -> Tensor:
    x = as_tensor(input)
    if not x.dtype.is_float:
        raise wrong(name, f"the input is {x.dtype}, expected float", input=x, hint="use .astype('f32') first")
    return x
