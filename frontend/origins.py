"""Where the user's code stands: the innermost line on the Python stack that is neither nervure's nor a library's."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from ..ir.origin import Origin, Origins

__all__ = ["user_lines", "user_origins"]

OWN = ("nervure", "numpy", "contextlib", "functools")
"""Packages whose frames are passed over: what calls them is the user's line."""

USERS = ("nervure.zoo",)
"""Modules of nervure that are written as a user would."""

ROOT_MARKS = ("pyproject.toml", ".git")


def user_origins() -> Origins:
    """The user's line, as an origin; nothing where there is none on the stack."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # inspect.stack is 1000 times slower
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in OWN or name in USERS:
            code = frame.f_code
            return (Origin(relative_path(code.co_filename), frame.f_lineno, code.co_name),)
        frame = frame.f_back
    return ()


def user_lines() -> list[str]:
    """The user's line as error messages name it."""
    return [str(origin) for origin in user_origins()]


@cache
def relative_path(file: str) -> str:
    """The path below the project's root, the nearest folder with a `ROOT_MARKS`; else below the script's folder.

    Neither depends on where the project is checked out, so that the same source gives the same text.
    """
    path = Path(file)
    if not path.is_absolute():
        return file
    for folder in path.parents:
        if any((folder / mark).exists() for mark in ROOT_MARKS):
            return path.relative_to(folder).as_posix()
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    home = Path(script).absolute().parent if script else path.parent
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
