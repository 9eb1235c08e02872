"""Data as a model takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import product
from ..ir.errors import InputError
from ..ir.types import Array, TensorType

__all__ = ["as_features", "as_targets"]


def as_features(x: Array, want: TensorType) -> Array:
    """Samples of the model's element type and shape.

    Pixels of u8 become floats from 0 to 1; samples of as many elements get the model's shape, so that 28 x 28 images
    serve a model of 784 numbers.

    Args:
        want: the model's input, whose first axis is the batch

    Raises:
        InputError: a sample has another number of elements, or the element type does not convert
    """
    shape = want.shape[1:]
    if not all(isinstance(d, int) for d in shape):
        sample = x.shape[1:]
        if len(sample) != len(shape):
            raise InputError(f"data: samples have rank {len(sample)}, the model takes {want}")
    elif int(np.prod(x.shape[1:], dtype=np.int64)) != product(shape):
        raise InputError(
            f"data: samples are {list(x.shape[1:])}, the model takes {want}",
            hint=f"a sample needs {product(shape)} numbers",
        )
    else:
        x = x.reshape(len(x), *(int(d) for d in shape if isinstance(d, int)))
    if x.dtype == want.dtype.numpy:
        return x
    if want.dtype.is_float and x.dtype == np.uint8:
        return (x / 255.0).astype(want.dtype.numpy)
    if want.dtype.is_float and x.dtype.kind in "fiub":
        return x.astype(want.dtype.numpy)
    raise InputError(f"data: elements are {x.dtype}, the model takes {want.dtype}")


def as_targets(y: Any, like: TensorType) -> Array:
    """Labels as i64, numbers in the model's float type.

    Raises:
        InputError: neither integers nor floats
    """
    found = np.asarray(y)
    if found.dtype.kind in "iub":
        return found.astype(np.int64)
    if found.dtype.kind == "f":
        return found.astype(like.dtype.numpy)
    raise InputError(f"data: targets are {found.dtype}, expected integers or floats")
