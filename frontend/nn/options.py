"""Layers that are a function and its options: the constructor's parameters are the function's arguments."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, ClassVar

from ..tensor import Tensor
from .module import Module

__all__ = ["FunctionLayer"]


class FunctionLayer(Module):
    """A function of tensors as a layer; `__init__` sets an attribute for each of its parameters."""

    function: ClassVar[Callable[..., Tensor]]

    def options(self) -> dict[str, Any]:
        """The function's arguments beside the tensors."""
        parameters = signature(type(self).__init__).parameters
        named = [name for name, p in parameters.items() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        return {name: getattr(self, name) for name in named if name != "self"}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options().items() if value is not None)
