"""Content in place of data that a dump left out: the same for the same dump, so that two people see the same run."""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import numpy as np

from ..errors import InputError
from ..types import Array, TensorType

__all__ = ["INITS", "Init", "content_for"]

Init = Literal["zeros", "random"]
INITS: tuple[Init, ...] = ("zeros", "random")

LIMIT = 2**32
"""Bytes of one tensor."""


def content_for(label: str, type: TensorType, how: Init) -> Array:
    """An array of the type.

    Floats are normal, of a size that keeps activations in range (1 / sqrt of the elements of a row); variances are
    about 1; integers and truth values are 0, and u32 keys are random bits.

    Args:
        label: what seeds the content: the name of an entry, the hash of a constant

    Raises:
        InputError: the tensor is larger than LIMIT
    """
    shape, dtype = type.static_shape(), type.dtype.numpy
    size = math.prod(shape) * type.dtype.bytes
    if size > LIMIT:
        raise InputError(f"{label}: {type} takes {size} bytes, more than are made up for a dump")
    if how == "zeros":
        return np.zeros(shape, dtype)
    rng = np.random.default_rng(list(hashlib.blake2b(f"{label} {type}".encode(), digest_size=16).digest()))
    if label.endswith("var"):
        return rng.uniform(0.5, 1.5, shape).astype(dtype)
    if type.dtype.is_float:
        row = int(np.prod(shape[1:], dtype=np.int64)) if len(shape) > 1 else 100
        return (rng.standard_normal(shape) / np.sqrt(max(row, 1))).astype(dtype)
    if type.dtype.name == "u32":
        return rng.integers(0, 2**32, shape, dtype=np.uint32)
    return np.zeros(shape, dtype)
