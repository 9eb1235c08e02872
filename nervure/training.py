"""`nv.training_step`: forward, loss, backward and update as one program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .frontend.nn.module import Module
from .frontend.optim import Optimizer
from .frontend.tensor import Tensor, as_tensor
from .frontend.trace import (
    input_types,
    model_name,
    named_entries,
    parameter_names,
    required_inputs,
    store_of,
)
from .frontend.tracing import Tracing, tracing, user_lines
from .ir.errors import TraceError
from .ir.graph import Graph, Value
from .ir.program import Program
from .ir.store import Entry
from .passes.autodiff import gradients

__all__ = ["training_step"]


def training_step(model: Module, loss: Callable[..., Any], optimizer: Optimizer, *specs: Any) -> Program:
    """One step of training as a program: it returns the loss and updates the store.

    Args:
        model:     a module; its trainable parameters are what learns
        loss:      a function of the model's output and of what follows the model's inputs, giving a scalar
        optimizer: makes new weights from gradients
        specs:     types of the model's inputs, those without a default, then of the loss's targets

    Returns:
        a program with the graph ``step``, whose store is the model's with the optimiser's state added

    Raises:
        TraceError: the loss is no scalar, or nothing is trainable
    """
    types = input_types(specs)
    own = min(required_inputs(model), len(types))
    labels = _distinct([*parameter_names(model, own), *_target_names(loss, len(types) - own)])
    state = Tracing(names=named_entries(model), training=True)
    inputs = [Value(t, name=n) for t, n in zip(types, labels, strict=True)]
    with tracing(state):
        tensors = list(map(Tensor, inputs))
        cost = as_tensor(loss(model(*tensors[:own]), *tensors[own:]))
        if cost.shape != () or not cost.dtype.is_float:
            raise TraceError(
                f"training_step: the loss is {cost.type}, expected a float scalar",
                where=user_lines(),
                hint="use .mean() or .sum()",
            )
        _update(state, cost, optimizer)
        result = cost.value
    result.name = result.name or "loss"
    graph = Graph("step", inputs, [result], [(state.name(e), v) for e, v in state.updates.items()])
    return Program(f"{model_name(model)}_step", [graph], store_of(model, state))


def _update(state: Tracing, cost: Tensor, optimizer: Optimizer) -> None:
    """Enter the new contents of all parameters that the loss depends on, and of the optimiser's state."""
    learning = {
        n: e for e, n in state.names.items() if e.kind == "param" and e.trainable and e in state.reads
    }
    if not learning:
        raise TraceError(
            "training_step: nothing to train, the loss depends on no trainable parameter",
            where=user_lines(),
            hint="unfreeze() some of the model",
        )
    reads = {name: state.reads[entry] for name, entry in learning.items()}
    found = dict(zip(reads, gradients(cost.value, list(reads.values())), strict=True))
    slopes = {name: Tensor(g) for name, g in found.items() if g is not None}
    params = {name: learning[name] for name in slopes}
    entries: dict[str, Entry] = dict(optimizer.init_state(params))
    kept = {name: Tensor(state.read(entry)) for name, entry in entries.items()}
    weights, moved = optimizer.update({name: Tensor(reads[name]) for name in slopes}, slopes, kept)
    for name, weight in weights.items():
        state.update(params[name], weight.value)
    for name, content in moved.items():
        state.update(entries[name], content.value)


def _target_names(loss: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(loss).parameters)[1:]
    except (TypeError, ValueError):
        names = []
    return [names[k] if k < len(names) else f"target{k}" for k in range(count)]


def _distinct(names: list[str]) -> list[str]:
    """Names made different by a number where the model and the loss chose the same."""
    return [f"{name}_{names[:k].count(name)}" if name in names[:k] else name for k, name in enumerate(names)]
