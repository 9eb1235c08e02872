"""The table of ops: for each ONNX op the function that writes it, from the version on where its meaning is that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...ir.graph import Value
from ..tensor import Tensor
from .known import Known

if TYPE_CHECKING:
    from .node import OnnxNode

__all__ = ["OPS", "Result", "Writes", "find", "op"]

Result = Value | Tensor | Known | None
"""One output of a node; None where it is not written because nobody reads it."""

Writes = Callable[["OnnxNode"], Result | list[Any] | tuple[Any, ...]]
"""Writes a node; returns its output, or one for each."""

OPS: dict[tuple[str, str], list[tuple[int, Writes]]] = {}
"""By domain and name: the first version that a function stands for, and the function; later versions last."""


def op(*names: str, since: int = 1, domain: str = "") -> Callable[[Writes], Writes]:
    """Enter a function for ops under these names."""

    def enter(function: Writes) -> Writes:
        for name in names:
            rows = OPS.setdefault((domain, name), [])
            rows.append((since, function))
            rows.sort(key=lambda row: row[0])
        return function

    return enter


def find(domain: str, name: str, opset: int) -> Writes | None:
    """The function of an op at a version of its domain, or None."""
    rows = [function for since, function in OPS.get((domain, name), []) if since <= opset]
    return rows[-1] if rows else None
