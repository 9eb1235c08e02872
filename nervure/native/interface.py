"""The C interface of a build: its names, its arrays, its sizes. Header, metadata and programs are written from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..backends.llvm.native_weights import Weights
from ..ir.dims import Dim, Func, Symbol, bounds, product
from ..ir.program import Program
from ..ir.types import DType, TensorType
from ..runtime.signature import Signature
from .names import c_names

__all__ = ["ArrayArg", "Interface", "StateEntry", "c_dim", "c_type", "make_interface"]


@dataclass(frozen=True)
class ArrayArg:
    """An input or an output: the program's name, the header's, the type."""

    name: str
    c_name: str
    type: TensorType

    @property
    def elements(self) -> Dim:
        return product(self.type.shape)


@dataclass(frozen=True)
class StateEntry:
    """An entry in the state: the store's name, the header's, its type, kind and offset."""

    name: str
    c_name: str
    type: TensorType
    kind: str
    trainable: bool
    offset: int


@dataclass(frozen=True)
class Interface:
    """What a caller sees.

    Args:
        prefix:    of every name
        symbols:   in the order of arguments, with the names that the header gives them
        ranges:    of inputs that hold indices, as a signature has them
        arena:     bytes of the arena where no symbol decides them
        side_file: whether the caller brings the weights
        threads:   whether a call takes a number of threads
    """

    prefix: str
    inputs: tuple[ArrayArg, ...]
    outputs: tuple[ArrayArg, ...]
    symbols: tuple[tuple[Symbol, str], ...]
    ranges: tuple[tuple[int, int, Dim], ...]
    state: tuple[StateEntry, ...]
    state_bytes: int
    weights_bytes: int
    weights_digest: str
    arena: int | None
    side_file: bool
    threads: bool

    @property
    def state_id(self) -> str:
        """What tells this layout of the state from others."""
        rows = "".join(f"{e.name}\n{e.type}\n{e.offset}\n" for e in self.state)
        return hashlib.blake2b(rows.encode(), digest_size=16).hexdigest()

    @property
    def arrays(self) -> tuple[ArrayArg, ...]:
        return (*self.inputs, *self.outputs)

    @property
    def c_symbols(self) -> dict[str, str]:
        """The header's name of each symbol."""
        return {s.name: name for s, name in self.symbols}


def make_interface(
    prefix: str,
    program: Program,
    signature: Signature,
    weights: Weights,
    arena: int | None,
    side_file: bool,
    threads: bool,
) -> Interface:
    """The interface of a compiled program.

    Args:
        arena: the bytes that a call needs, where no symbol decides them
    """
    pairs = [*signature.inputs, *signature.outputs]
    symbols = program.symbols
    names = c_names([*(name for name, _ in pairs), *(s.name for s in symbols)])
    arrays = [ArrayArg(name, c, t) for (name, t), c in zip(pairs, names, strict=False)]
    entries = c_names(name for name, _ in weights.state)
    state = [
        StateEntry(name, c, (e := program.store[name]).type, e.kind, e.trainable, at)
        for (name, at), c in zip(weights.state, entries, strict=True)
    ]
    return Interface(
        prefix,
        tuple(arrays[: len(signature.inputs)]),
        tuple(arrays[len(signature.inputs) :]),
        tuple(zip(symbols, names[len(pairs) :], strict=True)),
        signature.ranges,
        tuple(state),
        weights.state_bytes,
        weights.block.size,
        weights.digest,
        arena,
        side_file,
        threads,
    )


_C_TYPES = {
    "f64": "double", "f32": "float", "f16": "uint16_t", "bf16": "uint16_t", "i64": "int64_t", "i32": "int32_t",
    "i16": "int16_t", "i8": "int8_t", "u64": "uint64_t", "u32": "uint32_t", "u8": "uint8_t", "bool": "uint8_t",
}  # fmt: skip


def c_type(dtype: DType) -> str:
    """The C type of an element; f16 and bf16 as their bits, bool as 0 or 1."""
    return _C_TYPES[dtype.name]


def c_dim(dim: Dim, names: dict[str, str]) -> str:
    """A dim as a C expression of int64_t, for symbols within their ranges."""
    if isinstance(dim, int):
        return str(dim)
    terms: list[str] = []
    for monomial, coefficient in dim.terms:
        factors = (
            []
            if coefficient == 1 and monomial
            else [f"({coefficient})" if coefficient < 0 else str(coefficient)]
        )
        for atom, power in monomial:
            text = names[atom.name] if isinstance(atom, Symbol) else _function(atom, names)
            factors += [text] * power
        terms.append(" * ".join(factors))
    return " + ".join(terms)


def _function(f: Func, names: dict[str, str]) -> str:
    a, b = f"({c_dim(f.a, names)})", f"({c_dim(f.b, names)})"
    plain = bounds(f.a)[0] >= 0 and bounds(f.b)[0] > 0
    match f.name:
        case "min":
            return f"({a} < {b} ? {a} : {b})"
        case "max":
            return f"({a} > {b} ? {a} : {b})"
        case "ceildiv":
            return f"(-{_floored(f'(-{a})', b)})"
        case "floordiv":
            return f"({a} / {b})" if plain else _floored(a, b)
        case _:
            return f"({a} % {b})" if plain else f"({a} - {b} * {_floored(a, b)})"


def _floored(a: str, b: str) -> str:
    """The quotient rounded down; C rounds it to 0."""
    return f"({a} / {b} - (({a} % {b} != 0) & (({a} < 0) != ({b} < 0))))"
