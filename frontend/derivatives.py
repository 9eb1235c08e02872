"""What a function says of its own derivative: that there is none, another one, or that it computes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

import numpy as np

from ..ir import build as b
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from ..ir.store import Entry
from .tensor import Operand, Tensor, as_tensor
from .tracing import Frame, current, user_lines
from .trees import build, leaves

__all__ = ["CustomVjp", "custom_vjp", "remat", "stop_gradient"]

Function = Callable[..., Any]


def stop_gradient(x: Any) -> Tensor:
    """x itself, as a constant where derivatives are taken.

    Source: JAX lax.stop_gradient, PyTorch Tensor.detach
    """
    return Tensor(b.stop_gradient(as_tensor(x).value))


def remat(function: Function) -> Function:
    """The function, whose inner values are computed again for its derivative instead of being kept.

    Args:
        function: of tensors, a module too; it may use outer tensors and parameters. State that it changes, such as the
                  keys of dropout, is read as it was when it is computed again, so that the same elements are dropped
    Source: JAX checkpoint, PyTorch torch.utils.checkpoint
    """

    @wraps(function, updated=())
    def call(*args: Any, **options: Any) -> Any:
        state = current()
        with state.region("remat", updates=True) as frame:
            result = function(*args, **options)
            outputs = leaves(result, "remat", "the result")
        written = frame.written
        inputs = [*frame.captured.values(), *frame.held.values()]
        body = Graph("body", inputs, [*outputs, *written.values()])
        found = b.remat(body, [*frame.captured, *map(state.read, frame.held)])
        for entry, value in zip(written, found[len(outputs) :], strict=True):
            state.update(entry, value)
        return build(result, list(map(Tensor, found[: len(outputs)])))

    return call


class CustomVjp:
    """A function of tensors with a derivative of its own; see `custom_vjp`."""

    def __init__(self, forward: Function, backward: Function | None = None) -> None:
        wraps(forward, updated=())(self)
        self.forward = forward
        self._backward = backward

    def backward(self, function: Function) -> Function:
        """Decorator: the function that makes cotangents."""
        self._backward = function
        return function

    def __call__(self, *args: Any) -> Any:
        if self._backward is None:
            raise _error("it has no backward function", hint=f"write @{self._name}.backward above one")
        own = [k for k, a in enumerate(args) if isinstance(a, Operand | Entry | np.ndarray | np.generic)]
        given = [as_tensor(args[k]).value for k in own]
        forward, outer, inputs, result, outputs = self._forward(args, own, given)
        backward, outer_too, again, slopes = self._trace_backward(args, own, given, result, outputs)
        captured = list(dict.fromkeys([*outer.captured, *outer_too.captured]))

        def seen(frame: Frame) -> list[Value]:
            return [frame.captured.get(v) or Value(v.type, name=v.name) for v in captured]

        # the captured values stand behind the arguments, in both regions
        forward = forward.replace(inputs=[*inputs, *seen(outer)])
        middle = backward.inputs[len(again) :]
        backward = backward.replace(inputs=[*again, *seen(outer_too), *middle])
        by = [k for k, slope in enumerate(slopes) if slope is not None]
        found = b.custom_vjp(forward, backward, [*given, *captured], by)
        return build(result, list(map(Tensor, found)))

    @property
    def _name(self) -> str:
        return getattr(self.forward, "__name__", "function")

    def _forward(
        self, args: Sequence[Any], own: Sequence[int], given: Sequence[Value]
    ) -> tuple[Graph, Frame, list[Value], Any, list[Value]]:
        with current().region("custom_vjp") as frame:
            inputs = _inputs(given)
            result = self.forward(*_exchanged(args, own, inputs))
            outputs = leaves(result, self._name, "the result")
        for value in frame.captured:
            if value.type.dtype.is_float:
                raise _error(
                    f"{self._name} uses {value.type} from outside, which backward gives no cotangent",
                    hint="pass it as an argument",
                )
        return Graph("forward", inputs, outputs), frame, inputs, result, outputs

    def _trace_backward(
        self,
        args: Sequence[Any],
        own: Sequence[int],
        given: Sequence[Value],
        result: Any,
        outputs: Sequence[Value],
    ) -> tuple[Graph, Frame, list[Value], list[Value | None]]:
        assert self._backward is not None
        with current().region("custom_vjp") as frame:
            inputs, results = _inputs(given), _inputs(outputs)
            floats = [v.type.dtype.is_float for v in outputs]
            slopes = [Value(v.type, name="slope") for v, f in zip(outputs, floats, strict=True) if f]
            rest = iter(slopes)
            cotangents = [Tensor(next(rest)) if f else None for f in floats]
            found = self._backward(
                *_exchanged(args, own, inputs),
                build(result, list(map(Tensor, results))),
                build(result, cast("list[Tensor]", cotangents)),
            )
            parts = self._cotangents(found, args, own, given)
            kept = [v for v in parts if v is not None]
        return Graph("backward", [*inputs, *results, *slopes], kept), frame, inputs, parts

    def _cotangents(
        self, found: Any, args: Sequence[Any], own: Sequence[int], given: Sequence[Value]
    ) -> list[Value | None]:
        """One a tensor argument, of its type; None for no dependence."""
        items = cast("Sequence[Any]", found if isinstance(found, tuple | list) else (found,))
        if len(items) != len(args):
            raise _error(
                f"backward of {self._name} returns {len(items)} cotangents for {len(args)} arguments",
                hint="return None for what has no derivative",
            )
        parts: list[Value | None] = []
        for k, value in zip(own, given, strict=True):
            part = None if items[k] is None else as_tensor(items[k], value.type.dtype).value
            if part is not None and (part.type != value.type or not value.type.dtype.is_float):
                want = value.type if value.type.dtype.is_float else "None"
                raise _error(f"backward of {self._name}: cotangent {k} is {part.type}, expected {want}")
            parts.append(part)
        return parts


def custom_vjp(forward: Function, backward: Function | None = None) -> CustomVjp:
    """A function of tensors with a derivative of its own.

        @nv.custom_vjp
        def rounded(x):
            return round(x)

        @rounded.backward
        def _(x, y, dy):
            return dy

    Args:
        forward:  the function; what it uses of floats from outside has to be an argument
        backward: takes the arguments, what forward returned, and cotangents in the same shape (None for integers);
                  returns one cotangent an argument, None for no dependence. It may use outer tensors
    Gradient: of second order, that of the ops in backward
    Raises:   TraceError when called, where the two do not fit
    Source:   JAX custom_vjp, PyTorch autograd.Function
    """
    return CustomVjp(forward, backward)


def _inputs(values: Sequence[Value]) -> list[Value]:
    return [Value(v.type, name=v.name) for v in values]


def _exchanged(args: Sequence[Any], own: Sequence[int], inputs: Sequence[Value]) -> list[Any]:
    """The arguments with tensors for those that are tensors."""
    tensors = dict(zip(own, map(Tensor, inputs), strict=True))
    return [tensors.get(k, a) for k, a in enumerate(args)]


def _error(message: str, hint: str | None = None) -> TraceError:
    return TraceError(f"custom_vjp: {message}", where=user_lines(), hint=hint)
