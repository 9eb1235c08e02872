"""What an op is: a frozen dataclass whose fields are its attributes, and the table of all ops.

Equality, hash, printing, parsing and the attributes of an ONNX node all follow from the fields. An op answers,
in this order: its types (`infer`), its meaning (`evaluate`, plain numpy), what folds (`fold`), how exact it is
(`accuracy`), what it costs (`cost`). Derivatives stand in one table under ``passes/autodiff/``; how a backend
lowers an op stands in that backend.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .dims import Dim, product
from .errors import TypeInferenceError
from .types import Array, TensorType

if TYPE_CHECKING:
    from .graph import Graph, Value

__all__ = ["OPS", "Accuracy", "Cost", "Level", "Op", "Runner", "attributes", "register"]

Runner = Callable[["Graph", Sequence[Array]], tuple[Array, ...]]
"""Evaluates a region's graph on arrays; handed to `Op.evaluate` by the interpreter."""


class Accuracy(enum.Enum):
    """How exact an op is; a fold or a rewrite may be no looser than this.

    EXACT moves or compares bits; ROUNDED is one correctly rounded IEEE operation an element; REASSOCIATED sums in
    an order of its own; APPROXIMATE is within a few ulp of the true value.
    """

    EXACT = 0
    ROUNDED = 1
    REASSOCIATED = 2
    APPROXIMATE = 3


class Level(enum.Enum):
    """Who speaks the op: users write `NN` composites, autodiff and backends `CORE`; `CONTROL` has regions."""

    NN = "nn"
    CORE = "core"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one application costs: floating point or integer operations, and bytes read plus written."""

    flops: Dim
    bytes: Dim

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


class Op:
    """The base of every op; see the module's docstring for what a subclass declares."""

    mnemonic: ClassVar[str] = ""
    level: ClassVar[Level] = Level.CORE
    accuracy: ClassVar[Accuracy] = Accuracy.EXACT
    num_regions: ClassVar[int] = 0
    neutral: ClassVar[Mapping[str, Any]] = {}
    """Attributes with an item a spatial axis, and the item that changes nothing; text leaves them out where all are it."""

    def infer(self, *operands: Any, **_: Any) -> TensorType | tuple[TensorType, ...]:
        """The result types; one type where the op has one result. Ops with regions take ``regions=``."""
        raise NotImplementedError(self.mnemonic)

    def evaluate(self, *operands: Any, **_: Any) -> Array | tuple[Array, ...]:
        """The meaning, in numpy. Takes ``types=`` (the concrete result types); with regions, ``regions=`` and ``run=``."""
        raise NotImplementedError(self.mnemonic)

    def fold(self, *operands: Any, **_: Any) -> Value | None:
        """An existing value equal to the result, or None; creates nothing."""
        return None

    def decompose(self, *operands: Any, **_: Any) -> Value | tuple[Value, ...]:
        """The same in simpler ops; every `NN` op has this."""
        raise NotImplementedError(self.mnemonic)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        """Operations and bytes of one application; by default one operation a result element."""
        flops: Dim = 0
        for t in results:
            flops = flops + t.size
        return Cost(flops, traffic(operands, results))

    def error(self, message: str, *types: TensorType, hint: str | None = None) -> TypeInferenceError:
        """A type error of this op, with the operand types listed."""
        details = [f"operand {k}: {t}" for k, t in enumerate(types)]
        return TypeInferenceError(f"{self.mnemonic}: {message}", details=details, hint=hint)


def traffic(operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
    """Bytes of all operands and results together."""
    total: Dim = 0
    for t in (*operands, *results):
        total = total + product(t.shape) * t.dtype.bytes
    return total


OPS: dict[str, type[Op]] = {}
"""Every op by its mnemonic."""

T = TypeVar("T", bound=type[Op])


def register(op: T) -> T:
    """Class decorator: enters the op into `OPS` under its mnemonic."""
    assert op.mnemonic, op
    assert op.mnemonic not in OPS, f"two ops are named {op.mnemonic}"
    OPS[op.mnemonic] = op
    return op


def attributes(op: Op) -> list[tuple[str, Any, bool]]:
    """Name, value, and whether text may leave it out, for each attribute of an op."""
    found: list[tuple[str, Any, bool]] = []
    for f in fields(op):  # type: ignore[arg-type]
        value = getattr(op, f.name)
        idle = f.name in op.neutral and all(item == op.neutral[f.name] for item in value)
        found.append((f.name, value, idle or value == f.default))
    return found
