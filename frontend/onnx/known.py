"""Small tensors that are known while a model is imported: constants, and shapes whose elements are dims.

`Shape -> Gather -> Mul -> Concat -> Reshape` is arithmetic on such tensors: it ends as a symbolic dim in a type, and
no node of it is left. A table has one function an op; an element that has no dim (a quotient by what may be 0) sends
the node to run time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim, Expr, Func, bounds, ceildiv, floordiv, maximum, minimum, mod
from ...ir.graph import Value
from ...ir.types import Array, DType, bool_, dtype_of, i64
from ..elementwise import dim_scalar

__all__ = ["MAX_ELEMENTS", "Known", "Unknown", "known_dims", "known_value"]

MAX_ELEMENTS = 1 << 16
"""Constants beyond this are made when the program runs."""


class Unknown(Exception):
    """An element has no dim."""


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor whose elements are known.

    Args:
        dtype: of the elements
        data:  an array of that type; of Python objects where an element is a symbolic dim
    """

    dtype: DType
    data: Array

    @classmethod
    def of(cls, data: Any) -> Known:
        """A constant."""
        array = np.asarray(data)
        return cls(dtype_of(array), array)

    @classmethod
    def dims(cls, dims: Iterable[Dim], dtype: DType = i64) -> Known:
        """A vector of dims."""
        return cls(dtype, objects(list(dims))).settled()

    @property
    def is_static(self) -> bool:
        """Whether no element is symbolic."""
        return self.data.dtype != object

    @property
    def is_whole(self) -> bool:
        """Whether each element is a whole number; dims always are."""
        if not (self.is_static and self.dtype.is_float):
            return True
        return bool(np.all((self.data == np.rint(self.data)) & (np.abs(self.data) < 2.0**53)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def settled(self) -> Known:
        """With numbers for elements where all are."""
        if self.is_static or any(isinstance(d, Expr) for d in self.data.ravel()):
            return self
        return Known(self.dtype, self.data.astype(self.dtype.numpy))

    def as_integers(self) -> Known:
        """The same with integers and dims as elements, where all are whole."""
        return self if not self.is_static else Known(self.dtype, self.data.astype(np.int64).astype(object))

    def elements(self) -> list[Dim]:
        """Integers and dims in row-major order."""
        return [d if isinstance(d, Expr) else int(d) for d in self.data.ravel()]


def objects(items: list[Any]) -> Array:
    """A vector of Python objects."""
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return found


def known_value(known: Known) -> Value:
    """The tensor as a value: a constant, or put together from the sizes of symbols."""
    if known.is_static:
        return b.constant(known.data)
    parts = [b.reshape(dim_scalar(d, known.dtype), (1,)) for d in known.elements()]
    return b.reshape(b.concat(parts, 0), known.shape)


def known_dims(op: str, operands: list[Known | None], attribute: Callable[[str, Any], Any]) -> Known | None:
    """The result of an op on known tensors of which one is symbolic; None where it is not known.

    Args:
        operands:  None where one is left out
        attribute: gives an attribute or its default
    """
    rule = RULES.get(op)
    if any(o is not None and o.dtype.is_float for o in operands):
        rule = FLOAT_RULES.get(op)
        if not all(o is None or o.is_whole for o in operands):
            return None
        operands = [o if o is None or not o.dtype.is_float else o.as_integers() for o in operands]
    if rule is None:
        return None
    try:
        found = rule(operands, attribute)
    except Unknown:
        return None
    return None if found is None else found.settled()


Rule = Callable[[list[Any], Callable[[str, Any], Any]], Known | None]


def _object(known: Known) -> Array:
    return known.data if not known.is_static else known.data.astype(object)


def _map(function: Callable[..., Any]) -> Rule:
    def rule(operands: list[Known], _: Any) -> Known | None:
        found = np.frompyfunc(function, len(operands), 1)(*map(_object, operands))
        return Known(operands[0].dtype, np.asarray(found, dtype=object))

    return rule


def _compare(function: Callable[[Dim, Dim], bool]) -> Rule:
    def rule(operands: list[Known], _: Any) -> Known | None:
        found = np.frompyfunc(function, 2, 1)(*map(_object, operands))
        return Known(bool_, np.asarray(found).astype(np.bool_))

    return rule


def _quotient(a: Dim, c: Dim) -> Dim:
    """Division truncates; of what is not negative it is rounded down."""
    if isinstance(a, int) and isinstance(c, int):
        return 0 if c == 0 else abs(a) // abs(c) * (1 if (a < 0) == (c < 0) else -1)
    for atom in functions(a):  # (a - a mod c) / c, as division is written where it rounds down
        if atom.name == "mod" and atom.b == c and a + mod(atom.a, atom.b) == atom.a:
            return whole(atom.a, c)
    if bounds(a)[0] < 0 or bounds(c)[0] <= 0:
        raise Unknown
    return floordiv(a, c)


def _exact(a: Dim, c: Dim) -> Dim:
    """The quotient of floats, where it is whole for all sizes."""
    if bounds(c)[0] <= 0:
        raise Unknown
    found = floordiv(a, c)
    if found * c != a:
        raise Unknown
    return found


def whole(a: Dim, c: Dim) -> Dim:
    """a / c rounded down; of a negative dim as the quotient of the positive one rounded up."""
    if isinstance(a, Expr) and a.terms[0][1] < 0:
        return 0 - ceildiv(0 - a, c)
    return floordiv(a, c)


def functions(dim: Dim) -> list[Func]:
    """The terms of a dim that are functions."""
    if isinstance(dim, int):
        return []
    return [m[0][0] for m, _ in dim.terms if len(m) == 1 and isinstance(m[0][0], Func)]


def _modulo(operands: list[Known], attribute: Any) -> Known | None:
    """Of the divisor's sign; with fmod of the dividend's, which is the same where neither is negative."""

    def one(a: Dim, c: Dim) -> Dim:
        if bounds(c)[0] <= 0 or (attribute("fmod", 0) and bounds(a)[0] < 0):
            raise Unknown
        return mod(a, c)

    return _map(one)(operands, attribute)


def _negative(a: Dim) -> Dim:
    return 0 - a


def _size(a: Dim) -> Dim:
    return maximum(a, 0 - a)


def _equal(a: Dim, c: Dim) -> bool:
    lo, hi = bounds(a - c)
    if lo == hi == 0:
        return True
    if lo <= 0 <= hi:
        raise Unknown
    return False


def _less(a: Dim, c: Dim) -> bool:
    lo, hi = bounds(a - c)
    if hi < 0:
        return True
    if lo < 0:
        raise Unknown
    return False


def _gather(operands: list[Known], attribute: Any) -> Known | None:
    x, indices = operands
    if not indices.is_static:
        return None
    return Known(
        x.dtype, np.asarray(np.take(x.data, indices.data.astype(np.int64), axis=attribute("axis", 0)))
    )


def _concat(operands: list[Known], attribute: Any) -> Known:
    return Known(operands[0].dtype, np.concatenate(list(map(_object, operands)), axis=attribute("axis", 0)))


def _axes(operands: list[Known | None], attribute: Any) -> list[int]:
    given = operands[1] if len(operands) > 1 else None
    return [int(a) for a in (given.data if given is not None else attribute("axes", []))]


def _unsqueeze(operands: list[Any], attribute: Any) -> Known:
    axes = _axes(operands, attribute)
    return Known(operands[0].dtype, np.expand_dims(operands[0].data, tuple(axes)))


def _squeeze(operands: list[Any], attribute: Any) -> Known:
    axes = _axes(operands, attribute)
    return Known(operands[0].dtype, np.asarray(np.squeeze(operands[0].data, tuple(axes) if axes else None)))


def _reshape(operands: list[Known], _: Any) -> Known | None:
    return Known(operands[0].dtype, operands[0].data.reshape(operands[1].data.tolist()))


def _slice(operands: list[Known | None], attribute: Any) -> Known | None:
    x = operands[0]
    given: list[Any] = [None if o is None else o.elements() for o in operands[1:]]
    if not given:
        given = [attribute("starts", []), attribute("ends", []), attribute("axes", None)]
    given += [None] * (4 - len(given))
    axes: list[int] = given[2] if given[2] is not None else list(range(len(given[0])))
    if x is None or any(isinstance(d, Expr) for places in given[:2] for d in places):
        return None
    picks = [slice(None)] * x.data.ndim
    for k, axis in enumerate(axes):
        picks[axis] = slice(given[0][k], given[1][k], given[3][k] if given[3] is not None else 1)
    return Known(x.dtype, x.data[tuple(picks)])


def _total(join: Callable[[Any, Any], Any]) -> Rule:
    def rule(operands: list[Any], attribute: Any) -> Known:
        total = reduce(join, _object(operands[0]).ravel())
        shape = (1,) * operands[0].data.ndim if attribute("keepdims", 1) else ()
        return Known(operands[0].dtype, objects([total]).reshape(shape))

    return rule


def _where(operands: list[Known], _: Any) -> Known | None:
    condition, x, y = operands
    return Known(x.dtype, np.where(condition.data.astype(np.bool_), _object(x), _object(y)))


def _expand(operands: list[Known], _: Any) -> Known | None:
    x, shape = operands
    if not shape.is_static:
        return None
    return Known(x.dtype, np.broadcast_to(x.data, np.broadcast_shapes(x.shape, tuple(shape.data.tolist()))))


def _transpose(operands: list[Known], attribute: Any) -> Known:
    return Known(operands[0].dtype, np.transpose(operands[0].data, attribute("perm", None)))


def _scatter_nd(operands: list[Known], attribute: Any) -> Known | None:
    x, indices, updates = operands
    if attribute("reduction", "none") != "none" or not indices.is_static:
        return None
    found, places = _object(x).copy(), indices.data
    for place in np.ndindex(*places.shape[:-1]):
        found[tuple(places[place])] = _object(updates)[place]
    return Known(x.dtype, found)


RULES: dict[str, Rule] = {
    "Identity": lambda o, _: o[0],
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Slice": _slice,
    "Expand": _expand,
    "Transpose": _transpose,
    "ScatterND": _scatter_nd,
    "Where": _where,
    "Add": _map(operator.add),
    "Sub": _map(operator.sub),
    "Mul": _map(operator.mul),
    "Div": _map(_quotient),
    "Mod": _modulo,
    "Neg": _map(_negative),
    "Min": _map(minimum),
    "Max": _map(maximum),
    "Abs": _map(_size),
    "Equal": _compare(_equal),
    "Less": _compare(_less),
    "Greater": _compare(lambda a, c: _less(c, a)),
    "LessOrEqual": _compare(lambda a, c: not _less(c, a)),
    "GreaterOrEqual": _compare(lambda a, c: not _less(a, c)),
    "ReduceProd": _total(operator.mul),
    "ReduceSum": _total(operator.add),
    "ReduceMax": _total(maximum),
}
"""One function an op; operands as `known_dims` gets them."""

FLOAT_RULES: dict[str, Rule] = {
    **{
        op: RULES[op]
        for op in (
            "Identity",
            "Gather",
            "Concat",
            "Unsqueeze",
            "Squeeze",
            "Reshape",
            "Slice",
            "Expand",
            "Transpose",
        )
    },
    **{op: RULES[op] for op in ("Add", "Sub", "Mul", "Neg", "Min", "Max", "Abs")},
    **{op: RULES[op] for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")},
    **dict.fromkeys(("Floor", "Ceil", "Round"), RULES["Identity"]),
    "Div": _map(_exact),
}
"""The same where sizes were converted to floats: what keeps whole numbers whole."""
