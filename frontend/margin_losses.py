"""Losses that are 0 once a score is right by a margin: hinge, perceptron, ranking, similarity.

The derivative at the corner is 0 for hinges, as PyTorch's; for ranking and similarity it is that of the side with a
cost, as PyTorch's; the perceptron has a mistake there.
"""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import product
from .activations import relu
from .calls import called, wrong
from .elementwise import broadcast_to, dim_scalar
from .losses import class_labels, reduced
from .norms import p_norm
from .pointwise import log1p_exp, sqrt, where
from .tensor import Tensor, as_tensor

__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "hinge_embedding_loss", "hinge_loss", "margin_ranking_loss",
    "multi_hinge_loss", "multi_margin_loss", "pairwise_distance", "perceptron_loss", "soft_margin_loss",
    "triplet_margin_loss",
]  # fmt: skip


def hinge_loss(
    input: Any, target: Any, margin: float = 1.0, squared: bool = False, reduction: str = "mean"
) -> Tensor:
    """What a score lacks of the margin on its label's side.

    Equation: loss = max(0, margin - y x), or its square
    Shapes:  input T[S], target T[S] or integers [S], of -1 and +1 -> scalar; T[S] for "none"
    Gradient: 0 at the corner
    Source:  C. Cortes, V. Vapnik, Support-vector networks, 1995
    """
    x, y = _signs("hinge_loss", input, target)
    lack = relu(margin - y * x)
    return reduced("hinge_loss", lack * lack if squared else lack, reduction)


def perceptron_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """How far a score stands on the wrong side: 0 for a right decision, however narrow.

    Equation: loss = max(0, -y x) for labels -1 and +1; max over j of x[j], less x[y], for labels of classes
    Shapes:  input T[S], target T[S] or integers [S], of -1 and +1; or input [N, C], target integers [N]
    Gradient: that of the decision as it stands: a score of 0 decides for -1, and of equal scores the first wins; so
              w -= gradient is the perceptron's rule, w += (label - decision) x, from weights 0 on
    Source:  F. Rosenblatt, The perceptron, 1958; PyTorch has no such loss
    """
    x, y = as_tensor(input), as_tensor(target)
    if x.ndim == 2 and y.ndim == 1:
        with called("perceptron_loss", input=x, target=y):
            _need_batch("perceptron_loss", x, y)
            rows = x.shape[0]
            labels = class_labels("perceptron_loss", y, x.shape[1]).reshape(rows, 1)
            winners = x.argmax(1, keepdims=True)
            cost = _pick(x, winners) - _pick(x, labels)
        return reduced("perceptron_loss", cost.reshape(rows), reduction)
    x, y = _signs("perceptron_loss", input, target)
    mistaken = (x > 0) != (y > 0)
    return reduced("perceptron_loss", where(mistaken, -(y * x), 0), reduction)


def multi_hinge_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    squared: bool = False,
    multi_class: str = "crammer_singer",
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss of several classes.

    Equation: "crammer_singer": max(0, margin - x[y] + max over j other than y of x[j]);
              "one_vs_rest": sum over j of max(0, margin - s[j] x[j]), s[j] = 1 for j = y, else -1; or the squares
    Shapes:  input [N, C], target integers [N] -> scalar; [N] for "none"
    Source:  K. Crammer, Y. Singer, On the algorithmic implementation of multiclass kernel-based vector machines, 2001
    """
    x, y = as_tensor(input), as_tensor(target)
    with called("multi_hinge_loss", input=x, target=y):
        _need_batch("multi_hinge_loss", x, y)
        labels = class_labels("multi_hinge_loss", y, x.shape[1]).reshape(x.shape[0], 1)
        own = _is_label(x, labels)
        if multi_class == "one_vs_rest":
            lack = relu(where(own, margin - x, margin + x))
            return reduced("multi_hinge_loss", (lack * lack if squared else lack).sum(1), reduction)
        if multi_class != "crammer_singer":
            raise wrong(
                "multi_hinge_loss",
                f'multi_class is "{multi_class}", expected "crammer_singer" or "one_vs_rest"',
            )
        others = where(own, -float("inf"), x)
        rival = _pick(x, others.argmax(1, keepdims=True))
        lack = relu(margin - _pick(x, labels) + rival).reshape(x.shape[0])
    return reduced("multi_hinge_loss", lack * lack if squared else lack, reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """What the label's score lacks of the margin to each other class, summed.

    Equation: loss = weight[y] / C * sum over j other than y of max(0, margin - x[y] + x[j])^p
    Shapes:  input [N, C], target integers [N], weight [C] -> scalar; [N] for "none"
    Args:    p: 1 or 2
    Source:  J. Weston, C. Watkins, 1999; PyTorch torch.nn.functional.multi_margin_loss
    """
    x, y = as_tensor(input), as_tensor(target)
    with called("multi_margin_loss", input=x, target=y, p=p):
        if p not in (1, 2):
            raise wrong("multi_margin_loss", f"p is {p}, expected 1 or 2")
        _need_batch("multi_margin_loss", x, y)
        labels = class_labels("multi_margin_loss", y, x.shape[1])
        column = labels.reshape(x.shape[0], 1)
        lack = relu(margin - _pick(x, column) + x)
        lack = where(_is_label(x, column), 0, lack if p == 1 else lack * lack)
        cost = lack.sum(1) / Tensor(dim_scalar(x.shape[1], x.dtype))
        if weight is not None:
            given = as_tensor(weight)
            if given.shape != x.shape[1:]:
                raise wrong("multi_margin_loss", f"weight is {given.type}, expected one number a class")
            cost = cost * Tensor(b.gather(given.value, labels.value))
    return reduced("multi_margin_loss", cost, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + e^(-y x)) for labels -1 and +1."""
    x, y = _signs("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", log1p_exp(-(y * x)), reduction)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """A distance x for label 1, max(0, margin - x) for label -1."""
    x, y = _signs("hinge_embedding_loss", input, target)
    cost = where(y != 1, _above(margin - x), 0) + where(y != -1, x, 0)
    return reduced("hinge_embedding_loss", cost, reduction)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along an axis; a length below eps counts as eps."""
    x, y = as_tensor(x1), as_tensor(x2)
    with called("cosine_similarity", x1=x, x2=y, dim=dim):
        one, other = p_norm(x, 2, dim).clip(min=eps), p_norm(y, 2, dim).clip(min=eps)
        return (x * y).sum(dim) / (one * other)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos of the angle for label 1, max(0, cos - margin) for label -1.

    Shapes:  inputs [N, D] or [D], target [N] or a scalar
    Source:  PyTorch torch.nn.functional.cosine_embedding_loss
    """
    x, z = as_tensor(input1), as_tensor(input2)
    y = as_tensor(target, x.dtype).astype(x.dtype)
    if x.shape != z.shape or x.ndim not in (1, 2) or y.shape != x.shape[:-1]:
        raise wrong(
            "cosine_embedding_loss", "expected two [N, D] and target [N]", input1=x, input2=z, target=y
        )
    tiny = 1e-12
    lengths = ((x * x).sum(-1) + tiny) * ((z * z).sum(-1) + tiny)
    cosine = (x * z).sum(-1) / sqrt(lengths)
    cost = where(y == 1, 1 - cosine, 0) + where(y == -1, _above(cosine - margin), 0)
    return reduced("cosine_embedding_loss", cost, reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, margin - y (x1 - x2)): label 1 wants the first larger, -1 the second."""
    x, z = as_tensor(input1), as_tensor(input2)
    if x.shape != z.shape:
        raise wrong("margin_ranking_loss", "the inputs differ in shape", input1=x, input2=z)
    gap, y = _signs("margin_ranking_loss", x - z, target)
    return reduced("margin_ranking_loss", _above(margin - y * gap), reduction)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return p_norm(as_tensor(x1) - as_tensor(x2) + eps, p, -1, keepdim)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + distance to the positive - distance to the negative).

    Shapes:  three of [N, D] or [D] -> scalar; [N] for "none"
    Args:    swap: whether the positive's distance to the negative counts where it is smaller
    Source:  V. Balntas et al., 2016; PyTorch torch.nn.functional.triplet_margin_loss
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.clip(max=pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", _above(margin + near - far), reduction)


def _above(x: Tensor) -> Tensor:
    """x where x >= 0, else 0; the derivative at 0 is 1."""
    return where(x < 0, 0, x)


def _signs(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Scores and labels of one shape, the labels in the scores' element type."""
    x = as_tensor(input)
    y = as_tensor(target, x.dtype)
    if x.shape != y.shape:
        raise wrong(name, "input and target differ in shape", input=x, target=y)
    if not x.dtype.is_float or y.dtype.kind == "bool":
        raise wrong(name, "expected float scores and labels -1 and +1", input=x, target=y)
    return x, y.astype(x.dtype)


def _need_batch(name: str, x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise wrong(name, "expected input [N, C] and target [N]")


def _pick(x: Tensor, labels: Tensor) -> Tensor:
    """x[n, labels[n]] as [N, 1]."""
    return Tensor(b.gather_elements(x.value, labels.value, 1))


def _is_label(x: Tensor, labels: Tensor) -> Tensor:
    """Whether [n, j] is the label's place; labels [N, 1], clamped as everywhere."""
    last = Tensor(dim_scalar(product(x.shape[1:]) - 1, labels.dtype))
    inside = labels.clip(min=0).clip(max=last)
    place = b.iota(labels.dtype, x.shape, 1)
    return Tensor(b.eq(place, broadcast_to(inside.value, x.shape)))
