"""Whether what a text gives an op is of the type that the op's field asks for."""

from __future__ import annotations

from typing import Any, cast

from ..ops.constant import Literal
from ..types import DTYPES

__all__ = ["described", "fits"]

_WORDS = {
    "int": "an integer", "bool": "true or false", "float": "a float such as 1.0", "str": "a text in quotes",
    "None": "none", "Dim": "a dim such as 3 or B", "Shape": "a list of dims such as [B,3]",
    "Pads": "a list of pairs such as [[0,0],[1,1]]", "tuple[int, ...]": "a list of integers such as [1,2]",
    "DType": "an element type such as f32", "Literal": "a literal such as dense<f32[2]: 0.0, 1.0>",
}  # fmt: skip


def described(annotation: str) -> str:
    """What a field of a type takes, in words."""
    return " or ".join(_WORDS.get(part.strip(), part.strip()) for part in annotation.split("|"))


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
        case "tuple[int, ...]" | "tuple[float, ...]" | "tuple[str, ...]":
            kind = annotation[len("tuple[") : -len(", ...]")]
            return all(fits(v, kind) for v in _items(value))
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
