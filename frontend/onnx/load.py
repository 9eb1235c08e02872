"""From a path, bytes or a ModelProto to a model that was checked: the only way in, whatever wrote the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...ir.errors import InputError
from .check import check_model
from .external import read_regular
from .wire import walk_wire

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["MAX_FILE", "load_model", "model_label"]

MAX_FILE = (1 << 31) - 1
"""Bytes of one protobuf message; weights beyond it are external data."""


def load_model(
    source: Any,
    *,
    folder: str | os.PathLike[str] | None = None,
) -> ModelProto:
    """A model whose names, types, tensors and recursion were checked, with nodes in order and all data inside.

    What is checked before anything is parsed: that the bytes are whole messages, how many and how deep. Before anything
    is allocated: that dims are possible and the data has their size. External data is read from regular files with one
    name below the model's folder, through no link.

    Args:
        source: a path; a model's bytes; or a ModelProto, which is copied where it has to change
        folder: where external data lies; the file's own if a path is given

    Raises:
        InputError: what cannot be read or is no ONNX model; it names the node, tensor, field or byte
    """
    from onnx import ModelProto

    if isinstance(source, ModelProto):
        model, label = _own(source), "the model"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        model, label = _parse(bytes(cast(bytes, source)), "the model"), "the model"
    elif isinstance(source, (str, os.PathLike)):
        path = Path(cast("str | os.PathLike[str]", source))
        label = model_label(path)
        model = _parse(read_regular(path, str(path), MAX_FILE), label)
        folder = path.parent if folder is None else folder
    else:
        raise InputError(f"an ONNX model is a path, bytes or a ModelProto, found {type(source).__name__}")
    try:
        check_model(model, None if folder is None else Path(folder))
    except InputError as error:
        error.message = f"{label}: {error.message}" if label != "the model" else error.message
        raise
    return model


def model_label(source: Any) -> str:
    """How messages and origins name the model: the file's name, or that of the graph."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(cast("str | os.PathLike[str]", source))
        return path.name or str(path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "model"
    return source.graph.name or "model"


def _parse(data: bytes, label: str) -> Any:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    if not data:
        raise InputError(f"{label}: the file is empty, expected an ONNX model")
    walk_wire(data, label)
    try:
        return ModelProto.FromString(data)
    except (DecodeError, RecursionError) as error:
        raise InputError(f"{label}: damaged ONNX model: {error}") from error


def _own(model: ModelProto) -> ModelProto:
    """A copy: checking sorts nodes and reads external data into the model."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy
