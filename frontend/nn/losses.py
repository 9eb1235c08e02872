"""Losses as layers: PyTorch's names and arguments; class weights are state."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..parameter import Buffer
from ..tensor import Tensor
from .options import FunctionLayer

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "HingeEmbeddingLoss", "HingeLoss", "HuberLoss",
    "KLDivLoss", "L1Loss", "MSELoss", "MarginRankingLoss", "MultiHingeLoss", "MultiMarginLoss", "NLLLoss", "PerceptronLoss",
    "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss",
]  # fmt: skip


class Loss(FunctionLayer):
    """A loss as a layer."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def __call__(self, input: Any, target: Any) -> Tensor:
        return type(self).function(input, target, **self.options())


def _state(weight: Any) -> Buffer | None:
    return weight if weight is None or isinstance(weight, Buffer) else Buffer(np.asarray(weight))


class MSELoss(Loss):
    """The squared difference."""

    function = staticmethod(F.mse_loss)


class L1Loss(Loss):
    """The absolute difference."""

    function = staticmethod(F.l1_loss)


class HuberLoss(Loss):
    """Squared up to delta, absolute further out."""

    function = staticmethod(F.huber_loss)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta


class SmoothL1Loss(Loss):
    """The Huber loss divided by beta, its delta."""

    function = staticmethod(F.smooth_l1_loss)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta


class CrossEntropyLoss(Loss):
    """How many nats the labels cost under softmax of the logits; see `cross_entropy`."""

    function = staticmethod(F.cross_entropy)

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _state(weight), ignore_index
        self.label_smoothing = label_smoothing


class NLLLoss(Loss):
    """The negative log-likelihood of labels, given log-probabilities."""

    function = staticmethod(F.nll_loss)

    def __init__(self, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _state(weight), ignore_index


class BCELoss(Loss):
    """The cost of targets in 0..1 under probabilities."""

    function = staticmethod(F.binary_cross_entropy)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = _state(weight)


class BCEWithLogitsLoss(Loss):
    """The cost of targets in 0..1 under the sigmoid of the logits."""

    function = staticmethod(F.binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = _state(weight), _state(pos_weight)


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of the target from a distribution given as logarithm."""

    function = staticmethod(F.kl_div)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target


class HingeLoss(Loss):
    """What a score lacks of the margin on the side of its label, -1 or +1."""

    function = staticmethod(F.hinge_loss)

    def __init__(self, margin: float = 1.0, squared: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin, self.squared = margin, squared


class PerceptronLoss(Loss):
    """How far a score stands on the wrong side; see `perceptron_loss`."""

    function = staticmethod(F.perceptron_loss)


class MultiHingeLoss(Loss):
    """The hinge loss of several classes: "crammer_singer" or "one_vs_rest"."""

    function = staticmethod(F.multi_hinge_loss)

    def __init__(
        self,
        margin: float = 1.0,
        squared: bool = False,
        multi_class: str = "crammer_singer",
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin, self.squared, self.multi_class = margin, squared, multi_class


class MultiMarginLoss(Loss):
    """What the label's score lacks of the margin to each other class, summed."""

    function = staticmethod(F.multi_margin_loss)

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.p, self.margin, self.weight = p, margin, _state(weight)


class SoftMarginLoss(Loss):
    """log(1 + e^(-y x)) for labels -1 and +1."""

    function = staticmethod(F.soft_margin_loss)


class HingeEmbeddingLoss(Loss):
    """A distance x for label 1, max(0, margin - x) for label -1."""

    function = staticmethod(F.hinge_embedding_loss)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class MarginRankingLoss(HingeEmbeddingLoss):
    """max(0, margin - y (x1 - x2)): label 1 wants the first larger, -1 the second."""

    function = staticmethod(F.margin_ranking_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(margin, reduction)

    def __call__(self, input1: Any, input2: Any, target: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  three inputs
        return type(self).function(input1, input2, target, **self.options())


class CosineEmbeddingLoss(MarginRankingLoss):
    """1 - cos of the angle for label 1, max(0, cos - margin) for label -1."""

    function = staticmethod(F.cosine_embedding_loss)


class TripletMarginLoss(Loss):
    """max(0, margin + distance to the positive - distance to the negative)."""

    function = staticmethod(F.triplet_margin_loss)

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def __call__(self, anchor: Any, positive: Any, negative: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  three inputs
        return type(self).function(anchor, positive, negative, **self.options())
