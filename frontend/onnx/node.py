"""One ONNX node in hand, as the function of its op sees it: operands, attributes, and ways to refuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...ir import build as b
from ...ir.dims import Dim, Symbol, bounds, dim_text, free_symbols, substitute, symbol
from ...ir.graph import Value
from ...ir.types import Array, DType, TensorType
from ..elementwise import broadcast_to
from ..tensor import Tensor
from .elements import attribute_value
from .equations import is_zero, solution
from .known import Known
from .report import Refused

if TYPE_CHECKING:
    from .scope import Scope

__all__ = ["OnnxNode", "Replace"]


MAX_SIZES = 1 << 12
"""Sizes, axes or pads that a node may be given."""


class Replace(Exception):
    """What an input's symbol has to be for the model to have types; the import begins again with it.

    Args:
        name: of the symbol
        dim:  what it is: a number, a dim of other symbols, or itself with another range
    """

    def __init__(self, name: str, dim: Dim) -> None:
        super().__init__(name)
        self.name = name
        self.dim = dim


class OnnxNode:
    """A node and the scope that its names are looked up in.

    Attributes:
        op:      its type
        name:    its own, or that of its first output
        opset:   the version of its domain that the model asks for
        inputs:  names; empty where an input is left out
        outputs: names; empty where nobody reads an output
        walk:    the walk that met the node, for what holds graphs
    """

    def __init__(self, proto: Any, opset: int, scope: Scope) -> None:
        self.op: str = proto.op_type
        self.domain: str = proto.domain
        self.outputs: list[str] = list(proto.output)
        self.name: str = proto.name or next((o for o in self.outputs if o), "") or self.op
        self.opset = opset
        self.inputs: list[str] = ["" if name in scope.absent else name for name in proto.input]
        self.scope = scope
        self.proto = proto
        self.walk: Any = None
        self._attributes = {a.name: a for a in proto.attribute}

    # operands
    def has(self, k: int) -> bool:
        """Whether input k is given."""
        return k < len(self.inputs) and bool(self.inputs[k])

    def wants(self, k: int) -> bool:
        """Whether somebody may read output k."""
        return k < len(self.outputs) and bool(self.outputs[k])

    def value(self, k: int) -> Value:
        """Input k as a value of the graph under construction."""
        if not self.has(k):
            raise Refused(f"input {k} is missing")
        return self.scope.value(self.inputs[k])

    def values(self) -> list[Value]:
        """All inputs."""
        return [self.value(k) for k in range(len(self.inputs))]

    def tensor(self, k: int) -> Tensor:
        """Input k as a tensor, for functions of the frontend."""
        return Tensor(self.value(k))

    def optional(self, k: int) -> Value | None:
        """Input k, or None where it is left out."""
        return self.value(k) if self.has(k) else None

    def known(self, k: int) -> Known | None:
        """Input k where its elements are known: a constant, or dims; None where it is left out or not known."""
        return self.scope.known(self.inputs[k]) if self.has(k) else None

    def type(self, k: int) -> TensorType:
        """The type of input k."""
        return self.value(k).type

    # operands whose elements say what is done
    def dims(self, k: int) -> list[Dim]:
        """The elements of input k, which must be known while the model is imported."""
        found = self.known(k)
        if found is None:
            raise self.not_known(k)
        if not found.is_static and found.dtype.is_float:
            raise self.not_known(k)
        if found.data.size > MAX_SIZES:
            raise Refused(
                f"input {k} ({self.inputs[k]}) has {found.data.size} sizes, at most {MAX_SIZES} are read"
            )
        return found.elements()

    def integers(self, k: int) -> list[int]:
        """As `dims`, where no element may be symbolic."""
        found = self.dims(k)
        for d in found:
            if not isinstance(d, int):
                raise Refused(f"input {k} ({self.inputs[k]}) has the symbolic element {dim_text(d)}")
        return [d for d in found if isinstance(d, int)]

    def array(self, k: int) -> Array:
        """Input k as an array, which must be known while the model is imported."""
        found = self.known(k)
        if found is None or not found.is_static:
            raise self.not_known(k)
        return found.data

    def scalar(self, k: int, default: Any = None) -> Any:
        """The one element of input k as a Python number; the default where it is left out."""
        if not self.has(k):
            return default
        found = self.array(k)
        if found.size != 1:
            raise Refused(f"input {k} ({self.inputs[k]}) has {found.size} elements, expected one")
        return found.ravel()[0].item()

    def not_known(self, k: int) -> Refused:
        """The refusal of an input whose elements are computed when the program runs."""
        name = self.inputs[k]
        needs = self.scope.behind(name)
        hint = f"give their values: bind={{{', '.join(f'{n!r}: ...' for n in needs)}}}" if needs else None
        where = f", it depends on the inputs {', '.join(needs)}" if needs else ""
        return Refused(f"input {k} ({name}) must be known before the program runs{where}", hint, needs)

    # attributes
    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where it is left out."""
        found = self._attributes.get(name)
        if found is None:
            return default
        if found.ref_attr_name:
            return self.scope.attribute(found.ref_attr_name, default)
        return attribute_value(found)

    @property
    def attribute_names(self) -> list[str]:
        """The attributes that are given."""
        return list(self._attributes)

    def graph(self, name: str) -> Any:
        """An attribute that is a graph."""
        found = self.attr(name)
        if found is None:
            raise Refused(f"attribute {name} is missing")
        return found

    def axes(self, k: int, name: str = "axes") -> list[int] | None:
        """Axes from input k or an attribute; None where there are none."""
        return self.integers(k) if self.has(k) else self.attr(name)

    def axis(self, axis: int, rank: int) -> int:
        """An axis as a number from 0 on."""
        if not -rank <= axis < max(rank, 1):
            raise Refused(f"axis {axis} is not within the {rank} axes")
        return axis % rank if rank else 0

    # dims
    def at_least(self, dim: Dim, least: int, what: str) -> None:
        """Require a dim to be no smaller; a symbol's range is narrowed for it.

        Raises:
            Refused: it is smaller
            Replace: a symbol of an input has to have another range
        """
        lo, hi = bounds(dim)
        if lo >= least:
            return
        names = free_symbols(dim)
        if hi < least or not names:
            raise Refused(f"{what} is {dim_text(dim)}, expected at least {least}")
        found: list[tuple[int, Symbol]] = []
        for s in names:
            low, high = s.lo, s.hi
            if bounds(substitute(dim, {s.name: symbol(s.name, high, high)}))[0] < least:
                continue
            while low < high:
                middle = (low + high) // 2
                enough = bounds(substitute(dim, {s.name: symbol(s.name, middle, s.hi)}))[0] >= least
                low, high = (low, middle) if enough else (middle + 1, high)
            found.append((low, s))
        if found:
            low, s = min(found, key=lambda f: f[0])
            raise Replace(s.name, symbol(s.name, low, s.hi))
        raise Refused(f"{what} is {dim_text(dim)}, which is not known to be at least {least}")

    def equal(self, a: Dim, c: Dim, what: str) -> None:
        """Require two dims to be equal; a symbol becomes what it has to be equal to.

        Raises:
            Refused: they differ
            Replace: a symbol of an input has to be the other dim
        """
        if a == c or is_zero(a - c):
            return
        found = solution(a - c)
        if found is not None:
            raise Replace(*found)
        open_sizes = ", ".join(f"{s.name!r}: ..." for s in free_symbols(a - c))
        hint = f"give the sizes: dims={{{open_sizes}}}" if open_sizes else None
        raise Refused(f"{what}: {dim_text(a)} and {dim_text(c)} differ", hint)

    def broadcast(self, *values: Value) -> list[Value]:
        """All values in the shape that broadcasting gives; symbols that have to be equal become one."""
        rank = max(v.type.rank for v in values)
        shape: list[Dim] = []
        for axis in range(-rank, 0):
            sizes = [v.type.shape[axis] for v in values if v.type.rank >= -axis]
            large = [d for d in dict.fromkeys(sizes) if d != 1]
            for other in large[1:]:
                self.equal(large[0], other, f"axis {axis} does not broadcast")
            shape.append(large[0] if large else 1)
        return [broadcast_to(v, shape) for v in values]

    def spread(self, x: Value, like: Value) -> Value:
        """x in the shape of another value."""
        return broadcast_to(x, like.type.shape)

    def or_nan(self, condition: Value, x: Value) -> Value:
        """x where the bool[] holds, else NaN everywhere: what a branch that may not be taken asks of sizes, no input has to hold."""
        held = b.broadcast_in_dim(condition, x.type.shape, ())
        return b.select(held, x, self.full(x.type.dtype, x.type.shape, math.nan))

    def full(self, dtype: DType, shape: Sequence[Dim], value: Any) -> Value:
        """One number everywhere."""
        return b.full(TensorType(dtype, tuple(shape)), value)
