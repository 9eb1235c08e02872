"""Trace a module or a function of tensors into a program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..ir.dims import Dim
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from ..ir.program import Program
from ..ir.store import Entry, Store
from ..ir.text import parse_type
from ..ir.types import TensorType, dtype_of
from .nn.module import Module
from .tensor import Operand, Tensor, as_tensor
from .tracing import Tracing, tracing

__all__ = ["input_types", "named_entries", "trace", "values_of"]

Spec = Any
"""A type as text, a TensorType, or an array whose type is meant."""


def trace(model: Module | Callable[..., Any], *specs: Spec, name: str | None = None, training: bool = False) -> Program:
    """The program of a module, or of a function of tensors.

    Args:
        model:    called once, with one tensor a spec
        specs:    types such as ``"f32[B,1,28,28]"`` or ``"f32[B:1..64,784]"``; equal names are equal symbols; an
                  example array stands for its type
        name:     the program's; the model's own if not given
        training: whether batch norm and dropout behave as in training, with their updates

    Returns:
        a program with the graph ``forward``; its store shares the module's parameters by reference

    Raises:
        TraceError: the function does something that no graph can hold
        TypeInferenceError: shapes or element types do not fit; with the user's line
    """
    types = input_types(specs)
    state = Tracing(names=named_entries(model), training=training)
    inputs = [Value(t, name=n) for t, n in zip(types, parameter_names(model, len(types)), strict=True)]
    with tracing(state):
        outputs = values_of(model(*map(Tensor, inputs)))
    graph = Graph("forward", inputs, outputs, ((state.name(e), v) for e, v in state.updates.items()))
    return Program(name or model_name(model), [graph], store_of(model, state))


def store_of(model: object, state: Tracing) -> Store:
    """The entries of the module, then others that the trace met."""
    return Store({**{n: e for e, n in named_entries(model).items()}, **state.entries})


def input_types(specs: Sequence[Spec]) -> list[TensorType]:
    """The types of specs, with symbols shared by name."""
    symbols: dict[str, Dim] = {}
    found: list[TensorType] = []
    for spec in specs:
        if isinstance(spec, TensorType):
            found.append(spec)
        elif isinstance(spec, str):
            found.append(parse_type(spec, symbols))
        elif hasattr(spec, "dtype") and hasattr(spec, "shape"):
            found.append(TensorType(dtype_of(spec), tuple(int(d) for d in spec.shape)))
        else:
            raise TraceError(f"{type(spec).__name__} is no type", hint='write "f32[B,784]", or give an example array')
    return found


def named_entries(model: object) -> dict[Entry, str]:
    """The store entries of a module by their dotted paths; none for a function."""
    return {entry: name for name, entry in model.named_entries()} if isinstance(model, Module) else {}


def values_of(result: Any) -> list[Value]:
    """What a traced function returned, as values."""
    items = list(result) if isinstance(result, (tuple, list)) else [result]
    for item in items:
        if not isinstance(item, (Operand, int, float, bool)) and not hasattr(item, "dtype"):
            raise TraceError(
                f"the traced function returned {type(item).__name__}", hint="return a tensor or a tuple of tensors"
            )
    return [as_tensor(item).value for item in items]


def parameter_names(model: Any, count: int) -> list[str]:
    """Names for the inputs: those of the Python parameters."""
    function = type(model).__call__ if isinstance(model, Module) else model
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    if isinstance(model, Module):
        parameters = parameters[1:]
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if rest is None and parameters and len(plain) < count:
        raise TraceError(f"{model_name(model)} takes {len(plain)} inputs, {count} types are given")
    required = sum(p.default is p.empty for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    if count < required:
        raise TraceError(f"{model_name(model)} takes {required} inputs, {count} types are given")
    names = plain[:count]
    return names + [f"{rest or 'x'}{k}" for k in range(len(names), count)]


def model_name(model: Any) -> str:
    """A word for the program: the class of a module or the function's name, in lower case."""
    given = type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "program")
    word = "".join(c if c.isalnum() or c == "_" else "_" for c in given).lower()
    return word if word[:1].isalpha() or word[:1] == "_" else f"p{word}"
