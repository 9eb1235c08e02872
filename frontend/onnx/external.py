"""Data of initialisers outside the file: only regular files of one name, inside the model's own folder."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ...ir.errors import InputError

__all__ = ["read_external", "read_regular"]


def read_regular(path: Path, label: str, limit: int) -> bytes:
    """The content of a file that the user named; a link is followed, a pipe or a device is refused.

    Raises:
        InputError: it cannot be read, is no regular file, or has more than `limit` bytes
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"cannot read {label}: {reason[0].lower()}{reason[1:]}") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise InputError(f"cannot read {label}: it is no regular file")
    with os.fdopen(fd, "rb") as file:
        if found.st_size > limit:
            raise InputError(
                f"{label} has {found.st_size} bytes, and no protobuf file has more than {limit}",
                hint="save its weights as external data",
            )
        return file.read(limit + 1)


def read_external(tensor: Any, folder: Path | None, size: int, who: str) -> bytes:
    """The bytes of a tensor with external data.

    Args:
        tensor: a TensorProto whose data_location is EXTERNAL
        folder: the model's; None where the model came as bytes
        size:   bytes that its dims and element type demand
        who:    the tensor, for messages

    Raises:
        InputError: no folder is known; the location leaves the folder; the file is no regular file with one name, or
            lacks the bytes. Nothing is allocated before the sizes are checked.
    """
    stated: dict[str, Any] = {str(e.key): e.value for e in tensor.external_data}
    location = stated.get("location", "")
    if not isinstance(location, str) or not location:
        raise InputError(f"{who}: external data without a location")
    if folder is None:
        raise InputError(
            f"{who}: its data is in another file, {location!r}, and a model given as bytes has no folder",
            hint="give the path of the model, or folder=",
        )
    offset = _number(stated, "offset", who) or 0
    length = _number(stated, "length", who)
    if length is not None and length != size:
        raise InputError(f"{who}: external data of {length} bytes, its dims and element type demand {size}")
    fd = _open_inside(folder, location, who)
    with os.fdopen(fd, "rb") as file:
        there = os.fstat(fd).st_size
        if offset + size > there:
            raise InputError(
                f"{who}: external data at {offset} of {size} bytes, and {location!r} has {there}"
            )
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise InputError(f"{who}: {location!r} became shorter while it was read")
    return data


def _number(stated: dict[str, Any], key: str, who: str) -> int | None:
    if key not in stated:
        return None
    text = stated[key]
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 19):
        raise InputError(f"{who}: external data with the {key} {text!r}, expected a number of bytes")
    return int(text)


def _open_inside(folder: Path, location: str, who: str) -> int:
    """Open a file below a folder, one name after another, none of them a link."""
    parts = [p for p in location.split("/") if p != "."]
    if (
        "\\" in location
        or "\0" in location
        or location.startswith("/")
        or PurePosixPath(location).is_absolute()
    ):
        raise InputError(
            f"{who}: external data at {location!r}, expected a relative path with / and no drive"
        )
    if ".." in parts or "" in parts or not parts:
        raise InputError(f"{who}: external data at {location!r}, which leaves the model's folder")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    opened: list[int] = []
    try:
        opened.append(os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY))
        for name in parts[:-1]:
            opened.append(os.open(name, flags | os.O_DIRECTORY, dir_fd=opened[-1]))
        fd = os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=opened[-1])
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if _is_link(folder, parts):
            reason = "it goes through a symbolic link"
        raise InputError(
            f"{who}: cannot read external data {location!r}: {reason[0].lower()}{reason[1:]}"
        ) from error
    finally:
        for folder_fd in opened:
            with suppress(OSError):
                os.close(folder_fd)
    found = os.fstat(fd)
    wrong = (
        "it is no regular file"
        if not stat.S_ISREG(found.st_mode)
        else f"it has {found.st_nlink} names (hard links), expected one"
        if found.st_nlink != 1
        else None
    )
    if wrong is not None:
        os.close(fd)
        raise InputError(f"{who}: cannot read external data {location!r}: {wrong}")
    return fd


def _is_link(folder: Path, parts: list[str]) -> bool:
    return any(os.path.islink(folder.joinpath(*parts[: k + 1])) for k in range(len(parts)))
