"""`nv.jacobian` and `nv.hessian`: all derivatives of all elements, row by row in one loop of the program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .frontend.tensor import Tensor, as_tensor
from .frontend.tracing import user_lines
from .gradient import argument_numbers, grad, own
from .ir import build as b
from .ir.errors import TraceError
from .ir.graph import Graph, Node, Value, collect, rebuild
from .ir.types import i64
from .passes.autodiff import gradients

__all__ = ["hessian", "jacobian"]

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """The derivatives of each element of a function's result by each element of an argument.

    Reverse mode: one sweep over the graph, as the body of a scan over the rows of the identity. What does not depend
    on the row is computed once.

    Equation: J[i, j] = d f(x)[i] / d x[j], with i and j positions of any number of axes
    Shapes:   f: T[X...] -> T[Y...], Y static; the Jacobian is T[Y..., X...]
    Args:     argnums: by which argument, or arguments
    Returns:  a function, to be traced or differentiated again; a tuple where argnums is a sequence
    Raises:   TraceError: f returns no single float tensor of static shape, or there is no such argument
    Source:   PyTorch torch.autograd.functional.jacobian, JAX jacrev
    """

    @wraps(f)
    def rows(*args: Any) -> Any:
        tensors = [Tensor(own(as_tensor(a).value)) for a in args]
        wanted = [tensors[k].value for k in argument_numbers("jacobian", argnums, len(tensors))]
        result = f(*tensors)
        if isinstance(result, tuple | list):
            raise _error("the function returns several tensors, expected one")
        found = tuple(map(Tensor, _rows(as_tensor(result).value, wanted)))
        return found[0] if isinstance(argnums, int) else found

    return rows


def hessian(f: Function, argnum: int = 0) -> Function:
    """The second derivatives of a scalar function by one of its arguments: the Jacobian of its gradient.

    Shapes: f: T[X...] -> T[]; the Hessian is T[X..., X...]
    Raises: TraceError: f returns no float scalar, or X is not static
    Source: PyTorch torch.autograd.functional.hessian
    """
    return jacobian(grad(f, argnum), argnum)


def _rows(y: Value, by: Sequence[Value]) -> list[Value]:
    """The Jacobian of y by each value."""
    if not y.type.dtype.is_float or not y.type.is_static:
        raise _error(f"the function returns {y.type}, expected a float tensor of static shape")
    for x in by:
        if not x.type.dtype.is_float:
            raise _error(f"an argument is {x.type}, expected float")
    row = Value(y.type, name="row")
    slopes = gradients([y], by, [row])
    found = [s if s is not None else b.full_like(x, 0) for s, x in zip(slopes, by, strict=True)]
    body, outer = _closed(row, found)
    count = math.prod(y.type.static_shape())
    identity = b.reshape(_identity(y, count), (count, *y.type.shape))
    stacked = b.scan(body, [], [identity], outer, count)
    return [b.reshape(s, (*y.type.shape, *x.type.shape)) for s, x in zip(stacked, by, strict=True)]


def _identity(y: Value, count: int) -> Value:
    across, down = (b.iota(i64, (count, count), axis) for axis in (1, 0))
    return b.cast(b.eq(across, down), y.type.dtype)


def _closed(row: Value, outputs: Sequence[Value]) -> tuple[Graph, list[Value]]:
    """What depends on the row as a graph of its own, with what it reads from outside as further inputs."""
    nodes = collect(outputs)
    inside: set[Value] = {row}
    held: set[Node] = set()
    for node in nodes:
        # constants are cheaper made inside than passed
        if not node.operands or any(o in inside for o in node.operands):
            held.add(node)
            inside.update(node.results)
    read = [o for n in nodes if n in held for o in n.operands] + list(outputs)
    outer = list(dict.fromkeys(v for v in read if v not in inside))
    stands = {v: Value(v.type, name=v.name) for v in outer}
    kept = Graph("row", [row, *stands.values()], outputs, nodes=[n for n in nodes if n in held])
    return rebuild(kept, lambda node, _: None, stands), outer


def _error(message: str) -> TraceError:
    return TraceError(f"jacobian: {message}", where=user_lines())
