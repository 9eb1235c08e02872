"""Layers as functions of tensors: PyTorch's names and argument meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.graph import Value, make, make_one
from ..ir.ops import nn as composites
from ..ir.ops.rng import RngSplit
from . import elementwise as e
from . import shapes as s
from .calls import called, wrong
from .losses import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss, nll_loss
from .parameter import Buffer
from .random import generator
from .tensor import Tensor, as_tensor, operands
from .tracing import current
from .windows import avg_pool2d, conv2d, max_pool2d

__all__ = [
    "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "conv2d", "cross_entropy", "dropout", "exp", "flatten",
    "gelu", "l1_loss", "leaky_relu", "linear", "log", "log_softmax", "max_pool2d", "mse_loss", "nll_loss", "relu",
    "reshape", "sigmoid", "silu", "softmax", "softplus", "split_key", "sqrt", "stack", "tanh", "where",
]  # fmt: skip


def relu(input: Any) -> Tensor:
    """0 where x < 0, else x; NaN passes."""
    x = as_tensor(input)
    with called("relu", x=x):
        return Tensor(make_one(composites.Relu(), x.value))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """negative_slope * x where x < 0, else x."""
    x = as_tensor(input)
    return Tensor(e.select((x < 0).value, (x * negative_slope).value, x.value))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x times the standard normal's distribution function at x; approximate "tanh" for the usual formula."""
    x = as_tensor(input)
    if approximate == "tanh":
        inner = 0.7978845608028654 * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + tanh(inner))
    if approximate != "none":
        raise wrong("gelu", f'approximate is "{approximate}", expected "none" or "tanh"')
    return 0.5 * x * (1 + Tensor(b.erf((x * 0.7071067811865476).value)))


def silu(input: Any) -> Tensor:
    """x times its sigmoid."""
    x = as_tensor(input)
    return x * sigmoid(x)


def softplus(input: Any) -> Tensor:
    """log(1 + e^x), without overflow."""
    x = as_tensor(input)
    return Tensor(b.log1p(b.exp((-abs(x)).value))) + relu(x)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return Tensor(b.tanh(as_tensor(input).value))


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^-x)."""
    return Tensor(b.sigmoid(as_tensor(input).value))


def exp(input: Any) -> Tensor:
    """e^x."""
    return Tensor(b.exp(as_tensor(input).value))


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return Tensor(b.log(as_tensor(input).value))


def sqrt(input: Any) -> Tensor:
    """The square root."""
    return Tensor(b.sqrt(as_tensor(input).value))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where the condition holds, else y."""
    found = operands(x, y) or [as_tensor(x).value, as_tensor(y).value]
    return Tensor(e.select(as_tensor(condition).value, found[0], found[1]))


def reshape(input: Any, shape: Sequence[Any]) -> Tensor:
    """Another shape of as many elements; one dim may be -1."""
    return as_tensor(input).reshape(tuple(shape))


def flatten(input: Any, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one; all but the batch axis if none is given."""
    return as_tensor(input).flatten(start_dim, end_dim)


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return Tensor(s.stack([as_tensor(x).value for x in xs], axis))


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """x w^T + b; weight [out, in], bias [out]."""
    x, w = as_tensor(input), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    with called("linear", x=x, w=w, bias=bias):
        given = [x.value, w.value] if bias is None else [x.value, w.value, bias.value]
        return Tensor(make_one(composites.Linear(), *given))


def softmax(input: Any, dim: int = -1) -> Tensor:
    """Shares that are positive and sum to 1 along an axis."""
    x = as_tensor(input)
    with called("softmax", x=x, dim=dim):
        return Tensor(make_one(composites.Softmax(_axis(dim, x)), x.value))


def log_softmax(input: Any, dim: int = -1) -> Tensor:
    """The logarithm of softmax."""
    x = as_tensor(input)
    with called("log_softmax", x=x, dim=dim):
        return Tensor(make_one(composites.LogSoftmax(_axis(dim, x)), x.value))


def _axis(dim: int, x: Tensor) -> int:
    return dim + x.ndim if dim < 0 else dim


def split_key(key: Buffer) -> Tensor:
    """A key to draw from once; the entry is updated to another, so that the next step draws anew."""
    keys = Tensor(make_one(RngSplit(2), key.value))
    current().update(key, keys[0].value)
    return keys[1]


def dropout(input: Any, p: float = 0.5, training: bool | None = None, key: Any = None) -> Tensor:
    """Zero elements with probability p in training and scale the rest by 1 / (1 - p); nothing at inference.

    Args:
        training: whether this is training; if not given, whether the trace is
        key:      u32[2] to draw from; if not given, a state entry of the program, split at each step
    """
    x = as_tensor(input)
    if not (current().training if training is None else training) or p == 0:
        return x
    if p == 1:
        return x * 0
    drawn = split_key(new_key(generator())) if key is None else as_tensor(key)
    with called("dropout", x=x, p=p, key=drawn):
        return Tensor(make_one(composites.Dropout(float(p)), x.value, drawn.value))


def new_key(rng: Any) -> Buffer:
    """A state entry with a random key, drawn from a numpy generator."""
    return Buffer(rng.integers(0, 2**32, 2, dtype="uint32"), name="key", optional=True)


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each channel with given statistics."""
    x = as_tensor(input)
    given = [x.value, *_affine(x, weight, bias), as_tensor(running_mean).value, as_tensor(running_var).value]
    with called("batch_norm", x=x, running_mean=running_mean):
        return Tensor(make_one(composites.BatchNorm(eps), *given))


def batch_norm_train(
    input: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel with the batch's statistics, which follow the result; the variance divides by the count."""
    x = as_tensor(input)
    with called("batch_norm", x=x):
        y, mean, var = make(composites.BatchNormTrain(eps), x.value, *_affine(x, weight, bias))
    return Tensor(y), Tensor(mean), Tensor(var)


def _affine(x: Tensor, weight: Any, bias: Any) -> tuple[Value, Value]:
    """Scale and shift of each channel: 1 and 0 where they are not given."""
    channel = x.type.with_shape(x.shape[1:2])
    scale = b.full(channel, 1) if weight is None else as_tensor(weight).value
    return scale, b.full(channel, 0) if bias is None else as_tensor(bias).value
