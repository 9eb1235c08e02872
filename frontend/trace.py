"""Trace a module or a function of tensors into a program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..ir.dims import Dim
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from ..ir.program import Program
from ..ir.store import Entry, Store
from ..ir.text import parse_type
from ..ir.types import TensorType, common_symbols, dtype_of
from .nn.module import Module
from .random import drawing_from
from .tensor import Operand, Tensor, as_tensor
from .tracing import Tracing, tracing, user_lines

__all__ = [
    "input_types",
    "model_name",
    "name_values",
    "named_entries",
    "parameter_names",
    "required_inputs",
    "store_of",
    "trace",
    "values_of",
]

Spec = Any
"""A type as text, a TensorType, or an array whose type is meant."""


def trace(
    model: Module | Callable[..., Any],
    *specs: Spec,
    name: str | None = None,
    rng: np.random.Generator | None = None,
    training: bool = False,
    state: Tracing | None = None,
) -> Program:
    """The program of a module, or of a function of tensors.

    Args:
        model:    called once, with one tensor a spec
        specs:    types such as ``"f32[B,1,28,28]"`` or ``"f32[B:1..64,784]"``; equal names are equal symbols; an
                  example array stands for its type
        name:     the program's; the model's own if not given
        rng:      where modules made inside draw their weights; the generator of `nv.seed` if not given
        training: whether batch norm and dropout behave as in training, with their updates
        state:    where the trace is kept, for those who look at it, or at what there was when it failed

    Returns:
        a program with the graph ``forward``; its store shares the module's parameters by reference

    Raises:
        TraceError: the function does something that no graph can hold
        TypeInferenceError: shapes or element types do not fit; with the user's line
    """
    if not callable(model):
        raise TraceError(f"{type(model).__name__} is no module or function", where=user_lines())
    types = input_types(specs)
    state = Tracing(names=named_entries(model), training=training) if state is None else state
    names = parameter_names(model, len(types))
    inputs = [Value(t, name=n) for t, n in zip(types, names, strict=True)]
    with tracing(state), drawing_from(rng):
        outputs = values_of(model(*map(Tensor, inputs)))
    name_values(model, state, outputs)
    graph = Graph("forward", inputs, outputs, ((state.name(e), v) for e, v in state.updates.items()))
    return Program(name or model_name(model), [graph], store_of(model, state))


def name_values(model: object, state: Tracing, outputs: Sequence[Value]) -> None:
    """Name what modules gave by their paths, ``conv1`` or ``linear0``; results of the program keep their own names."""
    paths = _paths(_unwrapped(model))
    for layer in state.layers:
        path = paths.get(cast(Module, layer.module), "")
        if path and len(layer.outputs) == 1:
            (value,) = layer.outputs
            if value.node is not None and not value.name and value not in outputs:
                value.name = f"{type(layer.module).__name__.lower()}{path}" if path.isdigit() else path


def _paths(bare: object) -> dict[Module, str]:
    """The dotted path of each module, below the variable's name where a function closes over several."""
    if isinstance(bare, Module):
        return {m: p for p, m in bare.named_modules()}
    held = _modules_of(bare)
    found: dict[Module, str] = {}
    for variable, module in held.items():
        for path, inner in module.named_modules():
            found.setdefault(inner, path if len(held) == 1 else f"{variable}.{path}" if path else variable)
    return found


def store_of(model: object, state: Tracing) -> Store:
    """All entries of a module, then others that the trace met."""
    own = {}
    if isinstance(_unwrapped(model), Module):
        own = {name: entry for entry, name in named_entries(model).items()}
    return Store({**own, **state.entries})


def input_types(specs: Sequence[Spec]) -> list[TensorType]:
    """The types of specs, with symbols shared by name.

    Raises:
        ParseError: a text is no type, or gives a symbol a second range
        TraceError: something is neither text, nor a type, nor an array
    """
    symbols: dict[str, Dim] = {}
    found: list[TensorType] = []
    for spec in specs:
        if isinstance(spec, str):
            found.append(parse_type(spec, symbols))
        elif isinstance(spec, TensorType):
            found.append(spec)
        elif hasattr(spec, "dtype") and hasattr(spec, "shape"):
            found.append(TensorType(dtype_of(spec), tuple(int(d) for d in spec.shape)))
        else:
            raise TraceError(
                f"{type(spec).__name__} is no type",
                where=user_lines(),
                hint='write "f32[B,784]", or give an example array',
            )
        symbols |= common_symbols(tuple(found))
    return found


def named_entries(model: object) -> dict[Entry, str]:
    """The names of store entries: a module's dotted paths; a function's by the modules that it closes over."""
    bare = _unwrapped(model)
    if isinstance(bare, Module):
        return {entry: name for name, entry in bare.named_entries()}
    modules = _modules_of(bare)
    names: dict[Entry, str] = {}
    for variable, module in modules.items():
        for name, entry in module.named_entries():
            names.setdefault(entry, name if len(modules) == 1 else f"{variable}.{name}")
    return names


def _unwrapped(model: object) -> object:
    """What a wrapper such as `nv.grad` stands for."""
    return inspect.unwrap(model) if callable(model) else model


def _modules_of(function: object) -> dict[str, Module]:
    """Modules that a Python function uses as free or global variables, by the variable's name."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Module):
        return {"self": owner}
    if not inspect.isfunction(function):
        return {}
    used = inspect.getclosurevars(function)
    variables = {**used.globals, **used.nonlocals}
    return {name: value for name, value in variables.items() if isinstance(value, Module)}


def values_of(result: Any) -> list[Value]:
    """What a traced function returned, as values; tuples within tuples are flattened.

    Raises:
        TraceError: it is neither a tensor nor a tuple of tensors
    """
    items: list[Any] = [result]
    while (k := next((k for k, i in enumerate(items) if isinstance(i, tuple | list)), None)) is not None:
        items[k : k + 1] = cast("Sequence[Any]", items[k])
    for item in items:
        if not isinstance(item, Operand | Entry | np.ndarray | np.generic):
            raise TraceError(
                f"the traced function returned {type(item).__name__}, expected a tensor or a tuple of tensors"
            )
    return [as_tensor(item).value for item in items]


def _parameters(model: Any) -> list[inspect.Parameter]:
    """The Python parameters that inputs go to."""
    try:
        found = list(inspect.signature(model).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("x", inspect.Parameter.VAR_POSITIONAL)]
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    return [p for p in found if p.kind in kinds]


def required_inputs(model: Any) -> int:
    """How many inputs the model cannot do without."""
    return sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in _parameters(model))


def parameter_names(model: Any, count: int) -> list[str]:
    """Names for the inputs: those of the Python parameters.

    Raises:
        TraceError: the model takes fewer or more inputs than there are types
    """
    parameters = _parameters(model)
    plain = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    required = required_inputs(model)
    if count < required or (rest is None and count > len(plain)):
        takes = f"{required}" if required == len(plain) else f"{required} to {len(plain)}"
        more = "or more " if rest is not None else ""
        plural = "" if takes == "1" and not more else "s"
        raise TraceError(
            f"{model_name(model)} takes {takes} {more}input{plural} ({', '.join(plain)}), got {count} types",
            where=user_lines(),
        )
    names = plain[:count]
    return names + [f"{rest}{k}" for k in range(count - len(names))]


def model_name(model: Any) -> str:
    """A word for the program: the class of a module or the function's name, in lower case."""
    given = type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "program")
    word = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in given).strip("_").lower()
    return word if word[:1].isalpha() else f"program{word and '_'}{word}"
