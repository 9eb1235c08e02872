"""Rules of casts: a way through an element type that holds every value on it. Exact."""

from __future__ import annotations

from ...ir import build as b
from ...ir.graph import Node, Value
from ...ir.ops.elementwise import Cast
from ...ir.types import DType
from .base import Rule, producer

__all__ = ["RULES"]

MANTISSA = {"f64": 53, "f32": 24, "f16": 11, "bf16": 8}
WIDER_FLOATS = {"f16": ("f32", "f64"), "bf16": ("f32", "f64"), "f32": ("f64",), "f64": ()}


def holds(wide: DType, narrow: DType) -> bool:
    """Whether each value of `narrow` is one of `wide`."""
    if narrow == wide or narrow.kind == "bool":
        return True
    if narrow.is_float:
        return wide.name in WIDER_FLOATS[narrow.name]
    magnitude = narrow.bits if narrow.kind == "uint" else narrow.bits - 1
    if wide.is_float:
        return magnitude <= MANTISSA[wide.name]
    if wide.kind == "bool" or (narrow.kind == "int" and wide.kind == "uint"):
        return False
    return magnitude <= (wide.bits if wide.kind == "uint" else wide.bits - 1)


def cast_chain(node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = producer(operands[0], Cast)
    if inner is None:
        return None
    start, middle, end = inner.operands[0].type.dtype, operands[0].type.dtype, node.results[0].type.dtype
    if not holds(middle, start):
        return None
    saturates = middle.is_float and end.is_integer and not start.is_float
    return b.cast(inner.operands[0], end) if not saturates or holds(end, start) else None


RULES = (
    # cast(cast(x, wide), t) = cast(x, t)                      where wide holds every value of x; a float saturates
    #                                                          where an integer wraps
    Rule("cast-chain", Cast, cast_chain),
)
