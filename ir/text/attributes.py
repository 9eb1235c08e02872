"""Whether what a text gives an op is of the type that the op's field asks for."""

from __future__ import annotations

from typing import Any, cast

from ..ops.constant import Literal
from ..types import DTYPES

__all__ = ["fits"]


def fits(value: Any, annotation: str) -> bool:
    """Whether an attribute's value is of the field's annotated type."""
    if "|" in annotation:
        return any(fits(value, part.strip()) for part in annotation.split("|"))
    match annotation:
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "float":
            return isinstance(value, float)
        case "str":
            return isinstance(value, str)
        case "None":
            return value is None
        case "Dim":
            return _is_dim(value)
        case "Shape":
            return all(map(_is_dim, _items(value)))
        case "Pads":
            return all(fits(v, "tuple[int, ...]") and len(v) == 2 for v in _items(value))
        case "tuple[int, ...]":
            return all(fits(v, "int") for v in _items(value))
        case "DType":
            return value in DTYPES.values()
        case "Literal":
            return isinstance(value, Literal)
        case _:
            raise AssertionError(f"attribute annotation {annotation}")


def _items(value: Any) -> tuple[Any, ...]:
    """The items of a list of attributes; for anything else one item that fits nothing."""
    return cast(tuple[Any, ...], value) if isinstance(value, tuple) else (None,)


def _is_dim(value: Any) -> bool:
    return (
        not isinstance(value, (bool, float, str, tuple, Literal))
        and value is not None
        and not hasattr(value, "kind")
    )
