"""How a layer's type error speaks: the name that the user called, its operands and options on one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ..ir.errors import TypeInferenceError
from .tensor import Operand
from .tracing import user_lines

__all__ = ["called", "wrong"]


@contextmanager
def called(name: str, **arguments: Any) -> Generator[None]:
    """Errors of the ops made inside name this function and its arguments instead."""
    try:
        yield
    except TypeInferenceError as error:
        _, _, found = error.message.partition(": ")
        error.message = f"{name}: {found or error.message}"
        error.details = (_line(arguments),)
        raise


def wrong(name: str, message: str, *, hint: str | None = None, **arguments: Any) -> TypeInferenceError:
    """A type error that the function itself finds."""
    details = [_line(arguments)] if arguments else []
    return TypeInferenceError(f"{name}: {message}", details=details, where=user_lines(), hint=hint)


def _line(arguments: dict[str, Any]) -> str:
    parts = [
        f"{name}: {value.type}" if isinstance(value, Operand) else f"{name}={value}"
        for name, value in arguments.items()
        if value is not None
    ]
    return "   ".join(parts)
