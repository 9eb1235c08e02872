"""What LLVM says of this machine, kept in the cache, so that a process that finds its objects there never loads that library."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ...runtime import cache as disk

__all__ = ["Facts", "facts", "library"]

Facts = tuple[str, str, dict[str, bool]]
"""The triple of a process, the CPU's name, and its features."""

_CPU = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU implementer", "CPU architecture",
        "CPU variant", "CPU part", "isa", "uarch")  # fmt: skip


@cache
def library() -> str:
    """llvmlite's version and the bytes of its library: what the names of cached things say of LLVM."""
    llvmlite: Any = import_module("llvmlite")
    files = sorted((Path(llvmlite.__file__).parent / "binding").glob("*llvmlite*"))
    return f"llvmlite {llvmlite.__version__} of {sum(f.stat().st_size for f in files)} bytes"


def facts(ask: Callable[[], Facts]) -> Facts:
    """What `ask` answers: from the cache, where it was asked before on such a CPU."""
    machine = _machine()
    if machine is None:
        return ask()
    key = disk.cache_key("host", library(), machine)
    known = _read(disk.load(key))
    if known is None:
        known = ask()
        disk.save(key, json.dumps(known).encode())
    return known


def _machine() -> str | None:
    """What the system says of the first CPU, without what changes from moment to moment."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    found = [f"{name.strip()}:{value.strip()}" for name, _, value in lines if name.strip() in _CPU]
    return "\n".join(found) or None


def _read(data: bytes | None) -> Facts | None:
    try:
        triple, cpu, features = json.loads(data or b"")
        names = {str(name): bool(on) for name, on in features.items()}
    except (ValueError, TypeError, AttributeError):
        return None
    return str(triple), str(cpu), names
