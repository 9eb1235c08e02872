"""What a user is told when something is wrong: the op, what was found and expected, the line, one hint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "BackendError",
    "CompareError",
    "InputError",
    "NervureError",
    "ParseError",
    "TraceError",
    "TypeInferenceError",
    "UnsupportedError",
    "VerifyError",
    "reason_of",
]


def reason_of(error: OSError, path: Path | None = None) -> str:
    """What the operating system says, in the words of a message.

    Args:
        path: that was to be read or written: the folder that is missing, or is none, is named
    """
    if path is not None and isinstance(error, (FileNotFoundError, NotADirectoryError)):
        for folder in reversed(path.parents):
            if not folder.exists():
                return f"there is no folder {folder}"
            if not folder.is_dir():
                return f"{folder} is a file, expected a folder"
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


class NervureError(Exception):
    """The base of every error that nervure raises on purpose.

    Args:
        message: lower case, no full stop; names the op, what was found and what was expected
        details: lines set below the message: operand types, the formula with its numbers
        where:   user lines, such as ``examples/cnn.py:41, in __call__``
        hint:    at most one way out
        code:    of a closer kind than the class has; see `ir.codes`

    Attributes:
        code:   of its kind; see `ir.codes`
        others: further errors that were found in the same reading
    """

    code: str = "NV0001"

    def __init__(
        self,
        message: str,
        *,
        details: Iterable[str] = (),
        where: Iterable[str] = (),
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.where = tuple(where)
        self.hint = hint
        if code is not None:
            self.code = code
        self.others: tuple[NervureError, ...] = ()

    def __str__(self) -> str:
        return "\n".join(error.alone() for error in (self, *self.others))

    def alone(self) -> str:
        """The text of this error without the others."""
        lines = [self.message]
        lines += [f"  {line}" for line in self.details]
        lines += [f"  at {line}" for line in self.where]
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (
            _rebuild_error,
            (type(self), self.message, self.details, self.where, self.hint),
            self.__dict__,
        )


def _rebuild_error(
    kind: type[NervureError], message: str, details: tuple[str, ...], where: tuple[str, ...], hint: str | None
) -> NervureError:
    return kind(message, details=details, where=where, hint=hint)


class TypeInferenceError(NervureError):
    """An op was applied to operands whose types do not fit it."""

    code = "NV0101"


class TraceError(NervureError):
    """A Python function does something to a traced value that no graph can hold."""

    code = "NV0201"


class ParseError(NervureError):
    """A text is no nervure program; the message begins with line and column.

    Attributes:
        line, column: of the text, from 1; 0 where the error has no place
    """

    code = "NV0301"
    line = 0
    column = 0


class VerifyError(NervureError):
    """A graph breaks a rule of the IR; after a pass this is nervure's own bug."""

    code = "NV0401"


class InputError(NervureError):
    """An executable, a loader or a command was given data that does not fit."""

    code = "NV0601"


class UnsupportedError(NervureError):
    """A backend has no way to run an op; the message says which and why."""

    code = "NV0501"


class BackendError(NervureError):
    """A backend that the user named cannot run here; nothing else was tried."""

    code = "NV0502"


class CompareError(NervureError):
    """Two results that should agree do not."""

    code = "NV0602"
