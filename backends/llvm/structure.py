"""What a kernel is apart from its names: equal structures make equal code, and are one function.

The structure is a tuple of what the statements hold. Variables and buffers are numbered as they are met; expressions get a
number for each different content, so that neither the size of the trees they stand for nor the sharing of objects counts.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from .kernel_expr import Binary, Bits, Buffer, Call, Cast, Compare, Const, Expr, Load, Size, Unary, Var
from .kernel_ir import Kernel
from .walk import children_first, expr_children

__all__ = ["Numbers", "structure"]

_KNOWN: WeakKeyDictionary[Kernel, Hashable] = WeakKeyDictionary()


def structure(kernel: Kernel) -> Hashable:
    """Equal for kernels that differ in names, origins and descriptions alone."""
    found = _KNOWN.get(kernel)
    if found is None:
        numbers = Numbers()
        memory = (*kernel.buffers, *kernel.scratch)
        shapes = tuple((b.dtype.name, b.shape, b.strides, b.align) for b in memory)
        numbers.buffers = {id(b): n for n, b in enumerate(memory)}
        found = (len(kernel.buffers), shapes, numbers.of(kernel.body), tuple(numbers.contents))
        _KNOWN[kernel] = found
    return found


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


class Numbers:
    """Numbers of what stands in one kernel; equal ones are equal in what they are.

    Attributes:
        buffers:  by identity
        contents: of expressions, each with the number that is its place
    """

    def __init__(self) -> None:
        self.buffers: dict[int, int] = {}
        self.vars: dict[Var, int] = {}
        self.exprs: dict[Expr, int] = {}
        self.contents: dict[tuple[Hashable, ...], int] = {}

    def of(self, x: Any) -> Hashable:
        """Anything that a statement holds."""
        if isinstance(x, Expr):
            return self.expr(x)
        if isinstance(x, tuple):
            return tuple(map(self.of, x))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- a field of a statement
        if isinstance(x, Buffer):
            return self.buffer(x)
        if isinstance(x, float):
            return repr(x)
        if isinstance(x, Kernel):
            return structure(x)
        if type(x).__module__ != Kernel.__module__:  # numbers, texts, dims, schedules
            return x
        return self.parts(x)

    def parts(self, x: object) -> tuple[Hashable, ...]:
        """The kind and the fields of a statement, or of a part of one."""
        return (type(x).__name__, *(self.of(getattr(x, name)) for name in _names(type(x))))

    def buffer(self, b: Buffer) -> int:
        return self.buffers.setdefault(id(b), len(self.buffers))

    def expr(self, root: Expr) -> int:
        """The number of an expression; depth does not matter."""
        known = self.exprs
        for e in children_first(root, known):
            content = (type(e), *self.facts(e), *[known[c] for c in expr_children(e)])
            known[e] = self.contents.setdefault(content, len(self.contents))
        return known[root]

    def facts(self, e: Expr) -> tuple[Hashable, ...]:
        """What an expression is beside its operands."""
        match e:
            case Binary() | Compare() | Unary():
                return (e.op,)
            case Const():
                return (repr(e.value), e.dtype)
            case Load():
                return (self.buffer(e.buffer), e.inside is None, e.otherwise is None)
            case Var():
                return (self.vars.setdefault(e, len(self.vars)), e.dtype)
            case Cast() | Bits():
                return (e.dtype,)
            case Call():
                return (e.function,)
            case Size():
                return (e.dim,)
            case _:
                return ()
