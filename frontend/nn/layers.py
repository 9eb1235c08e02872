"""Which module made which values: for the names in dumps and for summaries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ...ir.graph import Value
from ..tensor import Tensor
from ..tracing import LayerCall, current, is_tracing

__all__ = ["recorded"]

F = TypeVar("F", bound=Callable[..., Any])


def recorded(call: F) -> F:
    """A module's ``__call__`` that tells the trace what it was given and gave."""

    @functools.wraps(call)
    def wrapper(self: Any, *inputs: Any, **options: Any) -> Any:
        if not is_tracing():
            return call(self, *inputs, **options)
        state = current()
        if state.inside and state.inside[-1].module is self:  # a subclass that calls what it extends
            return call(self, *inputs, **options)
        layer = LayerCall(self, len(state.inside), _values(inputs))
        state.layers.append(layer)
        state.inside.append(layer)
        try:
            result = call(self, *inputs, **options)
            several = isinstance(result, tuple)
            layer.outputs = _values(cast("tuple[Any, ...]", result) if several else (result,))
        finally:
            state.inside.pop()
        return result

    return wrapper  # type: ignore[return-value]


def _values(items: tuple[Any, ...]) -> tuple[Value, ...]:
    return tuple(item.value for item in items if isinstance(item, Tensor))
