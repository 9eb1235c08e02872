"""Losses of distributions: cross-entropies and divergence, with PyTorch's names, arguments and reductions.

Everywhere: reduction is "mean", "sum" or "none". PyTorch's size_average and reduce, long deprecated, are left out.
"""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import make_one
from ..ir.ops.nn import CrossEntropy
from ..ir.types import i64
from .activations import log_softmax
from .calls import called, wrong
from .elementwise import dim_scalar
from .pointwise import exp, log, log1p_exp, where
from .tensor import Tensor, as_tensor, operands

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "class_labels", "cross_entropy", "kl_div", "nll_loss",
    "reduced", "same_shape",
]  # fmt: skip


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """How many nats the labels cost under softmax of the logits.

    Equation: loss[n] = -weight[y] log_softmax(x)[n, y]; the mean divides by the sum of the weights
    Shapes:  input [N, C] or [N, C, ...], target integers [N] or [N, ...], or shares of the classes, of the input's
             shape and type -> scalar; [N, ...] for "none"
    Args:    weight: [C], of each class; ignore_index: a label that costs nothing and does not count, such as -100,
             which PyTorch ignores unasked; label_smoothing: the share of each target that all classes get in equal
             parts, 0..1
    Raises:  InputError at the call of an executable whose input holds labels outside 0..C-1
    Numerics: NaN where every label is ignored; with ignore_index labels outside the classes are clamped
    Source:  PyTorch torch.nn.functional.cross_entropy; C. Szegedy et al., 2016, for the smoothing
    """
    x, y = as_tensor(input), as_tensor(target)
    if not 0 <= label_smoothing <= 1:
        raise wrong("cross_entropy", f"label_smoothing is {label_smoothing}, expected 0..1", input=x)
    with called("cross_entropy", input=x, target=y, reduction=reduction):
        if x.ndim == 1:
            single = cross_entropy(
                x.reshape(1, *x.shape),
                y.reshape(1, *y.shape),
                weight,
                ignore_index,
                reduction,
                label_smoothing,
            )
            return single.reshape(*single.shape[1:])
        if x.ndim < 1:
            raise wrong("cross_entropy", "input is a scalar, expected [N, C]")
        if y.dtype.is_float and y.shape == x.shape and ignore_index is None:
            return _dense(x, y, weight, reduction, label_smoothing)
        if weight is None and ignore_index is None and not label_smoothing:
            return _plain(x, y, reduction)
        scores = log_softmax(x, 1)
        loss, weights = _picked("cross_entropy", scores, y, weight, ignore_index)
        if label_smoothing:
            every = _weighted(scores, weight).sum(1)
            if ignore_index is not None:
                every = where(y == ignore_index, 0, every)
            even = -every / Tensor(dim_scalar(x.shape[1], x.dtype))
            loss = loss * (1 - label_smoothing) + even * label_smoothing
        return _by_weights("cross_entropy", loss, weights, reduction)


def _plain(x: Tensor, y: Tensor, reduction: str) -> Tensor:
    """By the op that is kept whole."""
    y = class_labels("cross_entropy", y, x.shape[1])
    shape = y.shape
    if x.ndim > 2:
        if shape != (x.shape[0], *x.shape[2:]):
            raise wrong("cross_entropy", "input [N, C, ...] and target [N, ...] differ outside the classes")
        x = x.permute(0, *range(2, x.ndim), 1).reshape(y.size, x.shape[1])
        y = y.flatten()
    loss = Tensor(make_one(CrossEntropy(reduction), x.value, y.value))
    return loss.reshape(shape) if reduction == "none" else loss


def _dense(x: Tensor, y: Tensor, weight: Any, reduction: str, smoothing: float) -> Tensor:
    """Targets that are shares of the classes; the mean is over the batch, whatever the weights."""
    if smoothing:
        y = y * (1 - smoothing) + smoothing / Tensor(dim_scalar(x.shape[1], x.dtype))
    cost = -(_weighted(log_softmax(x, 1), weight) * y).sum(1)
    return reduced("cross_entropy", cost, reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of labels, given log-probabilities.

    Shapes:  input [N, C] or [N, C, ...], target integers [N] or [N, ...] -> scalar; [N, ...] for "none"
    Args:    see `cross_entropy`
    Source:  PyTorch torch.nn.functional.nll_loss
    """
    x, y = as_tensor(input), as_tensor(target)
    with called("nll_loss", input=x, target=y, reduction=reduction):
        if x.ndim < 2:
            raise wrong("nll_loss", f"input has rank {x.ndim}, expected [N, C] or [N, C, ...]")
        loss, weights = _picked("nll_loss", x, y, weight, ignore_index)
        return _by_weights("nll_loss", loss, weights, reduction)


def _picked(
    name: str, scores: Tensor, y: Tensor, weight: Any, ignore_index: int | None
) -> tuple[Tensor, Tensor | None]:
    """What each label costs, and what it weighs; None where all weigh 1."""
    if y.shape != (scores.shape[0], *scores.shape[2:]):
        raise wrong(name, "input [N, C, ...] and target [N, ...] differ outside the classes")
    classes = scores.shape[1]
    within = ignore_index is None or (isinstance(classes, int) and 0 <= ignore_index < classes)
    labels = class_labels(name, y, classes if within else None)
    places = labels.reshape(labels.shape[0], 1, *labels.shape[1:])
    cost = -Tensor(b.gather_elements(scores.value, places.value, 1)).reshape(*labels.shape)
    weights: Tensor | None = None
    if weight is not None:
        weights = Tensor(b.gather(_class_weights(name, scores, weight).value, labels.value))
        cost = cost * weights
    if ignore_index is not None:
        ignored = labels == ignore_index
        weights = where(ignored, 0, Tensor(b.full_like(cost.value, 1)) if weights is None else weights)
        cost = where(ignored, 0, cost)
    return cost, weights


def _by_weights(name: str, loss: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """The reduction; a mean over what the elements weigh."""
    if reduction != "mean" or weights is None:
        return reduced(name, loss, reduction)
    return loss.sum() / weights.sum()


def _class_weights(name: str, x: Tensor, weight: Any) -> Tensor:
    found = as_tensor(weight)
    if found.shape != x.shape[1:2]:
        raise wrong(name, f"weight is {found.type}, expected one number for each of {x.shape[1]} classes")
    return found


def _weighted(scores: Tensor, weight: Any) -> Tensor:
    if weight is None:
        return scores
    given = _class_weights("cross_entropy", scores, weight)
    return scores * given.reshape(given.shape[0], *[1] * (scores.ndim - 2))


def class_labels(name: str, target: Tensor, classes: Dim | None) -> Tensor:
    """Labels as i64, said to lie within the classes; executables refuse inputs that do not."""
    if not target.dtype.is_integer:
        raise wrong(name, f"target is {target.dtype}, expected integers, the labels of classes")
    if isinstance(classes, int) and classes > 0:
        target = Tensor(b.expect_range(target.value, 0, classes))
    return target.astype(i64)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """The cost of targets in 0..1 under probabilities.

    Equation: loss = -weight (y log x + (1 - y) log(1 - x)), each logarithm at least -100
    Gradient: 0 where the bound of -100 holds (PyTorch: 1e12 there)
    Source:  PyTorch torch.nn.functional.binary_cross_entropy
    """
    x, y = same_shape("binary_cross_entropy", input, target)
    cost = -(y * _bounded_log(x) + (1 - y) * _bounded_log(1 - x))
    return reduced("binary_cross_entropy", _scaled(cost, weight), reduction)


def _bounded_log(x: Tensor) -> Tensor:
    """log x, -100 where x is 0 or so small; the gradient there is 0."""
    tiny = x <= 3.720075976020836e-44
    return where(tiny, -100, log(where(tiny, 1, x)))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """The cost of targets in 0..1 under the sigmoid of the logits, without its overflow.

    Equation: loss = -weight (pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x)))
    Args:    weight, pos_weight: of each element, and of those with target 1; they broadcast
    Source:  PyTorch torch.nn.functional.binary_cross_entropy_with_logits
    """
    name = "binary_cross_entropy_with_logits"
    x, y = same_shape(name, input, target)
    missed = log1p_exp(-x)
    if pos_weight is not None:
        missed = missed * (1 + (as_tensor(pos_weight) - 1) * y)
    return reduced(name, _scaled((1 - y) * x + missed, weight), reduction)


def _scaled(cost: Tensor, weight: Any) -> Tensor:
    return cost if weight is None else cost * weight


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence of a distribution from another, given as logarithm.

    Equation: loss = y (log y - x), 0 where y is 0; with log_target e^y (y - x)
    Args:    reduction: also "batchmean", the sum by the size of the first axis, which is the divergence
    Gradient: of the target at 0 taken as 0
    Source:  PyTorch torch.nn.functional.kl_div
    """
    x, y = same_shape("kl_div", input, target)
    if log_target:
        cost = exp(y) * (y - x)
    else:
        empty = y == 0
        cost = where(empty, 0, where(empty, 1, y) * log(where(empty, 1, y))) - y * x
    if reduction != "batchmean":
        return reduced("kl_div", cost, reduction)
    if not x.ndim:
        return cost
    return cost.sum() / Tensor(dim_scalar(x.shape[0], x.dtype))


def same_shape(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Input and target, which have one shape and type: a broadcast here is nearly always a mistake."""
    found = operands(input, target) or [as_tensor(input).value, as_tensor(target).value]
    x, y = map(Tensor, found)
    if y.shape and x.shape != y.shape:
        raise wrong(name, "input and target differ in shape", input=x, target=y)
    if x.dtype != y.dtype:
        hint = f"cast one with .astype('{x.dtype}')"
        raise wrong(name, f"element types differ: {x.dtype} and {y.dtype}", hint=hint, input=x, target=y)
    return x, y


def reduced(name: str, x: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or x itself."""
    if reduction == "none":
        return x
    if reduction == "sum":
        return x.sum()
    if reduction == "mean":
        return x.mean()
    raise wrong(name, f'reduction is "{reduction}", expected "mean", "sum" or "none"')
