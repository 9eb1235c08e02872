"""Losses: PyTorch's names, arguments and reductions."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import make_one
from ..ir.ops.nn import CrossEntropy
from ..ir.types import i64
from .calls import called, wrong
from .tensor import Tensor, as_tensor, operands

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss", "nll_loss"]


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """How many nats the labels cost under softmax of the logits.

    Shapes:  input [N, C] or [N, C, ...], target integers [N] or [N, ...] -> scalar; [N, ...] for "none"
    Args:    reduction: "mean", "sum" or "none"
    Raises:  InputError at the call of an executable whose input holds labels outside 0..C-1
    Source:  PyTorch torch.nn.functional.cross_entropy
    """
    x, y = as_tensor(input), as_tensor(target)
    with called("cross_entropy", input=x, target=y, reduction=reduction):
        y = class_labels("cross_entropy", y, x.shape[1])
        shape = y.shape
        if x.ndim > 2:
            if shape != (x.shape[0], *x.shape[2:]):
                raise wrong(
                    "cross_entropy", "input [N, C, ...] and target [N, ...] differ outside the classes"
                )
            x = x.permute(0, *range(2, x.ndim), 1).reshape(y.size, x.shape[1])
            y = y.flatten()
        loss = Tensor(make_one(CrossEntropy(reduction), x.value, y.value))
    return loss.reshape(shape) if reduction == "none" else loss


def nll_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The negative log-likelihood of labels, given log-probabilities [N, C]."""
    x, y = as_tensor(input), as_tensor(target)
    with called("nll_loss", input=x, target=y):
        if x.ndim != 2:
            raise wrong("nll_loss", f"input has rank {x.ndim}, expected [N, C]")
        rows = class_labels("nll_loss", y, x.shape[1]).reshape(y.size, 1)
        picked = Tensor(b.gather_elements(x.value, rows.value, 1)).reshape(y.size)
    return _reduced("nll_loss", -picked, reduction)


def class_labels(name: str, target: Tensor, classes: Dim) -> Tensor:
    """Labels as i64, said to lie within the classes; executables refuse inputs that do not."""
    if not target.dtype.is_integer:
        raise wrong(name, f"target is {target.dtype}, expected integers, the labels of classes")
    if isinstance(classes, int):
        target = Tensor(b.expect_range(target.value, 0, classes))
    return target.astype(i64)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference."""
    difference = _difference("mse_loss", input, target)
    return _reduced("mse_loss", difference * difference, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute difference."""
    return _reduced("l1_loss", abs(_difference("l1_loss", input, target)), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The cost of targets in 0..1 under the sigmoid of the logits: max(x, 0) - x y + log(1 + e^-|x|)."""
    x, y = as_tensor(input), as_tensor(target)
    with called("binary_cross_entropy_with_logits", input=x, target=y):
        positive = Tensor(b.max(x.value, b.full_like(x.value, 0)))
        cost = positive - x * y + Tensor(b.log1p(b.exp((-abs(x)).value)))
    return _reduced("binary_cross_entropy_with_logits", cost, reduction)


def _difference(name: str, input: Any, target: Any) -> Tensor:
    """input - target, which have one shape: a broadcast here is nearly always a mistake."""
    found = operands(input, target) or [as_tensor(input).value, as_tensor(target).value]
    x, y = map(Tensor, found)
    if y.shape and x.shape != y.shape:
        raise wrong(name, "input and target differ in shape", input=x, target=y)
    with called(name, input=x, target=y):
        return x - y


def _reduced(name: str, x: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x
    if reduction == "sum":
        return x.sum()
    if reduction == "mean":
        return x.mean()
    raise wrong(name, f'reduction is "{reduction}", expected "mean", "sum" or "none"')
