"""The loops of an elementwise kernel, and whether what it computes needs the parts of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from ....ir.dims import Dim, product
from ....ir.graph import Value
from ....ir.origin import Origins
from .. import kernel_ir as k
from .loops import nest
from .memory import KernelScope, Memory
from .pull import Pull

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Loops", "map_kernel", "uses_any"]


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


def map_kernel(
    lowering: Lowering, shape: Sequence[Dim], read: Value, target: Memory, origins: Origins
) -> None:
    """The kernel that computes a value of a shape into memory that lies as its type says."""
    kept = 0
    while True:
        scope = KernelScope()
        pull = lowering.pull(scope)
        loops = Loops(pull, shape, kept)
        element = pull.read(read, loops.index)
        kept += 1
        if kept >= len(shape) or not uses_any(element, loops.parts):
            break
    store = loops.store(scope, target, element)
    lowering.launch(scope, "map", loops.around([store]), origins)
