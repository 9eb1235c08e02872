"""Modules, layers, and the same as functions."""

from __future__ import annotations

from ..functional import (
    avg_pool2d,
    batch_norm,
    conv2d,
    cross_entropy,
    dropout,
    exp,
    flatten,
    linear,
    log,
    log_softmax,
    max_pool2d,
    mse_loss,
    relu,
    reshape,
    sigmoid,
    softmax,
    sqrt,
    stack,
    tanh,
    where,
)
from ..tensor import Parameter, Tensor
from .layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from .module import Module
from .recurrent import RNN

__all__ = [
    "RNN", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Linear", "MaxPool2d", "Module",
    "Parameter", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh", "Tensor", "avg_pool2d", "batch_norm", "conv2d",
    "cross_entropy", "dropout", "exp", "flatten", "linear", "log", "log_softmax", "max_pool2d", "mse_loss", "relu",
    "reshape", "sigmoid", "softmax", "sqrt", "stack", "tanh", "where",
]  # fmt: skip
