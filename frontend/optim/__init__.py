"""Optimisers: how gradients become new weights, as graph ops. State and learning rate live in the store."""

from __future__ import annotations

from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .base import Optimizer
from .clipping import Clip, clip_each_norm, clip_norm, clip_value
from .schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    linear,
    piecewise,
    polynomial,
    stepwise,
    warmup,
)
from .sgd import SGD

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "Clip", "Optimizer", "RMSprop", "Schedule", "clip_each_norm", "clip_norm",
    "clip_value", "constant", "cosine", "exponential", "linear", "piecewise", "polynomial", "stepwise", "warmup",
]  # fmt: skip
