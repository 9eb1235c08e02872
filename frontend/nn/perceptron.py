"""Perceptrons: a linear score and a hard decision."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.errors import NervureError
from ...ir.types import dtype_of, f32
from .. import functional as F
from ..parameter import Parameter
from ..tensor import Tensor
from .module import Module

__all__ = ["Perceptron"]


class Perceptron(Module):
    """Rosenblatt's perceptron: the step of w x + b; for more than two classes the largest of as many scores.

    The decision has no gradient: train the `scores` with `nn.perceptron_loss`, whose subgradient is the learning rule,
    w += (label - decision) x.

    Shapes:  x [..., in_features] -> T[...] of 0 and 1 for two classes, else i64[...], the class;
             weight [1, in_features] and bias [1] for two classes, else [classes, in_features] and [classes]
    Args:    classes: 2 or more; at0: the decision of two classes where the score is 0, 0..1; dtype: of the weights,
             which start as zeros
    Source:  F. Rosenblatt, The perceptron, 1958; PyTorch has no such layer
    """

    def __init__(
        self, in_features: int, classes: int = 2, bias: bool = True, at0: float = 0.0, *, dtype: Any = f32
    ) -> None:
        if classes < 2:
            raise NervureError(f"Perceptron: classes is {classes}, expected a number from 2 on")
        self.in_features, self.classes, self.at0 = in_features, classes, at0
        rows, kind = 1 if classes == 2 else classes, dtype_of(dtype).numpy
        self.weight = Parameter(np.zeros((rows, in_features), kind))
        self.bias = Parameter(np.zeros(rows, kind)) if bias else None

    def scores(self, x: Any) -> Tensor:
        """w x + b: [...] for two classes, else [..., classes]."""
        found = F.linear(x, self.weight, self.bias)
        return found.squeeze(-1) if self.classes == 2 else found

    def __call__(self, x: Any) -> Tensor:
        scores = self.scores(x)
        return F.step(scores, self.at0) if self.classes == 2 else scores.argmax(-1)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, classes={self.classes}, bias={self.bias is not None}"
