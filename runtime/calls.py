"""The tables that the call's machine code reads: what inputs and outputs look like, and what to run."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.dims import Dim, scaled_symbol
from ..ir.types import TensorType
from .signature import Signature

__all__ = ["CallTable", "Ports", "RawTable", "ports_of"]

_WORD, _INT = ctypes.c_void_p, ctypes.c_int64

OUT = "out"
PATIENCE = 5_000_000
"""Picoseconds of a run from which on other Python threads may go on beside it."""
_RANKS = 32


class CallTable(ctypes.Structure):
    """%call of the machine code: an executable as its call sees it.

    `ready` is 0 until the other fields hold; every call then takes the Python way.
    """

    _fields_ = (
        ("ready", _INT),
        ("version_at", _WORD),
        ("version", _INT),
        ("free", _WORD),
        ("run", _WORD),
        ("plan", _WORD),
        ("sizes", _WORD),
        ("inputs", _INT),
        ("outputs", _INT),
        ("symbols", _INT),
        ("input_ports", _WORD),
        ("output_ports", _WORD),
        ("ranges", _WORD),
        ("dims", _WORD),
        ("values", _WORD),
        ("arena", _INT),
        ("patience", _INT),
        ("slow", _WORD),
        ("updates", _INT),
        ("acquire", _WORD),
        ("release", _WORD),
        ("array", _WORD),
        ("tuple", _WORD),
        ("out", _WORD),
        ("none", _WORD),
        ("count", _INT),
        ("memory", _WORD),
    )


class RawTable(ctypes.Structure):
    """%raw of the machine code: a call on given addresses."""

    _fields_ = (
        ("call", _WORD),
        ("inputs", _WORD),
        ("outputs", _WORD),
        ("dims", _WORD),
        ("arena", _INT),
        ("cost", _INT),
        ("slow", _WORD),
    )


class _Port(ctypes.Structure):
    _fields_ = (
        ("descr", _WORD),
        ("rank", _INT),
        ("axes", _WORD),
        ("itemsize", _INT),
        ("checked", _INT),
        ("low", _INT),
        ("span", _INT),
    )


class Ports:
    """What a signature asks, as the machine code reads it; `fill` writes it into a table."""

    def __init__(self, inputs: Any, outputs: Any, ranges: Any, keep: list[Any]) -> None:
        self.inputs, self.outputs, self.ranges = inputs, outputs, ranges
        self.symbols = len(ranges) // 2
        self._keep = keep

    def fill(self, table: CallTable, slow: Any, arena: int, sizes: Sequence[int]) -> None:
        """Write the fields that do not change.

        Args:
            slow:         the function for calls that do not fit
            arena, sizes: what nv_plan and nv_sizes give where there are no symbols; else looked up at each new size
        """
        last = (_INT * max(1, self.symbols))(*[-1] * self.symbols)
        values = (_INT * len(sizes))(*sizes)
        self._keep += [last, values, slow]
        table.inputs, table.outputs, table.symbols = len(self.inputs), len(self.outputs), self.symbols
        table.input_ports, table.output_ports = ctypes.addressof(self.inputs), ctypes.addressof(self.outputs)
        table.ranges, table.dims, table.values = map(ctypes.addressof, (self.ranges, last, values))
        table.patience, table.slow, table.count, table.arena = PATIENCE, id(slow), len(sizes), arena
        table.array, table.tuple, table.out, table.none = id(np.ndarray), id(tuple), id(OUT), id(None)


def ports_of(signature: Signature, symbols: Sequence[str], extents: Mapping[Dim, int]) -> Ports | None:
    """The ports of a signature; None where a call of it always takes the Python way.

    Args:
        symbols: the program's, in order
        extents: the places of the dims that nv_sizes computes
    """
    if signature.checks:
        return None  # Python functions look at the content of inputs
    keep: list[Any] = []
    bound: dict[str, tuple[int, int]] = {}
    ranges = {place: (low, high) for place, low, high in signature.ranges}
    inputs: list[_Port] = []
    for place, (_, t) in enumerate(signature.inputs):
        port = _port(t, symbols, extents, bound, keep)
        if port is None:
            return None
        if place in ranges:
            low, high = ranges[place]
            if t.dtype.name not in ("i32", "i64") or not isinstance(high, int):
                return None
            port.checked, port.low, port.span = t.dtype.bytes, low, max(0, high - low)
        inputs.append(port)
    if set(symbols) != set(bound):
        return None
    outputs = [_port(t, symbols, extents, None, keep) for _, t in signature.outputs]
    if None in outputs:
        return None
    limits = [limit for name in symbols for limit in bound[name]]
    return Ports(
        (_Port * len(inputs))(*inputs), (_Port * len(outputs))(*outputs), (_INT * len(limits))(*limits), keep
    )  # type: ignore[arg-type]


def _port(
    t: TensorType,
    symbols: Sequence[str],
    extents: Mapping[Dim, int],
    bound: dict[str, tuple[int, int]] | None,
    keep: list[Any],
) -> _Port | None:
    """One input or output; inputs bind symbols at their first axis."""
    if t.rank > _RANKS:
        return None
    axes: list[int] = []
    for dim in t.shape:
        found = scaled_symbol(dim)
        if isinstance(dim, int):
            axes += [0, dim, 1, 0]
        elif found is None:
            axes += [3, extents[dim], 1, 0]
        else:
            symbol, scale, added = found
            binds = bound is not None and symbol.name not in bound
            if bound is not None and binds:
                bound[symbol.name] = (symbol.lo, symbol.hi)
            axes += [1 if binds else 2, symbols.index(symbol.name), scale, added]
    table, dtype = (_INT * len(axes))(*axes), t.dtype.numpy
    keep += [table, dtype]
    return _Port(id(dtype), t.rank, ctypes.addressof(table), dtype.itemsize, 0, 0, 0)
