"""What tests draw from: arrays by domain, and for every op the instances that its contract is held on."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nervure.ir.graph import Graph, Value, make
from nervure.ir.op import Op
from nervure.ir.types import Array, DType, TensorType

__all__ = ["Domain", "Instance", "arrays", "domain_array", "instances", "operands_of"]

Domain = str
"""What an operand's elements may be: any, positive, unit, nonzero, index:N (some beyond the ends), shift, key, below,
above, around (some 0), definite (matrices near a multiple of the identity)."""


@dataclass(frozen=True)
class Instance:
    """An op with the types of its operands.

    Args:
        domains: one an operand; "any" if not given
        regions: the bodies of a control op
        env:     values of the symbols
    """

    op: Op
    types: tuple[TensorType, ...] = ()
    domains: tuple[Domain, ...] = ()
    regions: tuple[Graph, ...] = ()
    env: dict[str, int] = field(default_factory=dict[str, int], hash=False)

    def __str__(self) -> str:
        fields = str(self.op).partition("(")[2].removesuffix(")")
        return f"{self.op.mnemonic}({fields})({', '.join(map(str, self.types))})"

    def apply(self) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Fresh operands, and the results of the op on them."""
        operands = operands_of(self)
        return operands, make(self.op, *operands, regions=self.regions)


def operands_of(instance: Instance) -> tuple[Value, ...]:
    """Fresh input values of the instance's types."""
    return tuple(Value(t, name=f"x{k}") for k, t in enumerate(instance.types))


def instances(mnemonic: str) -> list[Instance]:
    """The instances of one op; every op has some."""
    from op_tables import TABLE

    return TABLE[mnemonic]


def arrays(instance: Instance, seed: int = 0) -> list[Array]:
    """Operands for an instance: the same for the same seed, other ones for another instance."""
    rng = np.random.default_rng([seed, zlib.crc32(str(instance).encode())])
    domains = instance.domains or ("any",) * len(instance.types)
    return [
        domain_array(rng, domain, t.concrete(instance.env), t.dtype)
        for domain, t in zip(domains, instance.types, strict=True)
    ]


def domain_array(rng: np.random.Generator, domain: Domain, shape: tuple[int, ...], dtype: DType) -> Array:
    """Elements of a domain, as far from each other and from 0 as their number allows."""
    name, _, bound = domain.partition(":")
    if name == "index":
        found = rng.integers(-1, int(bound) + 1, size=shape)
        return (found % 2**8 if dtype.kind == "uint" else found).astype(dtype.numpy)
    if dtype.kind == "bool":
        return rng.random(shape) < 0.5
    if name == "forest":  # children before their parents
        rows = np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
        return rng.integers(-1, rows, size=shape).astype(dtype.numpy)
    if dtype.is_integer:
        return _integers(rng, name, shape, dtype)
    spread = _spread(rng, shape)
    if name == "definite":
        return (0.3 * spread + 3 * np.eye(*shape[-2:])).astype(dtype.numpy)
    return np.asarray(_FLOATS[name](spread)).astype(dtype.numpy)


def _integers(rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: DType) -> Array:
    if name == "key":
        return rng.integers(0, 2**32, size=shape, dtype=np.uint64).astype(dtype.numpy)
    low = 0 if dtype.kind == "uint" or name in ("positive", "shift") else -9
    found = rng.integers(low, 10, size=shape)
    if name == "nonzero":
        found = np.where(found == 0, 3, found)
    offset = {"below": -20, "above": 20}.get(name, 0) if dtype.kind == "int" else 0
    return (found + offset).astype(dtype.numpy)


def _spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers on (-2, 2), none within 0.1 of 0, at least 1/n apart from each other."""
    n = int(np.prod(shape, dtype=np.int64))
    places = (rng.permutation(n) + 0.3 + 0.4 * rng.random(n)) / max(n, 1)
    line = 3.8 * places - 1.9
    return (line + np.where(line < 0, -0.1, 0.1)).reshape(shape)


_FLOATS: dict[str, Callable[[Array], Array]] = {
    "any": lambda v: v,
    "nonzero": lambda v: v,
    "positive": lambda v: 0.3 + np.abs(v),
    "unit": lambda v: 0.45 * v,
    "below": lambda v: 0.4 * v - 1.1,
    "above": lambda v: 0.4 * v + 1.1,
    "around": lambda v: np.where(np.abs(v) < 0.7, 0, v),
}
