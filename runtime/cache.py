"""The object cache on disk: private to its user, keyed by everything that can change the bytes, never trusted blindly.

A folder of mode 0700 that the user owns and that is no symbolic link; each entry is a file of a checksum and the bytes, written
beside its place and renamed. What does not check out is a miss; a cache that cannot be used is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

__all__ = ["cache_folder", "cache_key", "clear", "entries", "load", "save"]

_MAGIC = b"nervure object 1\n"
_LIMIT = 1 << 30
_ENTRY = re.compile(r"[0-9a-f]{64}|\.new-.*")


def cache_folder() -> Path | None:
    """NERVURE_CACHE, or the XDG cache's nervure; None where NERVURE_CACHE is empty or `off`."""
    chosen = os.environ.get("NERVURE_CACHE")
    if chosen is not None:
        return None if chosen in ("", "off", "0") else Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "nervure"


def cache_key(*parts: str | bytes) -> str:
    """A name for an entry: the hash of all parts, with their lengths."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _private(folder: Path) -> bool:
    """Whether the folder is ours alone; it is made where it is missing."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        info = os.lstat(folder)
    except OSError:
        return False
    ours = not hasattr(os, "getuid") or (
        info.st_uid == os.getuid() and not stat.S_IMODE(info.st_mode) & 0o077
    )
    return stat.S_ISDIR(info.st_mode) and ours


def load(key: str, folder: Path | None = None) -> bytes | None:
    """The bytes saved under a key; None where there are none or they are damaged."""
    folder = cache_folder() if folder is None else folder
    if folder is None or not _private(folder):
        return None
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(folder / key, flags)
        with os.fdopen(descriptor, "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > _LIMIT:
                return None
            data = file.read()
    except OSError:
        return None
    start = len(_MAGIC) + 32
    body = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != _checksum(key, body):
        return None
    return body


def save(key: str, data: bytes, folder: Path | None = None) -> bool:
    """Save bytes under a key; whether that worked."""
    folder = cache_folder() if folder is None else folder
    if folder is None or not _private(folder):
        return False
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + _checksum(key, data) + data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / key)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
    return True


def entries(folder: Path | None = None) -> list[tuple[str, int]]:
    """The names and bytes of all entries, sorted; none where there is no cache."""
    folder = cache_folder() if folder is None else folder
    if folder is None or not folder.exists() or not _private(folder):
        return []
    found = [(path.name, path.lstat().st_size) for path in folder.iterdir() if _is_entry(path)]
    return sorted(found)


def clear(folder: Path | None = None) -> int:
    """Remove every entry, and nothing else that lies there; how many there were."""
    folder = cache_folder() if folder is None else folder
    removed = 0
    for name, _ in entries(folder):
        with contextlib.suppress(OSError):
            assert folder is not None
            (folder / name).unlink()
            removed += 1
    return removed


def _is_entry(path: Path) -> bool:
    return bool(_ENTRY.fullmatch(path.name)) and stat.S_ISREG(path.lstat().st_mode)


def _checksum(key: str, data: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + b"\n" + data, digest_size=32).digest()
