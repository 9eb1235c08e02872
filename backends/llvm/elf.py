"""Loads relocatable x86-64 ELF objects without LLVM: a process that finds everything in the cache never touches that library.

Sections are laid out in one stretch of memory, code before data, each kind on pages of its own; relocations are applied, and pages of code become
executable and no longer writable. Functions of other libraries are reached through stubs, as they may lie too far for a call. What is not
known here (another machine, kind of section, relocation) makes `load_elf` give None, and LLVM loads the object.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["LoadedElf", "MissingSymbol", "load_elf"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _UNWIND = 1, 2, 4, 8, 0x70000001
_WRITE, _ALLOC, _EXEC, _TLS = 1, 2, 4, 1 << 10
_ABSOLUTE, _RESERVED = 0xFFF1, 0xFF00
_R64, _PC32, _PLT32, _GOT, _PC64, _GOTX, _REX_GOTX = 1, 2, 4, 9, 24, 41, 42
_FAILED = ctypes.c_void_p(-1).value
_PAGE = mmap.PAGESIZE
_STUB = b"\xff\x25\x00\x00\x00\x00"
"""A jump to the address in the eight bytes behind it."""


class MissingSymbol(Exception):
    """An object needs or lacks a symbol."""


class _Unknown(Exception):
    """Something in the object is not known here."""


@dataclass(slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    place: int = -1


class LoadedElf:
    """Machine code in memory; `address` finds its functions until `close`."""

    def __init__(self, base: int, size: int, symbols: Mapping[str, int]) -> None:
        self._base, self._size, self._symbols = base, size, symbols

    def address(self, symbol: str) -> int:
        """Where a function of the object is."""
        return self._symbols[symbol]

    def close(self) -> None:
        """Give the memory back; the code must not run any more."""
        base, self._base = self._base, 0
        if base:
            _libc().munmap(base, self._size)

    def keep(self) -> LoadedElf:
        """Never give the memory back: other threads, or objects that outlive this one, run the code."""
        self._base = 0
        return self

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


@cache
def _libc() -> Any:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def load_elf(data: bytes, symbols: tuple[str, ...], imports: Mapping[str, int]) -> LoadedElf | None:
    """Link an object into this process; None where it is not of a form that is known here.

    Args:
        symbols: the functions that `address` finds
        imports: addresses of functions that the process does not export

    Raises:
        MissingSymbol: one of them is not in the object, or one that it needs is nowhere
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        return _Link(data, imports).run(symbols)
    except (_Unknown, struct.error, IndexError, ValueError):
        return None


class _Link:
    def __init__(self, data: bytes, imports: Mapping[str, int]) -> None:
        self.data: bytes = data
        self.imports: Mapping[str, int] = imports
        header: tuple[Any, ...] = _HEADER.unpack_from(data)
        ident, kind, machine, start, size, count, names = (header[n] for n in (0, 1, 2, 6, 11, 12, 13))
        if ident[:6] != b"\x7fELF\x02\x01" or (kind, machine, size) != (1, 62, _SECTION.size):
            raise _Unknown
        raw: list[tuple[int, ...]] = [_SECTION.unpack_from(data, start + n * size) for n in range(count)]
        text = raw[int(names)][4]
        self.sections: list[_Section] = [
            _Section(self.string(text + name), kind, flags, offset, size, link, info, max(align, 1))
            for name, kind, flags, _, offset, size, link, info, align, _ in raw
        ]
        self.slots: dict[str, int] = {}
        self.symbols: list[tuple[str, int, int]] = []
        self.memory = bytearray()

    def string(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def run(self, wanted: tuple[str, ...]) -> LoadedElf:
        """Place, link and protect."""
        table = next((s for s in self.sections if s.kind == _SYMTAB), None)
        if table is None:
            raise _Unknown
        names = self.sections[table.link].offset
        entries: list[tuple[int, ...]] = [
            _SYMBOL.unpack_from(self.data, table.offset + n * _SYMBOL.size)
            for n in range(table.size // _SYMBOL.size)
        ]
        self.symbols = [(self.string(names + n), section, value) for n, _, _, section, value, _ in entries]
        outside = {name: None for name, section, _ in self.symbols if name and section == 0}
        code, size = self.place(list(outside))
        found = {
            name: self.sections[section].place + value
            for name, section, value in self.symbols
            if name in wanted and 0 < section < _RESERVED
        }
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise MissingSymbol(f"it has no {', '.join(missing)}")
        targets = {name: self.outside(name) for name in outside}
        libc = _libc()
        base = libc.mmap(
            None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
        )
        if base in (None, _FAILED):
            raise _Unknown
        loaded = LoadedElf(base, size, {name: base + at for name, at in found.items()})
        self.memory = bytearray(size)
        for name, at in self.slots.items():
            self.memory[at : at + 14] = _STUB + struct.pack("<Q", targets[name])
        for s in self.sections:
            if s.place >= 0 and s.kind != _NOBITS:
                self.memory[s.place : s.place + s.size] = self.data[s.offset : s.offset + s.size]
        for s in self.sections:
            if s.kind == _RELA and self.sections[s.info].place >= 0:
                self.relocate(s, base, targets)
        ctypes.memmove(base, bytes(self.memory), size)
        if code and libc.mprotect(base, code, mmap.PROT_READ | mmap.PROT_EXEC):
            raise _Unknown
        return loaded

    def place(self, outside: list[str]) -> tuple[int, int]:
        """Choose where each section lies; the bytes of code, stubs included, and of all."""
        held = [
            s for s in self.sections if s.flags & _ALLOC and s.size and not s.name.startswith(".eh_frame")
        ]
        if any(s.kind not in (_PROGBITS, _NOBITS) or s.flags & _TLS or s.align > _PAGE for s in held):
            raise _Unknown
        self.slots = {name: 16 * n for n, name in enumerate(outside)}
        at, code = 16 * len(outside), 0
        for executable in (True, False):
            for s in held:
                if bool(s.flags & _EXEC) == executable:
                    s.place = at = -(-at // s.align) * s.align
                    at += s.size
            at = -(-at // _PAGE) * _PAGE
            code = at if executable else code
        return code, at

    def outside(self, name: str) -> int:
        """The address of a symbol that the object does not define."""
        if name in self.imports:
            return self.imports[name]
        try:
            found = ctypes.cast(_libc()[name], ctypes.c_void_p).value
        except AttributeError:
            found = None
        if not found:
            raise MissingSymbol(f"symbols not found: {name}")
        return found

    def relocate(self, s: _Section, base: int, targets: Mapping[str, int]) -> None:
        """Apply the relocations of one section."""
        start = self.sections[s.info].place
        for offset, info, addend in _RELOCATION.iter_unpack(self.data[s.offset : s.offset + s.size]):
            kind, at = info & 0xFFFFFFFF, start + offset
            name, section, value = self.symbols[int(info) >> 32]
            stub = base + self.slots[name] if section == 0 and name else 0
            if section == 0:
                target = targets.get(name, 0)
            elif section == _ABSOLUTE:
                target = value
            elif section < _RESERVED and self.sections[section].place >= 0:
                target = base + self.sections[section].place + value
            else:
                raise _Unknown
            if kind == _R64:
                struct.pack_into("<Q", self.memory, at, (target + addend) % 2**64)
                continue
            if kind == _PC64:
                struct.pack_into("<q", self.memory, at, target + addend - base - at)
                continue
            if kind in (_GOT, _GOTX, _REX_GOTX) and stub:
                target = stub + len(_STUB)  # the address behind the jump
            elif kind == _PLT32 and stub:
                target = stub
            elif kind not in (_PC32, _PLT32) or stub:
                raise _Unknown
            struct.pack_into("<i", self.memory, at, target + addend - base - at)
