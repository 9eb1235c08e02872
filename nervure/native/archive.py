"""A static library: an `ar` archive of one object, with an index of its names; no times, no owners.

Source: System V ar with the index of GNU; MinGW and lld read it for COFF, wasm-ld for wasm; Mach-O wants BSD's form.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["archive"]


def archive(name: str, data: bytes, symbols: Sequence[str], *, bsd: bool = False) -> bytes:
    """The archive.

    Args:
        name:    of the object in it, at most 15 characters
        symbols: that it defines for others
        bsd:     for Mach-O
    """
    assert len(name) < 16
    if bsd:
        return b"!<arch>\n" + _bsd_index(name, data, symbols)
    names = b"".join(s.encode() + b"\0" for s in symbols)
    index = len(symbols).to_bytes(4, "big") + b"\0" * 4 * len(symbols) + names
    offset = 8 + 60 + len(index) + len(index) % 2
    index = len(symbols).to_bytes(4, "big") + offset.to_bytes(4, "big") * len(symbols) + names
    return b"!<arch>\n" + _member("/", index) + _member(f"{name}/", data)


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)


def _bsd_index(name: str, data: bytes, symbols: Sequence[str]) -> bytes:
    """The table of BSD: pairs of place of the name and offset of the member; Mach-O's names begin with _."""
    names = b"".join(f"_{s}".encode() + b"\0" for s in symbols)
    names += b"\0" * (-len(names) % 8)
    size = 4 + 8 * len(symbols) + 4 + len(names)
    offset = 8 + 60 + size
    pairs, at = b"", 0
    for s in symbols:
        pairs += at.to_bytes(4, "little") + offset.to_bytes(4, "little")
        at += len(s) + 2
    table = (8 * len(symbols)).to_bytes(4, "little") + pairs + len(names).to_bytes(4, "little") + names
    return _member("__.SYMDEF SORTED", table) + _member(name, data)
