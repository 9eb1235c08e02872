"""`import_onnx`: an ONNX model as a program.

Each node becomes ops of the IR by the function that the table has for it. What is known while the model is read,
constants and arithmetic on shapes, is computed at once and leaves no node. Sizes that the model's types leave open are
symbols; where the nodes tell more about them (two are equal, one has a least size) the import begins again with that.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...ir.errors import InputError
from ...ir.graph import Graph, Value
from ...ir.program import Program
from ...ir.store import Store
from ..tracing import Tracing, tracing
from . import families
from .load import load_model, model_label
from .model import Model
from .node import Replace
from .report import ImportReport, OnnxImportError, Refusal
from .scope import Scope, Weight
from .signature import Signature
from .walk import Walk

__all__ = ["check_onnx", "import_onnx"]

MAX_TRIES = 64
"""How often an import begins again because the nodes tell more about a symbol."""


def import_onnx(
    source: Any,
    *,
    inputs: Mapping[str, Any] | None = None,
    bind: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
    name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    max_memory: int | None = None,
) -> Program:
    """The program of an ONNX model.

    Initialisers become entries of the store under their names, float ones trainable (a batch norm's statistics are
    state); numbers and short integer tensors become constants. Open sizes become symbols. Each node's name is the
    origin of what it turns into.

    Args:
        source: a path, the bytes of a file, or an `onnx.ModelProto`
        inputs: types in place of the model's own, by input, such as ``{"x": "f32[B,3,224,224]"}``
        bind:   values of inputs, by name: they are constants of the program, for shapes, axes and the like that the
                model computes from inputs
        dims:   what a size is that the model leaves open, by its name: a number, or its range as (low, high)
        name:   the program's; the graph's own if not given
        folder: where external data lies; the file's own if a path is given
        max_memory: bytes that one value may take at the smallest sizes of the symbols; a node that makes more is refused

    Returns:
        a program with the graph ``forward``, whose inputs and outputs are the model's, in its order

    Raises:
        InputError: the source is no ONNX model, or an argument names nothing in it
        OnnxImportError: nodes cannot be imported; it lists all of them, and has them as data in `report`
    """
    program, report = _import(source, folder, inputs or {}, bind or {}, dims or {}, name, max_memory)
    if program is None:
        raise OnnxImportError(report)
    return program


def check_onnx(
    source: Any,
    *,
    inputs: Mapping[str, Any] | None = None,
    bind: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    max_memory: int | None = None,
) -> ImportReport:
    """What a model is made of, and every node of it that cannot be imported; arguments as of `import_onnx`.

    Raises:
        InputError: the source is no ONNX model, or an argument names nothing in it
    """
    return _import(source, folder, inputs or {}, bind or {}, dims or {}, None, max_memory)[1]


def _import(
    source: Any,
    folder: str | os.PathLike[str] | None,
    inputs: Mapping[str, Any],
    bind: Mapping[str, Any],
    dims: Mapping[str, Any],
    name: str | None,
    max_memory: int | None,
) -> tuple[Program | None, ImportReport]:
    families.load()
    model = Model(load_model(source, folder=folder), model_label(source), max_memory)
    signature = Signature(model, inputs, bind, dims)
    for _ in range(MAX_TRIES):
        try:
            return _attempt(model, signature, name)
        except Replace as found:
            signature.replace(found.name, found.dim)
    raise InputError(
        f"{model.label}: the sizes of the inputs cannot be made out",
        hint="give them: inputs={'x': 'f32[...]'}",
    )


def _attempt(model: Model, signature: Signature, name: str | None) -> tuple[Program | None, ImportReport]:
    state = Tracing()
    refusals: list[Refusal] = []
    given, missing = signature.values()
    refusals += missing
    refusals += [Refusal(n, "initializer", model.opset, why) for n, why in model.unread.items()]
    with tracing(state):
        scope = Scope(state, state.root, versions=model.versions, inputs=frozenset(given))
        scope.names |= {**model.weights, **signature.bound, **given}
        scope.names |= {row.node: None for row in missing}
        walk = Walk(model, refusals)
        walk.nodes(model.graph.node, scope)
        outputs = walk.outputs(model.graph, scope)
    report = _report(model, list(given.values()), outputs, refusals)
    if refusals:
        return None, report
    graph = Graph("forward", given.values(), outputs)
    return Program(name or model.name, [graph], _store(model, state)), report


def _store(model: Model, state: Tracing) -> Store:
    """The entries that were read, in the order of the model's initialisers, then others."""
    order = {w.name: k for k, w in enumerate(model.weights.values()) if isinstance(w, Weight)}
    names = sorted(state.entries, key=lambda n: order.get(n, len(order)))
    return Store({n: state.entries[n] for n in names})


def _report(model: Model, inputs: list[Value], outputs: list[Value], refusals: list[Refusal]) -> ImportReport:
    names = [o.name for o in model.graph.output]
    return ImportReport(
        model.label,
        model.opset,
        tuple((v.name, str(v.type)) for v in inputs),
        () if refusals else tuple((n, str(v.type)) for n, v in zip(names, outputs, strict=True)),
        tuple(sorted(Counter(model.operators()).items())),
        tuple(refusals),
    )
