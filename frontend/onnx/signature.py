"""The inputs of a model as values of a program: types, symbols for open sizes, constants where they are bound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.dims import Dim, Symbol, free_symbols, substitute, symbol
from ...ir.errors import InputError
from ...ir.graph import Value
from ...ir.types import TensorType
from ..trace import input_types
from .elements import dtype_named
from .known import Known
from .model import Model
from .report import Refusal, Refused

__all__ = ["OPEN", "Signature"]

OPEN = (1, 1 << 20)
"""The range of a size that the model leaves open."""


class Signature:
    """The model's inputs, and what is found out about their symbols from one try to the next.

    Attributes:
        bound: inputs that are constants, by name
    """

    def __init__(
        self, model: Model, inputs: Mapping[str, Any], bind: Mapping[str, Any], dims: Mapping[str, Any]
    ) -> None:
        self.model = model
        self.protos = {i.name: i for i in model.graph.input if i.name not in model.weights}
        for what, given in (("inputs", inputs), ("bind", bind)):
            for name in given:
                if name not in self.protos:
                    raise InputError(
                        f"{model.label}: {what} names {name!r}, the inputs are {', '.join(self.protos) or 'none'}"
                    )
        self.bound = {name: Known.of(self._array(name, value)) for name, value in bind.items()}
        self.given = dict(zip(inputs, input_types(list(inputs.values())), strict=True))
        self.replaced: dict[str, Dim] = {}
        self.types: dict[str, TensorType | Refused] = {}
        names: dict[str, str] = {}
        for name, proto in self.protos.items():
            if name not in bind:
                self.types[name] = self.given.get(name) or self._type(proto, names)
        self._set(dims, names)

    def values(self) -> tuple[dict[str, Value], list[Refusal]]:
        """The inputs by name, and those whose types are refused."""
        found: dict[str, Value] = {}
        missing: list[Refusal] = []
        for name, t in self.types.items():
            if isinstance(t, Refused):
                missing.append(Refusal(name, "input", self.model.opset, t.why, t.hint))
            else:
                shape = tuple(self._resolved(d) for d in t.shape)
                found[name] = Value(t.with_shape(shape), name=name)
        return found, missing

    def replace(self, name: str, dim: Dim) -> None:
        """From now on the symbol is this dim."""
        for other, known in self.replaced.items():
            self.replaced[other] = substitute(known, {name: dim})
        self.replaced[name] = dim

    def _resolved(self, dim: Dim) -> Dim:
        return substitute(dim, self.replaced)

    def _array(self, name: str, value: Any) -> Any:
        """A bound value in the input's element type."""
        array, tensor = np.asarray(value), self.protos[name].type.tensor_type
        return array.astype(dtype_named(tensor.elem_type).numpy, casting="same_kind", copy=False)

    def _type(self, proto: Any, names: dict[str, str]) -> TensorType | Refused:
        """The type that the model gives an input; equal names are equal symbols."""
        kind = proto.type.WhichOneof("value")
        if kind != "tensor_type":
            return Refused(f"is a {str(kind).removesuffix('_type')}, nervure has tensors only")
        tensor = proto.type.tensor_type
        try:
            dtype = dtype_named(tensor.elem_type)
        except Refused as refused:
            return refused
        if not tensor.HasField("shape"):
            return Refused(
                "its rank is not said", f"give its type: inputs={{{proto.name!r}: '{dtype}[...]'}}"
            )
        shape: list[Dim] = []
        for axis, d in enumerate(tensor.shape.dim):
            if d.WhichOneof("value") == "dim_value" and d.dim_value != -1:
                shape.append(int(d.dim_value))
            else:
                named = re.search("[A-Za-z0-9]", d.dim_param)  # "?" is how some write a size without a name
                label = d.dim_param if named else f"{proto.name}_{axis}"
                word = names.setdefault(label, self._word(label, names))
                shape.append(symbol(word, *OPEN))
        return TensorType(dtype, tuple(shape))

    def _word(self, label: str, names: Mapping[str, str]) -> str:
        """A symbol's name for what the model calls a size."""
        base = re.sub(r"[^A-Za-z0-9_]", "_", label).strip("_") or "d"
        base = base if base[0].isalpha() else f"d{base}"
        taken = {
            *names.values(),
            *(s.name for t in self.given.values() for d in t.shape for s in free_symbols(d)),
        }
        word, count = base, 0
        while word in taken or word in WORDS:
            count += 1
            word = f"{base}_{count}"
        return word

    def _set(self, dims: Mapping[str, Any], names: Mapping[str, str]) -> None:
        known = {s.name: s for t in self.types.values() if isinstance(t, TensorType) for s in symbols_of(t)}
        for label, wanted in dims.items():
            word = names.get(label, label)
            if word not in known:
                raise InputError(
                    f"{self.model.label}: dims names {label!r}, the open sizes are {', '.join(names) or 'none'}"
                )
            if isinstance(wanted, int):
                self.replace(word, wanted)
            else:
                lo, hi = (int(v) for v in wanted)
                self.replace(word, symbol(word, lo, hi))


WORDS = ("min", "max", "mod", "floordiv", "ceildiv", "in", "sym")
"""Words of the text form that no symbol may have."""


def symbols_of(t: TensorType) -> list[Symbol]:
    return [s for d in t.shape for s in free_symbols(d)]
