"""`nv.grad` and `nv.value_and_grad`: functions and programs to functions and programs of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from .frontend.tensor import Tensor, as_tensor
from .ir import build as b
from .ir.errors import TraceError
from .ir.graph import Graph
from .ir.program import Program
from .passes.autodiff import gradients

__all__ = ["grad", "value_and_grad"]

Function = Callable[..., Any]


@overload
def grad(f: Program, argnums: int | Sequence[int] = 0) -> Program: ...
@overload
def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function: ...
def grad(f: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The gradient of a scalar function by some of its arguments.

    Args:
        f:       a function of tensors, or a program whose main graph returns one float scalar
        argnums: by which argument, or arguments

    Returns:
        a function (to be traced, or differentiated again), or a program; a tuple where argnums is a sequence
    """
    if isinstance(f, Program):
        return _program(f, argnums, with_value=False)
    return lambda *args: value_and_grad(f, argnums)(*args)[1]


@overload
def value_and_grad(f: Program, argnums: int | Sequence[int] = 0) -> Program: ...
@overload
def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function: ...
def value_and_grad(f: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The value and the gradient; see `grad`."""
    if isinstance(f, Program):
        return _program(f, argnums, with_value=True)

    def both(*args: Any) -> Any:
        tensors = [as_tensor(a) for a in args]
        value = as_tensor(f(*tensors))
        if value.shape != () or not value.dtype.is_float:
            raise TraceError(f"grad: the function returns {value.type}, expected a float scalar", hint="use .mean() or .sum()")
        wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        by = [tensors[k].value for k in wanted]
        found = [Tensor(b.full_like(v, 0) if g is None else g) for g, v in zip(gradients(value.value, by), by, strict=True)]
        return value, found[0] if isinstance(argnums, int) else tuple(found)

    return both


def _program(program: Program, argnums: int | Sequence[int], *, with_value: bool) -> Program:
    graph = program.main
    if len(graph.outputs) != 1 or graph.outputs[0].type.shape != () or not graph.outputs[0].type.dtype.is_float:
        raise TraceError(f"grad: graph {graph.name} does not return one float scalar")
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    by = [graph.inputs[k] for k in wanted]
    found = [b.full_like(v, 0) if g is None else g for g, v in zip(gradients(graph.outputs[0], by), by, strict=True)]
    outputs = [*graph.outputs, *found] if with_value else found
    name = f"{program.name}_grad"
    return Program(name, [Graph(graph.name, graph.inputs, outputs, graph.updates)], program.store)
