"""Parameters and buffers: store entries that read as tensors while tracing."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..ir.graph import Value
from ..ir.store import Entry, EntryKind
from ..ir.types import Array, TensorType, dtype_of
from .tensor import Operand, as_tensor
from .tracing import current, is_tracing

__all__ = ["Buffer", "Parameter"]


class Parameter(Operand, Entry):
    """A store entry that reads as a tensor while tracing: a weight.

    Args:
        data:      the initial content, an array
        kind:      "param"; "state" for what a `Buffer` holds
        name:      for messages; a module gives it the attribute's
        trainable: whether a training step changes it
        optional:  whether a state_dict may leave it out
    """

    __slots__ = ("optional",)

    def __init__(
        self,
        data: Any,
        kind: EntryKind = "param",
        name: str = "",
        trainable: bool | None = None,
        optional: bool = False,
    ) -> None:
        array = np.asarray(data)
        type = TensorType(dtype_of(array), tuple(array.shape))
        Entry.__init__(self, name, type, kind, kind == "param" if trainable is None else trainable, array)
        self.optional = optional

    @property
    def value(self) -> Value:
        return current().read(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if is_tracing():
            return super().__array__()
        return np.array(self.data, dtype=dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A parameter of the same content under a ledger of its own."""
        copy = object.__new__(type(self))
        Parameter.__init__(copy, self.data, self.kind, self.name, self.trainable, self.optional)
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its content; entries that shared a ledger join again in the next program."""
        return _parameter, (
            type(self),
            np.array(self.data),
            self.kind,
            self.name,
            self.trainable,
            self.optional,
        )

    def __repr__(self) -> str:
        return f"Parameter({self.type})"


class Buffer(Parameter):
    """A store entry that is state: running statistics, counters, random keys, what a model remembers between calls."""

    __slots__ = ()

    def update(self, value: Any) -> None:
        """Give it a new content when the program that is traced has run; what reads it from here on sees that.

        Raises:
            TraceError: the value has another type, or the body of a branch, a while or a tree cannot hand it out
        """
        current().update(self, as_tensor(value).value)

    def __init__(self, data: Any, name: str = "", optional: bool = False) -> None:
        super().__init__(data, "state", name, optional=optional)


def _parameter(
    cls: type[Parameter], data: Array, kind: EntryKind, name: str, trainable: bool, optional: bool
) -> Parameter:
    made = object.__new__(cls)
    Parameter.__init__(made, data, kind, name, trainable, optional)
    return made
