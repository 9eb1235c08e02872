"""Element types and attributes of ONNX as nervure's and Python's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ...ir.types import DTYPES, Array, DType
from .report import Refused

__all__ = ["array_of", "attribute_value", "dtype_named", "number_of"]

_NAMES = {
    11: "f64", 1: "f32", 10: "f16", 16: "bf16", 7: "i64", 6: "i32", 5: "i16", 3: "i8", 13: "u64", 12: "u32", 2: "u8",
    9: "bool",
}  # fmt: skip
"""The numbers of onnx.TensorProto.DataType."""


def dtype_named(number: int) -> DType:
    """The element type of that number in TensorProto.DataType.

    Raises:
        Refused: nervure has no such element type
    """
    if number not in _NAMES:
        known = onnx.TensorProto.DataType.items()
        name = next((n for n, v in known if v == number), str(number)).lower()
        raise Refused(f"no element type for {name}", f"nervure has {', '.join(DTYPES)}")
    return DTYPES[_NAMES[number]]


def number_of(dtype: DType) -> int:
    """The number of an element type in TensorProto.DataType."""
    return next(number for number, name in _NAMES.items() if name == dtype.name)


def array_of(tensor: Any) -> Array:
    """The array of a TensorProto.

    Raises:
        Refused: nervure has no such element type
    """
    dtype = dtype_named(tensor.data_type)
    return (
        np.ascontiguousarray(numpy_helper.to_array(tensor))
        .astype(dtype.numpy, copy=False)
        .reshape(tuple(tensor.dims))
    )


def attribute_value(attribute: Any) -> Any:
    """An attribute as a number, a string, a list of them, a TensorProto, or a GraphProto."""
    kind = attribute.type
    if kind == onnx.AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == onnx.AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in attribute.strings]
    found = onnx.helper.get_attribute_value(attribute)
    return list(found) if kind in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else found
