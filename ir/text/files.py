"""Programs on disk: ``name.nv`` holds the text, ``name.safetensors`` the data, found by content hash.

Equal data is stored once. Both files have the same bytes for the same program. Each is written beside its target
and moved into place; the side file first, so that a text never names data that is not there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError, reason_of
from ..ops.constant import Constant, Literal
from ..program import Program
from ..types import DTYPES, Array
from .elided import Init
from .parser import parse_program
from .printer import data_digest, print_program

__all__ = ["is_stream", "load", "read_side_file", "save", "write_atomically"]

_FROM_SAFETENSORS = {
    "F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "I64": "i64", "I32": "i32", "I16": "i16", "I8": "i8",
    "U64": "u64", "U32": "u32", "U8": "u8", "BOOL": "bool",
}  # fmt: skip


def write_atomically(path: Path, content: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Write a file so that it is either as before or complete. A device or a pipe is written to, never replaced.

    Args:
        content: all of it, or its parts one after the other
        mode:    the file's permissions

    Raises:
        InputError: the folder is missing or cannot be written
    """
    if is_stream(path):
        try:
            with path.open("wb") as stream:
                stream.writelines([content] if isinstance(content, bytes) else content)
        except OSError as error:
            raise InputError(f"cannot write {path}: {reason_of(error, path)}", code="NV0304") from error
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason_of(error, path)}", code="NV0304") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {reason_of(error, path)}", code="NV0304") from error


def is_stream(path: Path) -> bool:
    """Whether a path is something other than a place for a file: a device, a pipe, or what /dev and /proc show of one."""
    place = path.absolute().parts
    return (path.exists() and not path.is_file() and not path.is_dir()) or place[1:2] in (("dev",), ("proc",))


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program as text and, beside it, its data.

    Raises:
        InputError: a file cannot be written; the old files are still there
    """
    target = Path(path)
    text = print_program(program, digits=None)
    arrays: dict[str, Array] = {}
    for entry in program.store.values():
        if entry.has_data:
            arrays[data_digest(entry.data)] = entry.data
    for graph in program.graphs.values():
        for node in graph.walk():
            if isinstance(node.op, Constant) and not node.op.value.is_inline:
                arrays[node.op.value.digest] = node.op.value.array
    side = target.with_suffix(".safetensors")
    if arrays:
        write_atomically(side, side_file_bytes({digest: arrays[digest] for digest in sorted(arrays)}))
    write_atomically(target, text.encode())


def side_file_bytes(arrays: dict[str, Array]) -> bytes:
    """A safetensors file whose tensors are named by their content hashes.

    The library writes an array that is not C-contiguous wrongly, so each is made contiguous and read back.
    """
    from safetensors.numpy import save as serialize

    dense = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    content = serialize(dense)
    for name, array in _tensors(content).items():
        assert array.tobytes() == dense[name].tobytes(), name
    return content


def read_side_file(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file.

    Raises:
        InputError: the file is damaged
    """
    from safetensors import SafetensorError

    try:
        return _tensors(path.read_bytes())
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{path}: damaged file: {error}", code="NV0303") from error


def _tensors(content: bytes) -> dict[str, Array]:
    import safetensors

    deserialize = cast(Any, safetensors.deserialize)  # pyright: ignore[reportUnknownMemberType]  # no types
    found: dict[str, Array] = {}
    for name, tensor in deserialize(content):
        dtype = DTYPES.get(_FROM_SAFETENSORS.get(str(tensor["dtype"]), ""))
        if dtype is None:
            raise ValueError(f"tensor {name} has element type {tensor['dtype']}, which nervure has not")
        found[name] = np.frombuffer(bytes(tensor["data"]), dtype=dtype.numpy).reshape(tuple(tensor["shape"]))
    return found


def load(path: str | os.PathLike[str], *, init: Init | None = None) -> Program:
    """Read a program saved by `save`; without its side file, entries are left empty.

    Args:
        init: "zeros" or "random" content for data that is not there

    Raises:
        InputError: no such file, or data that does not have the hash that the text names
        ParseError: broken text
    """
    source = Path(path)
    try:
        text = source.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error, source) if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot read {source}: {reason}", code="NV0304") from error
    side = source.with_suffix(".safetensors")
    arrays = read_side_file(side) if side.exists() else {}
    checked: dict[str, Array] = {}

    def find(digest: str) -> Array | None:
        if digest not in checked:
            if digest not in arrays:
                if not arrays:
                    return None
                raise InputError(
                    f"{side} has no data for #{digest[:12]}",
                    hint="it was altered or belongs to another program",
                    code="NV0303",
                )
            if Literal(arrays[digest]).digest != digest:
                raise InputError(f"{side}: data of #{digest[:12]} was altered", code="NV0303")
            checked[digest] = arrays[digest]
        return checked[digest]

    return parse_program(text, find, init=init, file=str(source))
