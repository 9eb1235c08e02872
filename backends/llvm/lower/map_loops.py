"""The loops of an elementwise kernel, and whether what it computes needs the parts of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ....ir.dims import Dim, product
from .. import kernel_ir as k
from .loops import nest
from .memory import KernelScope, Memory
from .pull import Pull

__all__ = ["Loops", "uses_any"]


def uses_any(element: k.Expr, parts: set[k.Expr]) -> bool:
    """Whether an expression is made from one of the parts."""
    stack: list[object] = [element]
    seen: set[k.Expr] = set()
    while stack:
        current = stack.pop()
        if isinstance(current, tuple):
            stack += current  # type: ignore[arg-type]
        elif isinstance(current, k.Expr) and current not in seen:
            if current in parts:
                return True
            seen.add(current)
            stack += [getattr(current, f.name) for f in fields(current)]  # type: ignore[arg-type]
    return False


class Loops:
    """Loops over a shape: the first `kept` axes each, the rest as one, so that the innermost is long and of unit stride."""

    def __init__(self, pull: Pull, shape: Sequence[Dim], kept: int) -> None:
        dims = list(shape[:kept])
        rest = tuple(shape[kept:])
        if rest:
            dims.append(product(rest))
        self.vars = [k.Var(f"i{axis}") for axis in range(len(dims))]
        self.extents = dims
        if len(rest) > 1:
            split = pull.reshaped((self.vars[-1],), (dims[-1],), rest)
            self.index: tuple[k.Expr, ...] = (*self.vars[:-1], *split)
            self.parts = set(split) - {self.vars[-1]}
            pull.flatten(split, rest, self.vars[-1])
        else:
            self.index = tuple(self.vars)
            self.parts = set[k.Expr]()

    def store(self, scope: KernelScope, memory: Memory, element: k.Expr) -> k.Store:
        return scope.output(memory, self.extents).store(tuple(self.vars), element)

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        """The body inside the loops, the innermost a vector loop."""
        return nest(body, list(zip(self.vars, self.extents, strict=True)), vector=True)
