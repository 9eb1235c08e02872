"""`nv.grad` and `nv.value_and_grad`: functions and programs to functions and programs of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast, overload

from .frontend.tensor import Tensor, as_tensor
from .frontend.trace import trace
from .frontend.tracing import user_lines
from .ir import build as b
from .ir.errors import TraceError
from .ir.graph import Graph, Value, make_one
from .ir.ops.move import Reshape
from .ir.ops.recurrent import Recurrence
from .ir.program import Program
from .ir.types import TensorType
from .passes.autodiff import gradients, shared
from .passes.autodiff.explain import ChainRule, chain_rule
from .passes.decompose import apart

__all__ = ["argument_numbers", "explain_grad", "grad", "own", "value_and_grad"]

Function = Callable[..., Any]
Argnums = int | Sequence[int]


@overload
def grad(f: Program, argnums: Argnums = 0) -> Program: ...
@overload
def grad(f: Function, argnums: Argnums = 0) -> Function: ...
def grad(f: Any, argnums: Argnums = 0) -> Any:
    """The gradient of a scalar function by some of its arguments.

    Args:
        f:       a function of tensors, or a program whose main graph returns one float scalar
        argnums: by which argument, or arguments

    Returns:
        a function (to be traced, or differentiated again), or a program; a tuple where argnums is a sequence

    Raises:
        TraceError: f returns no float scalar, or there is no such argument
    """
    if isinstance(f, Program):
        return _program(f, argnums, with_value=False)
    both: Function = value_and_grad(cast("Function", f), argnums)

    @wraps(f)
    def slope(*args: Any) -> Any:
        return both(*args)[1]

    return slope


@overload
def value_and_grad(f: Program, argnums: Argnums = 0) -> Program: ...
@overload
def value_and_grad(f: Function, argnums: Argnums = 0) -> Function: ...
def value_and_grad(f: Any, argnums: Argnums = 0) -> Any:
    """The value and the gradient; see `grad`."""
    if isinstance(f, Program):
        return _program(f, argnums, with_value=True)

    @wraps(f)
    def both(*args: Any) -> Any:
        tensors = [Tensor(own(as_tensor(a).value)) for a in args]
        wanted = argument_numbers("grad", argnums, len(tensors))
        value = as_tensor(f(*tensors)).value
        _check_scalar(value.type)
        # recurrent layers become loops first, so that their derivative goes over the same loop and its residuals
        value, *by = apart([value, *(tensors[k].value for k in wanted)], Recurrence)
        found = tuple(map(Tensor, _slopes(value, by)))
        return Tensor(value), found[0] if isinstance(argnums, int) else found

    return both


def own(value: Value) -> Value:
    """The value under an identity of its own, so that f(x, x) has a gradient by each argument."""
    return make_one(Reshape(value.type.shape), value)


def _slopes(output: Value, by: Sequence[Value]) -> list[Value]:
    """Gradients, 0 where the output does not depend on a value."""
    for value in by:
        if not value.type.dtype.is_float:
            raise TraceError(f"grad: an argument is {value.type}, expected float", where=user_lines())
    found = gradients(output, by)
    return [b.full_like(v, 0) if g is None else g for g, v in zip(found, by, strict=True)]


def argument_numbers(name: str, argnums: Argnums, count: int) -> list[int]:
    """The arguments meant, counted from the front.

    Raises:
        TraceError: there is no such argument
    """
    given = [argnums] if isinstance(argnums, int) else list(argnums)
    for k in given:
        if not -count <= k < count:
            raise TraceError(
                f"{name}: argnums has {k}, the function takes {count} arguments", where=user_lines()
            )
    return [k % count for k in given]


def _check_scalar(type: TensorType) -> None:
    if type.shape != () or not type.dtype.is_float:
        raise TraceError(
            f"grad: the function returns {type}, expected a float scalar",
            where=user_lines(),
            hint="use .mean() or .sum()",
        )


def _program(program: Program, argnums: Argnums, *, with_value: bool) -> Program:
    graph = program.main
    if len(graph.outputs) != 1:
        raise TraceError(
            f"grad: graph {graph.name} returns {len(graph.outputs)} values, expected one float scalar"
        )
    _check_scalar(graph.outputs[0].type)
    names = [name for name, _ in graph.updates]
    output, *updates = apart([*graph.outputs, *(value for _, value in graph.updates)], Recurrence)
    slopes = _slopes(output, [graph.inputs[k] for k in argument_numbers("grad", argnums, len(graph.inputs))])
    outputs = [output, *slopes] if with_value else slopes
    grown = shared(Graph(graph.name, graph.inputs, outputs, list(zip(names, updates, strict=True))))
    return Program(f"{program.name}_grad", [grown], program.store)


def explain_grad(f: Any, *specs: Any) -> ChainRule:
    """The chain rule of a module, function or program, op by op, as equations with the shapes filled in.

    Args:
        f:     what is differentiated; a result that is no scalar is summed
        specs: one type an input; none for a program

    Returns:
        what prints as text, and has its steps one by one

    Raises:
        InputError: the first result is no float
    """
    program = f if isinstance(f, Program) else trace(f, *specs)
    return chain_rule(program.main)
