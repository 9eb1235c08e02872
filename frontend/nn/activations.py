"""Activations as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.types import dtype_of, f32
from .. import functional as F
from ..calls import wrong
from ..parameter import Parameter
from ..tensor import Tensor, as_tensor
from .module import Module
from .options import FunctionLayer

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardmax", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d",
    "Softmin", "Softplus", "Softshrink", "Softsign", "Step", "SwiGLU", "Tanh", "Tanhshrink", "Threshold", "ThresholdedReLU",
]  # fmt: skip


class Activation(FunctionLayer):
    """A function of one tensor as a layer."""

    def __call__(self, x: Any) -> Tensor:
        return type(self).function(x, **self.options())


class ReLU(Activation):
    """0 where x < 0, else x."""

    function = staticmethod(F.relu)


class ReLU6(Activation):
    """x between 0 and 6, the bound beyond them."""

    function = staticmethod(F.relu6)


class Step(Activation):
    """1 where x > 0, 0 where x < 0, at0 where x is 0; its gradient is 0."""

    function = staticmethod(F.step)

    def __init__(self, at0: float = 0.0) -> None:
        self.at0 = at0


class LeakyReLU(Activation):
    """x where x > 0, else negative_slope * x."""

    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope


class PReLU(Module):
    """x where x > 0, else weight * x, with a slope that is learned.

    Shapes:  x [N, C, ...] or any -> the same; weight [num_parameters], 1 or C
    Source:  K. He et al., Delving deep into rectifiers, 2015; PyTorch torch.nn.PReLU
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = f32) -> None:
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, dtype_of(dtype).numpy))

    def __call__(self, x: Any) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Activation):
    """x where x > 0, else alpha (e^x - 1)."""

    function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class CELU(ELU):
    """x where x > 0, else alpha (e^(x / alpha) - 1)."""

    function = staticmethod(F.celu)


class SELU(Activation):
    """The scaled elu whose output keeps mean 0 and variance 1."""

    function = staticmethod(F.selu)


class GELU(Activation):
    """x times the standard normal's distribution function at x; approximate: "none" or "tanh"."""

    function = staticmethod(F.gelu)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate


class SiLU(Activation):
    """x times its sigmoid."""

    function = staticmethod(F.silu)


class Mish(Activation):
    """x tanh(softplus(x))."""

    function = staticmethod(F.mish)


class Softplus(Activation):
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""

    function = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold


class Softsign(Activation):
    """x / (1 + |x|)."""

    function = staticmethod(F.softsign)


class Tanh(Activation):
    """The hyperbolic tangent."""

    function = staticmethod(F.tanh)


class Sigmoid(Activation):
    """1 / (1 + e^-x)."""

    function = staticmethod(F.sigmoid)


class LogSigmoid(Activation):
    """The logarithm of the sigmoid."""

    function = staticmethod(F.logsigmoid)


class Hardsigmoid(Activation):
    """x / 6 + 1 / 2 between -3 and 3, 0 below and 1 above."""

    function = staticmethod(F.hardsigmoid)


class Hardswish(Activation):
    """x times its hardsigmoid."""

    function = staticmethod(F.hardswish)


class Hardtanh(Activation):
    """x between two bounds, the bound beyond them."""

    function = staticmethod(F.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = min_val, max_val


class Threshold(Activation):
    """x where x > threshold, else the value."""

    function = staticmethod(F.threshold)

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value


class ThresholdedReLU(Activation):
    """x where x > alpha, else 0: ONNX's ThresholdedRelu."""

    function = staticmethod(F.thresholded_relu)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class Tanhshrink(Activation):
    """x - tanh(x)."""

    function = staticmethod(F.tanhshrink)


class Softshrink(Activation):
    """x moved by lambd towards 0, where it stops."""

    function = staticmethod(F.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd


class Hardshrink(Softshrink):
    """0 where -lambd <= x <= lambd, else x."""

    function = staticmethod(F.hardshrink)


class GLU(Activation):
    """The first half of an axis times the sigmoid of the second."""

    function = staticmethod(F.glu)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim


class SwiGLU(GLU):
    """silu of the first half of an axis times the second."""

    function = staticmethod(F.swiglu)


class Softmax(Activation):
    """Shares that are positive and sum to 1 along an axis."""

    function = staticmethod(F.softmax)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim


class Softmin(Softmax):
    """Shares that sum to 1 along an axis, the largest for the smallest."""

    function = staticmethod(F.softmin)


class LogSoftmax(Softmax):
    """The logarithm of softmax."""

    function = staticmethod(F.log_softmax)


class Hardmax(Softmax):
    """1 at the first of the largest along an axis, 0 elsewhere: ONNX's Hardmax."""

    function = staticmethod(F.hardmax)


class Softmax2d(Module):
    """softmax over the channels of [N, C, H, W] or [C, H, W]."""

    def __call__(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        if tensor.ndim not in (3, 4):
            raise wrong("Softmax2d", f"x has rank {tensor.ndim}, expected 3 or 4", x=tensor)
        return F.softmax(tensor, -3)
