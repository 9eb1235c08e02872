"""`nv.training_step`: forward, loss, backward and update as one program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .frontend.nn.module import Module
from .frontend.optim import Optimizer
from .frontend.tensor import Tensor, as_tensor
from .frontend.trace import input_types, model_name, named_entries, parameter_names, store_of
from .frontend.tracing import Tracing, tracing
from .ir import build as b
from .ir.errors import TraceError
from .ir.graph import Graph, Value
from .ir.program import Program
from .passes.autodiff import gradients

__all__ = ["training_step"]


def training_step(model: Module, loss: Callable[..., Any], optimizer: Optimizer, *specs: Any) -> Program:
    """One step of training as a program: it returns the loss and updates the store.

    Args:
        model:     a module; its trainable parameters are what learns
        loss:      a function of the model's output and of what follows the model's inputs, giving a scalar
        optimizer: makes new weights from gradients
        specs:     types of the model's inputs, then of the loss's targets

    Returns:
        a program with the graph ``step``, whose store is the model's with the optimiser's state added

    Raises:
        TraceError: the loss is no scalar, or nothing is trainable
    """
    types = input_types(specs)
    names = named_entries(model)
    own = len(parameter_names(model, _arity(model, len(types))))
    labels = [*parameter_names(model, own), *_target_names(loss, len(types) - own)]
    state = Tracing(names=dict(names), training=True)
    inputs = [Value(t, name=n) for t, n in zip(types, labels, strict=True)]
    with tracing(state):
        tensors = list(map(Tensor, inputs))
        output = model(*tensors[:own])
        cost = as_tensor(loss(output, *tensors[own:]))
        if cost.shape != () or not cost.dtype.is_float:
            raise TraceError(f"the loss is {cost.type}, expected a float scalar", hint="use .mean() or .sum()")
        trained = [(e, n) for e, n in names.items() if e.kind == "param" and e.trainable]
        if not trained:
            raise TraceError("nothing to train: the model has no trainable parameter", hint="unfreeze some of it")
        reads = [state.read(e) for e, _ in trained]
        found = gradients(cost.value, reads)
        full = [b.full_like(r, 0) if g is None else g for g, r in zip(found, reads, strict=True)]
        optimizer.update(state, [n for _, n in trained], [e for e, _ in trained], full)
        result = cost.value
    result.name = result.name or "loss"
    graph = Graph("step", inputs, [result], [(state.name(e), v) for e, v in state.updates.items()])
    return Program(f"{model_name(model)}_step", [graph], store_of(model, state))


def _arity(model: Module, given: int) -> int:
    """How many of the inputs are the model's: its parameters without a default."""
    parameters = list(inspect.signature(type(model).__call__).parameters.values())[1:]
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if len(plain) > given:
        raise TraceError(f"{type(model).__name__} takes {len(plain)} inputs, {given} types are given")
    return len(plain)


def _target_names(loss: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(loss).parameters)[1:]
    except (TypeError, ValueError):
        names = []
    return [names[k] if k < len(names) else f"target{k}" for k in range(count)]
