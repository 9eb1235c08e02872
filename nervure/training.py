"""`nv.training_step`: forward, loss, backward and update as one program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .frontend.nn.imported import ProgramModule
from .frontend.nn.module import Module
from .frontend.optim import Clip, Optimizer
from .frontend.tensor import Tensor, as_tensor
from .frontend.trace import (
    input_types,
    model_name,
    name_values,
    named_entries,
    parameter_names,
    required_inputs,
    store_of,
)
from .frontend.tracing import Tracing, tracing, user_lines
from .ir.errors import NervureError, TraceError
from .ir.graph import Graph, Value
from .ir.ops.recurrent import Recurrence
from .ir.program import Program
from .ir.store import Entry
from .passes.autodiff import gradients, shared
from .passes.decompose import apart

__all__ = ["training_step"]


Trainable = Callable[[str], bool] | Iterable[str] | None
"""Which parameters learn: a test of their names, or names of parameters and of modules that hold them."""


def training_step(
    model: Module | Program,
    loss: Callable[..., Any],
    optimizer: Optimizer,
    *specs: Any,
    clip: Clip | None = None,
    trainable: Trainable = None,
) -> Program:
    """One step of training as a program: it returns the loss and updates the store.

    Args:
        model:     a module; its trainable parameters are what learns. A program too, such as an imported one
        loss:      a function of the model's output and of what follows the model's inputs, giving a scalar
        optimizer: makes new weights from gradients
        specs:     types of the model's inputs, those without a default, then of the loss's targets; of a program,
                   which has its inputs' types, the targets' alone
        clip:      from gradients to those that the optimiser gets, such as ``optim.clip_norm(1.0)``
        trainable: which of the parameters learn, such as ``["head", "body.0.bias"]``, or a function of the name;
                   all that are not frozen, if not given. No gradient is computed for the others, and they have no
                   state

    Returns:
        a program with the graph ``step``, whose store is the model's with the optimiser's state added

    Raises:
        TraceError: the loss is no scalar, nothing is trainable, or a name in `trainable` is no part of the model
    """
    name = model.name if isinstance(model, Program) else model_name(model)
    if clip is not None and not callable(clip):
        hint = "make one: clip=optim.clip_norm(1.0)"
        raise NervureError(
            f"training_step: clip is {clip}, expected a function of gradients", where=user_lines(), hint=hint
        )
    if isinstance(model, Program):
        model = ProgramModule(model)
        specs = (*model.inputs, *specs)
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
        cost = _with_loops(state, cost)
        _update(state, cost, optimizer, clip, _chosen(trainable, state.names.values()))
        result = cost.value
    name_values(model, state, [result])
    result.name = result.name or "loss"
    graph = shared(Graph("step", inputs, [result], [(state.name(e), v) for e, v in state.updates.items()]))
    return Program(f"{name}_step", [graph], store_of(model, state))


def _with_loops(state: Tracing, cost: Tensor) -> Tensor:
    """The loss with recurrent layers as loops, so that their derivative goes over the same loop and its residuals."""
    held = list(state.updates)
    first, *rest = apart([cost.value, *(state.updates[e] for e in held)], Recurrence)
    for entry, value in zip(held, rest, strict=True):
        state.update(entry, value)
    return Tensor(first)


def _update(
    state: Tracing, cost: Tensor, optimizer: Optimizer, clip: Clip | None, chosen: Callable[[str], bool]
) -> None:
    """Enter the new contents of all parameters that the loss depends on, and of the optimiser's state."""
    learning = {
        n: e
        for e, n in state.names.items()
        if e.kind == "param" and e.trainable and e in state.reads and chosen(n)
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
    if clip is not None:
        slopes = dict(clip(slopes))
    params = {name: learning[name] for name in slopes}
    entries: dict[str, Entry] = dict(optimizer.init_state(params))
    kept = {name: Tensor(state.read(entry)) for name, entry in entries.items()}
    weights, moved = optimizer.update({name: Tensor(reads[name]) for name in slopes}, slopes, kept)
    for name, weight in weights.items():
        state.update(params[name], weight.value)
    for name, content in moved.items():
        state.update(entries[name], content.value)


def _chosen(trainable: Trainable, names: Iterable[str]) -> Callable[[str], bool]:
    """The test of parameters' names that `trainable` means."""
    if trainable is None:
        return lambda name: True
    if callable(trainable):
        return trainable
    wanted, known = [trainable] if isinstance(trainable, str) else list(trainable), list(names)
    for part in wanted:
        if not any(_within(name, part) for name in known):
            raise TraceError(
                f"training_step: trainable names {part}, which the model has not", where=user_lines()
            )
    return lambda name: any(_within(name, part) for part in wanted)


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _target_names(loss: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(loss).parameters)[1:]
    except (TypeError, ValueError):
        names = []
    return [names[k] if k < len(names) else f"target{k}" for k in range(count)]


def _distinct(names: list[str]) -> list[str]:
    """Names made different by a number where the model and the loss chose the same."""
    return [f"{name}_{names[:k].count(name)}" if name in names[:k] else name for k, name in enumerate(names)]
