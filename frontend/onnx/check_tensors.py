"""Whether the tensors and types that a model states can be: element types, dims, and data that has their size."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from ...ir.errors import InputError
from .external import read_external

__all__ = ["MAX_BYTES", "MAX_RANK", "check_sparse", "check_tensor", "check_type"]

MAX_RANK = 32
"""Axes of a tensor; numpy stops at 64, and no model comes near either."""

MAX_BYTES = 1 << 46
"""Bytes of one tensor, 64 TiB: offsets and products of dims beyond it need not be thought about."""

_EXTERNAL = 1
_UNDEFINED, _STRING = 0, 8
_DATA_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")

# element type: bits in raw data, the typed field, and elements of it that one tensor element takes
_ELEMENTS: dict[int, tuple[int, str, float]] = {
    1: (32, "float_data", 1),
    2: (8, "int32_data", 1),
    3: (8, "int32_data", 1),
    4: (16, "int32_data", 1),
    5: (16, "int32_data", 1),
    6: (32, "int32_data", 1),
    7: (64, "int64_data", 1),
    9: (8, "int32_data", 1),
    10: (16, "int32_data", 1),
    11: (64, "double_data", 1),
    12: (32, "uint64_data", 1),
    13: (64, "uint64_data", 1),
    14: (64, "float_data", 2),
    15: (128, "double_data", 2),
    16: (16, "int32_data", 1),
    **dict.fromkeys((17, 18, 19, 20, 24), (8, "int32_data", 1.0)),
    **dict.fromkeys((21, 22, 23), (4, "int32_data", 0.5)),
    **dict.fromkeys((25, 26), (2, "int32_data", 0.25)),
    **dict.fromkeys((27, 28), (6, "int32_data", 0.75)),
}
"""ONNX, onnx.proto: TensorProto."""


def check_tensor(tensor: Any, who: str, folder: Path | None) -> None:
    """Refuse a TensorProto that is not what its dims and element type say; read its data if that is outside the file.

    Args:
        who:    the tensor and the node it belongs to, for messages
        folder: where external data may lie; None for nowhere

    Raises:
        InputError: an unknown element type, impossible dims, data of another size, external data as in `read_external`
    """
    kind, dims = tensor.data_type, list(tensor.dims)
    if kind == _STRING:
        count = _count(dims, 64, who)
        if len(tensor.string_data) != count:
            raise InputError(f"{who}: {len(tensor.string_data)} strings, its dims {dims} demand {count}")
        return
    if kind not in _ELEMENTS:
        raise InputError(f"{who}: element type {kind}, which ONNX does not have")
    bits, field, each = _ELEMENTS[kind]
    count = _count(dims, bits, who)
    size = (count * bits + 7) // 8
    if tensor.HasField("segment"):
        raise InputError(f"{who}: a segment of a tensor; the whole tensor is needed")
    given = [f for f in _DATA_FIELDS if len(getattr(tensor, f))]
    if tensor.data_location == _EXTERNAL:
        if given or tensor.raw_data:
            raise InputError(f"{who}: data both inside and outside the file")
        tensor.raw_data = read_external(tensor, folder, size, who)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    elif tensor.HasField("raw_data"):
        if given:
            raise InputError(f"{who}: data twice, as raw_data and {given[0]}")
        if len(tensor.raw_data) != size:
            raise InputError(f"{who}: {len(tensor.raw_data)} bytes of data, its dims {dims} demand {size}")
    else:
        wanted = int(-(-count * each // 1))
        if given not in ([], [field]):
            other = next(f for f in given if f != field)
            raise InputError(f"{who}: data in {other}, its element type {kind} has it in {field}")
        if (found := len(getattr(tensor, field))) != wanted:
            raise InputError(f"{who}: {found} elements in {field}, its dims {dims} demand {wanted}")


def check_sparse(tensor: Any, who: str, folder: Path | None) -> None:
    """Refuse a SparseTensorProto whose parts are no tensors, or whose dims are impossible.

    Raises:
        InputError: as `check_tensor`; indices that do not fit the values
    """
    check_tensor(tensor.values, f"{who}, values", folder)
    check_tensor(tensor.indices, f"{who}, indices", folder)
    dims, values, indices = list(tensor.dims), list(tensor.values.dims), list(tensor.indices.dims)
    _count(dims, 64, who)
    if len(values) != 1 or indices not in ([values[0]], [values[0], len(dims)]):
        raise InputError(f"{who}: indices of dims {indices} for values of dims {values} and rank {len(dims)}")


def check_type(type_: Any, who: str) -> None:
    """Refuse a TypeProto whose element type or dims are impossible. A type without a shape is fine.

    Raises:
        InputError: it says which
    """
    while type_.WhichOneof("value") in ("sequence_type", "optional_type", "map_type"):
        kind = type_.WhichOneof("value")
        inner = getattr(type_, kind)
        type_ = inner.value_type if kind == "map_type" else inner.elem_type
    kind = type_.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return
    stated = getattr(type_, kind)
    if stated.elem_type not in _ELEMENTS and stated.elem_type not in (_UNDEFINED, _STRING):
        raise InputError(f"{who}: element type {stated.elem_type}, which ONNX does not have")
    if stated.HasField("shape"):
        for d in stated.shape.dim:
            if not isinstance(d.dim_param, str):
                raise InputError(f"{who}: the name of an axis is no UTF-8 text: {d.dim_param[:40]!r}")
        given = [d.dim_value for d in stated.shape.dim if d.WhichOneof("value") == "dim_value"]
        dims = [0 if d == -1 else d for d in given]  # -1 is how some write an open size
        if len(stated.shape.dim) > MAX_RANK:
            raise InputError(f"{who}: {len(stated.shape.dim)} axes, at most {MAX_RANK} are read")
        _count(dims, 64, who)


def _count(dims: Iterable[int], bits: int, who: str) -> int:
    """How many elements there are, refused where dims are negative or their product beyond all memory."""
    sizes = list(dims)
    if len(sizes) > MAX_RANK:
        raise InputError(f"{who}: {len(sizes)} axes, at most {MAX_RANK} are read")
    if any(d < 0 for d in sizes):
        raise InputError(f"{who}: dims {sizes}, expected none below 0")
    # an axis of 0 hides the others from the product and not from what indexes them
    if prod(max(d, 1) for d in sizes) * bits > MAX_BYTES * 8:
        raise InputError(f"{who}: dims {sizes} are more than {MAX_BYTES:,} bytes")
    return prod(sizes)
