"""Arrays as ONNX tensors, inside the model or in a file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ...ir.text.files import write_atomically
from ...ir.types import Array, dtype_of
from .writer import onnx_type

__all__ = ["EXTERNAL_ABOVE", "check_model", "tensor", "write_with_data_file"]

EXTERNAL_ABOVE = 2**30
INSIDE = 1024
"""Tensors of at most so many bytes stay in the model, for shape inference and to keep the other file's table short."""

ALIGNMENT = 4096
"""Of each tensor in the other file: a page, so that a runtime may map it."""


def tensor(name: str, array: Array) -> Any:
    """A TensorProto that holds the array."""
    made = _described(name, array)
    made.raw_data = array.tobytes()
    return made


def check_model(model: Any) -> None:
    """What onnx.checker and shape inference have to say; an error is a bug of ours."""
    import onnx

    check = cast(Any, onnx.checker.check_model)  # pyright: ignore[reportUnknownMemberType]  # its types name a missing module
    check(model, full_check=True)


def write_with_data_file(model: Any, weights: dict[str, Array], path: Path) -> None:
    """Write a model to ``path`` and its larger weights to ``<path>.data``.

    Raises:
        InputError: a file cannot be written
    """
    from onnx import helper

    outside = {name: array for name, array in weights.items() if array.nbytes > INSIDE}
    inside = {name: array for name, array in weights.items() if name not in outside}
    model.graph.initializer.extend(tensor(name, array) for name, array in inside.items())
    trial = type(model)()
    trial.CopyFrom(model)
    for name, array in outside.items():
        kind = onnx_type(dtype_of(array))
        trial.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    check_model(trial)
    side = path.with_name(f"{path.name}.data")
    offset = 0
    for name, array in outside.items():
        made = _described(name, array)
        made.data_location = made.EXTERNAL
        for key, value in (("location", side.name), ("offset", offset), ("length", array.nbytes)):
            entry = made.external_data.add()
            entry.key, entry.value = key, str(value)
        model.graph.initializer.append(made)
        offset = _aligned(offset + array.nbytes)
    write_atomically(side, _parts(outside))
    write_atomically(path, model.SerializeToString(deterministic=True))


def _parts(arrays: dict[str, Array]) -> Iterator[bytes]:
    for array in arrays.values():
        yield array.tobytes()
        yield bytes(_aligned(array.nbytes) - array.nbytes)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _described(name: str, array: Array) -> Any:
    from onnx import TensorProto

    made = TensorProto()
    made.name = name
    made.data_type = onnx_type(dtype_of(array))
    made.dims.extend(array.shape)
    return made
