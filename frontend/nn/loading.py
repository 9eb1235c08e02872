"""Weights from elsewhere: names written anew, and what fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...ir.errors import InputError

__all__ = ["Loaded", "Prefixes", "renamed"]

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
