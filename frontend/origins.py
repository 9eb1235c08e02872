"""Where the user's code stands: the innermost line on the Python stack that is neither nervure's nor a library's."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FrameType

from ..ir.origin import Origin, Origins

__all__ = ["raised_at", "user_lines", "user_origins"]

OWN = ("nervure", "numpy", "contextlib", "functools")
"""Packages whose frames are passed over: what calls them is the user's line."""

USERS = ("nervure.zoo",)
"""Modules of nervure that are written as a user would."""

COMMANDS = "nervure.cli."
"""Behind a command stands no line of the user's; what called it is the shell."""

ROOT_MARKS = ("pyproject.toml", ".git")


def user_origins() -> Origins:
    """The user's line, as an origin; nothing where there is none on the stack."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # inspect.stack is 1000 times slower
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(COMMANDS):
            break
        if _is_users(frame):
            code = frame.f_code
            return (Origin(relative_path(code.co_filename), frame.f_lineno, code.co_name),)
        frame = frame.f_back
    return ()


def _is_users(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] not in OWN or name in USERS


def raised_at(error: BaseException) -> list[str]:
    """The user's line that an error came through last, below the one that catches it; nothing where there is none."""
    found: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        if _is_users(trace.tb_frame):
            code = trace.tb_frame.f_code
            found = [str(Origin(relative_path(code.co_filename), trace.tb_lineno, code.co_name))]
        trace = trace.tb_next
    return found


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
