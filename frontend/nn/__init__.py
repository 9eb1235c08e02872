"""Modules, layers, and the same as functions."""

from __future__ import annotations

from .. import functional
from ..functional import (
    avg_pool2d,
    batch_norm,
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    dropout,
    exp,
    flatten,
    gelu,
    l1_loss,
    leaky_relu,
    linear,
    log,
    log_softmax,
    max_pool2d,
    mse_loss,
    nll_loss,
    relu,
    reshape,
    sigmoid,
    silu,
    softmax,
    softplus,
    sqrt,
    stack,
    tanh,
    where,
)
from ..parameter import Buffer, Parameter
from ..tensor import Tensor
from .activations import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .basic import AvgPool2d, Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d
from .containers import ModuleList, Sequential
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d
from .recurrent import RNN

__all__ = [
    "GELU", "RNN", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Buffer", "Conv2d", "Dropout", "Flatten", "Identity",
    "LeakyReLU", "Linear", "LogSoftmax", "MaxPool2d", "Module", "ModuleList", "Parameter", "ReLU", "Sequential",
    "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "Tensor", "avg_pool2d", "batch_norm",
    "binary_cross_entropy_with_logits", "conv2d", "cross_entropy", "dropout", "exp", "flatten", "functional", "gelu", "l1_loss",
    "leaky_relu", "linear", "log", "log_softmax", "max_pool2d", "mse_loss", "nll_loss", "relu", "reshape", "sigmoid",
    "silu", "softmax", "softplus", "sqrt", "stack", "tanh", "where",
]  # fmt: skip
