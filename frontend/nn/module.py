"""Modules: Python objects whose attributes are parameters, state and other modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...ir.errors import InputError
from ...ir.store import Entry
from ...ir.types import Array
from ..tensor import Parameter

__all__ = ["Module"]


class Module:
    """The base of layers and models: subclass it, set attributes in ``__init__``, define ``__call__``.

    Attributes that are parameters, state, modules, or lists of modules are found by their names; ``fc.weight`` is
    the weight of the attribute ``fc``. The module owns its parameters' arrays; programs made from it share them.
    """

    def __call__(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} defines no __call__")

    def children(self) -> Iterator[tuple[str, Module]]:
        """Modules directly below this one, with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{k}", m) for k, m in enumerate(value) if isinstance(m, Module))

    def named_entries(self) -> Iterator[tuple[str, Entry]]:
        """Every parameter and piece of state with its dotted path; one that is shared comes once."""
        seen: set[Entry] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Entry) and value not in seen:
                    seen.add(value)
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all below, each before its children."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            prefix, module = stack.pop()
            yield prefix, module
            below = [(f"{prefix}.{n}" if prefix else n, m) for n, m in module.children()]
            stack += reversed(below)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The entries that are weights."""
        return ((n, e) for n, e in self.named_entries() if isinstance(e, Parameter) and e.kind == "param")

    def parameters(self) -> Iterator[Parameter]:
        """The weights without their names."""
        return (e for _, e in self.named_parameters())

    def freeze(self) -> Module:
        """Take the weights out of training; a training step made afterwards leaves them alone."""
        for parameter in self.parameters():
            parameter.trainable = False
        return self

    def unfreeze(self) -> Module:
        """Let the weights be trained."""
        for parameter in self.parameters():
            parameter.trainable = True
        return self

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and piece of state by name, as PyTorch names them."""
        return {name: entry.data.copy() for name, entry in self.named_entries()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Write entries back; where something does not fit, nothing is written.

        Args:
            strict: whether missing and unknown names are errors

        Raises:
            InputError: listing names that are missing or unknown, and arrays of another shape or element type
        """
        entries = dict(self.named_entries())
        problems: list[str] = []
        if strict:
            problems += [f"missing: {name}" for name in entries if name not in state]
            problems += [f"unknown: {name}" for name in state if name not in entries]
        arrays = {name: np.asarray(value) for name, value in state.items() if name in entries}
        for name, array in arrays.items():
            want = entries[name].type
            if array.shape != want.static_shape() or array.dtype != want.dtype.numpy:
                problems.append(f"{name}: expected {want}, got {array.dtype}{list(array.shape)}")
        if problems:
            raise InputError(f"state_dict does not fit {type(self).__name__}", details=problems)
        for name, array in arrays.items():
            entries[name].assign(array)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.extra_repr()})"]
        for name, module in self.children():
            lines += [f"  {line}" for line in f"{name}: {module!r}".splitlines()]
        return "\n".join(lines)

    def extra_repr(self) -> str:
        """What a layer says of itself between the parentheses."""
        return ", ".join(f"{n}: {e.type}" for n, e in vars(self).items() if isinstance(e, Entry))
