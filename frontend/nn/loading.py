"""Weights from elsewhere: names written anew, and what fitted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.errors import InputError
from ...ir.text.files import read_side_file

__all__ = ["Loaded", "Prefixes", "arrays_of", "renamed"]

Prefixes = Mapping[str, "str | None"]
"""What stands for a beginning of names, such as ``{"features": "body", "fc": None}``; None leaves names out. An empty
beginning is that of all names."""


@dataclass(frozen=True)
class Loaded:
    """What `load_state_dict` did not load.

    Args:
        missing:    names of the module that the state has not
        unexpected: names of the state that the module has not, as the state calls them
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything found its place."""
        return not self.missing and not self.unexpected


def renamed(names: Iterable[str], prefixes: Prefixes) -> dict[str, str]:
    """Each name under which the state's entries are loaded, with the state's own name; the longest prefix counts.

    Raises:
        InputError: two names become one
    """
    found: dict[str, str] = {}
    for name in names:
        fitting = [p for p in prefixes if p == "" or name == p or name.startswith(f"{p}.")]
        new = name
        if fitting:
            old = max(fitting, key=len)
            target = prefixes[old]
            if target is None:
                continue
            rest = name[len(old) :].removeprefix(".")
            new = ".".join(part for part in (target, rest) if part)
        if new in found:
            raise InputError(f"load_state_dict: {found[new]} and {name} would both become {new}")
        found[new] = name
    return found


def arrays_of(state: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    """The arrays of a state by name, read from a .safetensors file where a path is given.

    Raises:
        InputError: the state is neither, or the file is missing, damaged, or of another kind
    """
    if isinstance(state, Mapping):
        return state
    if not isinstance(state, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"load_state_dict: got {type(state).__name__}, expected arrays by name or a .safetensors file"
        )
    path = Path(state)
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        raise InputError(
            f"cannot read {path}: it holds Python objects",
            hint="save the state_dict with safetensors.torch.save_file",
        )
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    return read_side_file(path)
