"""Arguments of layers and loops that are no tensors, checked where they are given: numbers, extents, functions.

Each error names the function, the argument, what was found and expected, and the user's line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any, cast

import numpy as np

from ..ir.dims import Dim, Expr
from ..ir.errors import NervureError, TraceError
from ..ir.graph import Value
from ..ir.ops.constant import Constant
from ..ir.types import Array, dtype_of
from .tensor import NoTensor, Tensor, as_tensor
from .tracing import user_lines

__all__ = [
    "callable_with",
    "constant_of",
    "extent",
    "given",
    "is_number",
    "listed",
    "number",
    "steps_of_a_block",
    "table",
    "whole",
]


def whole(name: str, what: str, value: Any, least: int = 1, rest: str = "") -> int:
    """An integer.

    Args:
        least: the smallest there may be
        rest:  what stands behind the least in the message, such as a unit

    Raises:
        NervureError: it is none, or below the least
    """
    if not _is_a(value, int, np.integer):
        raise _wrong(name, what, value, f"an integer, at least {least}{rest}")
    if value < least:
        raise _wrong(name, what, value, f"at least {least}{rest}")
    return int(value)


def extent(name: str, what: str, value: Any, least: int = 0, rest: str = "") -> Dim:
    """A number of steps or rows: an integer, or a dim such as that of an axis.

    Args:
        rest: what else the hint says where it is a tensor

    Raises:
        NervureError: it is neither, or an integer below the least
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, Tensor):
        hint = f"sizes are known by the axes of inputs, as x.shape[0] is{rest}"
        raise _wrong(name, what, value, "an integer or a dim", hint)
    return whole(name, what, value, least)


def number(name: str, what: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A number within low..high.

    Raises:
        NervureError: it is none, or outside
    """
    if not is_number(value) or not low <= value <= high:
        least = "a number" if low == -math.inf else f"at least {low:g}"
        raise _wrong(name, what, value, least if high == math.inf else f"{low:g} <= {what} <= {high:g}")
    return float(value)


def steps_of_a_block(name: str, value: Any) -> int | bool:
    """What `remat` may be: how many steps a block has, True for the root of the length, False or 0 for no blocks.

    Raises:
        NervureError: it is neither
    """
    if isinstance(value, bool | np.bool_):
        return bool(cast("Any", value))
    known = is_number(value) and value == 0
    return 0 if known else whole(name, "remat", value, rest=" step, or True")


def listed(name: str, what: str, values: Any) -> tuple[Any, ...]:
    """The elements of a list or tuple.

    Raises:
        NervureError: it is none
    """
    if not isinstance(values, list | tuple):
        raise _wrong(name, what, values, "a list")
    return tuple(cast("Sequence[Any]", values))


def is_number(value: Any) -> bool:
    return _is_a(value, int, float, np.integer, np.floating)


def callable_with(name: str, what: str, function: Any, *arguments: str, **options: str) -> Callable[..., Any]:
    """A function that takes so many arguments.

    Raises:
        NervureError: it is no function, or takes others
    """
    called = f"({', '.join((*arguments, *(f'{n}=' for n in options)))})"
    if not callable(function):
        raise _wrong(name, what, function, f"a function of {called}")
    try:
        takes = signature(function)
    except (TypeError, ValueError):  # of what is written in C nothing is known
        return function
    try:
        takes.bind(*arguments, **options)
    except TypeError:
        hint = "a carry of several tensors is one argument, a tuple" if arguments[:1] == ("carry",) else None
        raise NervureError(
            f"{name}: {what} takes {takes}, expected {called}", where=user_lines(), hint=hint
        ) from None
    return function


def given(name: str, what: str, x: Any) -> Tensor:
    """x as a tensor.

    Raises:
        NervureError: it is none, or an array of elements that no tensor has
    """
    if isinstance(x, np.ndarray | np.generic) and not isinstance(x, float):
        try:
            dtype_of(cast("Any", x))
        except NervureError as error:
            raise _wrong(name, what, x, "another element type", error.hint) from None
    try:
        return as_tensor(x)
    except NoTensor as error:
        hint = "nest tensors in tuples and lists" if isinstance(x, dict) else error.hint
        raise _wrong(name, what, x, "a tensor", hint, TraceError) from None


def table(name: str, what: str, x: Any) -> Tensor:
    """x as a tensor, where numbers may also stand in lists.

    Raises:
        NervureError: it is none, its rows differ in length, or something in a list is no number
    """
    if isinstance(x, list | tuple):
        odd = [v for v in _within(cast("Any", x)) if isinstance(v, Expr | Tensor)]
        if odd:
            raise _wrong(name, what, odd[0], "numbers", "make it an input", verb="holds")
        try:
            x = np.asarray(cast("Any", x))
        except ValueError:
            raise _wrong(name, what, x, "rows of equal length") from None
    return given(name, what, x)


def _within(tree: Any) -> Iterator[Any]:
    for part in tree:
        if isinstance(part, list | tuple):
            yield from _within(cast("Any", part))
        else:
            yield part


def constant_of(value: Value) -> Array | None:
    """What a value is, if that is known now."""
    node = value.node
    return node.op.value.array if node is not None and isinstance(node.op, Constant) else None


def _wrong(
    name: str,
    what: str,
    value: Any,
    expected: str,
    hint: str | None = None,
    kind: type[NervureError] = NervureError,
    verb: str = "is",
) -> NervureError:
    return kind(f"{name}: {what} {verb} {_shown(value)}, expected {expected}", where=user_lines(), hint=hint)


def _is_a(value: Any, *kinds: type[Any]) -> bool:
    """Whether it is of one of the kinds; truth values are no numbers."""
    return isinstance(value, kinds) and not isinstance(value, bool | np.bool_)


_PLAIN: tuple[type[Any], ...] = (int, float, np.generic, Tensor, Expr)
"""Kinds whose values messages show as they are."""


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, np.ndarray):
        array = cast("Array", value)
        return f"an array of {array.dtype}{list(array.shape) if array.ndim else ''}"
    plain = value is None or isinstance(value, _PLAIN)
    return str(value) if plain else f"a {type(value).__name__}"
