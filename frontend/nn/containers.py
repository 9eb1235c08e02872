"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .module import Module

__all__ = ["ModuleList", "Sequential"]

Layer = Module | Callable[[Any], Any]


class ModuleList(Module):
    """Modules by index, named ``0``, ``1``, ...; also grows."""

    def __init__(self, modules: Iterable[Layer] = ()) -> None:
        self._layers = list(modules)

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(k), layer) for k, layer in enumerate(self._layers))
        yield from (m for m in super()._members() if not m[0].startswith("_layers."))

    def append(self, module: Layer) -> None:
        """Add a module at the end."""
        self._layers.append(module)

    def __getitem__(self, index: int) -> Any:
        return self._layers[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class Sequential(ModuleList):
    """Layers one after the other; functions of tensors may stand between them. A slice is a Sequential."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self._layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]
