"""What Python may ask of a value that only the compiled program knows; each answer names the line and the way out."""

from __future__ import annotations

from typing import Any, NoReturn

from ..ir.errors import TraceError
from ..ir.types import Array
from .tracing import user_lines

__all__ = ["Refusals", "refusal"]


def refusal(message: str, hint: str) -> TraceError:
    """The error for something that no graph can hold."""
    return TraceError(message, where=user_lines(), hint=hint, code="NV0202")


class Refusals:
    """Conversions to Python's own values, none of which a traced tensor has."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise refusal(
            "a tensor's truth value is known when the program runs",
            "choose elements with np.where, loop with nv.scan",
        )

    def __int__(self) -> NoReturn:
        raise refusal(
            "a tensor's value is known when the program runs, not as an int now", "keep it as a tensor"
        )

    def __float__(self) -> NoReturn:
        raise refusal(
            "a tensor's value is known when the program runs, not as a float now", "keep it as a tensor"
        )

    def __index__(self) -> NoReturn:
        raise refusal(
            "a tensor's value is known when the program runs, not as an index now", "pick with x[indices]"
        )

    def __contains__(self, item: Any) -> NoReturn:
        raise refusal("what a tensor contains is known when the program runs", "use (x == item).any()")

    def __setitem__(self, key: Any, item: Any) -> NoReturn:
        raise refusal("a tensor cannot be written to", "make a new one with np.where or np.concatenate")

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise refusal(
            "a tensor is no numpy array before the program runs", "numpy's functions take tensors as they are"
        )
