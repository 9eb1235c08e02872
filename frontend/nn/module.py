"""Modules: Python objects whose attributes are parameters, state and other modules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from textwrap import indent
from typing import Any, Self, cast

import numpy as np

from ...ir.errors import InputError, NervureError
from ...ir.store import Entry
from ...ir.types import Array, DType, dtype_of, f32
from ..parameter import Buffer, Parameter
from ..random import generator
from ..tracing import user_lines
from .layers import recorded
from .loading import Loaded, Prefixes, arrays_of, renamed

__all__ = ["Module", "uniform"]


def uniform(
    bound: float, shape: tuple[int, ...], rng: np.random.Generator | None, dtype: Any = f32, *, of: str
) -> Parameter:
    """A parameter uniform between -bound and bound, drawn from rng or from the generator of `nv.seed`.

    Args:
        of: the layer's name, for errors
    Raises:
        NervureError: dtype is no float, or rng no generator
    """
    try:
        kind: DType = dtype_of(dtype)
    except NervureError as error:
        raise NervureError(f"{of}: {error.message}", where=user_lines(), hint=error.hint) from None
    if not kind.is_float:
        raise NervureError(
            f"{of}: dtype is {kind}, expected f64, f32, f16 or bf16 for parameters", where=user_lines()
        )
    if rng is not None and not isinstance(rng, np.random.Generator):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NervureError(
            f"{of}: rng is {rng}, expected a numpy Generator",
            where=user_lines(),
            hint="make one of a number: np.random.default_rng(0)",
        )
    return Parameter((rng or generator()).uniform(-bound, bound, shape).astype(kind.numpy))


class Module:
    """The base of layers and models: subclass it, set attributes in ``__init__``, define ``__call__``.

    Attributes that are parameters, state, modules, or lists of these are found by their names; ``fc.weight`` is the
    weight of the attribute ``fc``. The module owns its parameters' arrays; programs made from it share them.

    Attributes:
        training: whether the module trains in a training step; False keeps its statistics and drops nothing there
    """

    training: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = recorded(vars(cls)["__call__"])

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        raise NervureError(
            f"{type(self).__name__} defines no __call__", hint="define def __call__(self, x): ..."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get(name)
        if isinstance(held, Entry) and not isinstance(value, Entry | None):
            raise NervureError(
                f"{type(self).__name__}.{name} is a parameter, got {type(value).__name__}",
                hint=f"write to it with .{name}.assign(array)",
            )
        if isinstance(value, Entry) and not value.name:
            value.name = name
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, data: Any) -> None:
        """Set an attribute to a parameter with this content; None sets it to None."""
        setattr(self, name, data if data is None or isinstance(data, Parameter) else Parameter(data))

    def register_buffer(self, name: str, data: Any) -> None:
        """Set an attribute to state with this content."""
        setattr(self, name, data if isinstance(data, Buffer) else Buffer(data))

    def _fill_buffers(self, contents: Mapping[str, Array]) -> None:
        """Write fitted state: into the entries that programs made before share, or, where one shape is another now, all
        of it into new ones, so that those programs keep what belongs together.
        """
        held = {name: vars(self).get(name) for name in contents}
        fits = all(
            isinstance(entry, Entry)
            and entry.type.static_shape() == contents[name].shape
            and entry.type.dtype.numpy == contents[name].dtype
            for name, entry in held.items()
        )
        for name, content in contents.items():
            entry = held[name]
            if fits and isinstance(entry, Entry):
                entry.assign(content)
            else:
                setattr(self, name, Buffer(content))

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Attributes by name, elements of lists and tuples as ``name.0``."""
        for name, value in vars(self).items():
            if isinstance(value, list | tuple):
                items = cast("Sequence[Any]", value)
                yield from ((f"{name}.{k}", item) for k, item in enumerate(items))
            else:
                yield name, value

    def children(self) -> Iterator[tuple[str, Module]]:
        """Modules directly below this one, with their names."""
        return ((name, value) for name, value in self._members() if isinstance(value, Module))

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all below, each before its children; one that is shared comes once for each path."""
        stack: list[tuple[str, Module, tuple[Module, ...]]] = [("", self, ())]
        while stack:
            prefix, module, above = stack.pop()
            if module in above:
                raise NervureError(f"module {prefix} contains itself")
            yield prefix, module
            below = [(_join(prefix, n), m, (*above, module)) for n, m in module.children()]
            stack += reversed(below)

    def modules(self) -> Iterator[Module]:
        """This module and all below."""
        return (module for _, module in self.named_modules())

    def _all_entries(self) -> Iterator[tuple[str, Entry]]:
        for prefix, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Entry):
                    yield _join(prefix, name), value

    def named_entries(self) -> Iterator[tuple[str, Entry]]:
        """Every parameter and piece of state with its dotted path; one that is shared comes once."""
        seen: set[Entry] = set()
        for name, entry in self._all_entries():
            if entry not in seen:
                seen.add(entry)
                yield name, entry

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The weights with their dotted paths."""
        return ((n, e) for n, e in self.named_entries() if isinstance(e, Parameter) and e.kind == "param")

    def parameters(self) -> Iterator[Parameter]:
        """The weights without their names."""
        return (e for _, e in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Entry]]:
        """State with its dotted paths."""
        return ((n, e) for n, e in self.named_entries() if e.kind == "state")

    def freeze(self) -> Self:
        """Take the weights out of training; a training step made afterwards leaves them alone."""
        for parameter in self.parameters():
            parameter.trainable = False
        return self

    def unfreeze(self) -> Self:
        """Let the weights be trained."""
        for parameter in self.parameters():
            parameter.trainable = True
        return self

    def train(self, mode: bool = True) -> Self:
        """Behave as in training where a training step is traced: update statistics, drop elements."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Behave as at inference, in a training step too."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and piece of state by name, as PyTorch names them."""
        return {name: entry.data.copy() for name, entry in self._all_entries()}

    def load_state_dict(
        self,
        state: Mapping[str, Any] | str | os.PathLike[str],
        strict: bool = True,
        prefixes: Prefixes | None = None,
    ) -> Loaded:
        """Write entries back; where something does not fit, nothing is written.

        Args:
            state:    arrays by name, or the path of a .safetensors file of them
            strict:   whether missing and unknown names are errors; random keys, which PyTorch has not, may be missing
            prefixes: other beginnings for the state's names, such as ``{"encoder": "body"}``; None leaves names out,
                      such as ``{"fc": None}`` where the model has a new head

        Returns:
            the names that are missing and those that nothing was done with

        Raises:
            InputError: a file that cannot be read; names that are missing or unknown, and arrays of another shape or
                element type, all of them listed
        """
        state = arrays_of(state)
        entries = dict(self._all_entries())
        names = renamed(state, prefixes or {})
        needed = [n for n, e in entries.items() if not (isinstance(e, Parameter) and e.optional)]
        loaded = Loaded(
            tuple(name for name in needed if name not in names),
            tuple(old for new, old in names.items() if new not in entries),
        )
        problems: list[str] = []
        if strict:
            problems += [f"missing: {name}" for name in loaded.missing]
            problems += [f"unknown: {name}" for name in loaded.unexpected]
        arrays = {new: np.asarray(state[old]) for new, old in names.items() if new in entries}
        misfits = 0
        for name, array in arrays.items():
            want = entries[name].type
            if array.shape != want.static_shape() or array.dtype != want.dtype.numpy:
                problems.append(f"{name}: expected {want}, got {array.dtype}{list(array.shape)}")
                misfits += 1
        if problems:
            hint = 'leave some out by prefixes={"name": None}' if misfits and not strict else None
            raise InputError(f"state_dict does not fit {type(self).__name__}", details=problems, hint=hint)
        for name, array in arrays.items():
            entries[name].assign(array)
        return loaded

    def extra_repr(self) -> str:
        """What a layer says of itself between the parentheses."""
        return ""

    def __repr__(self) -> str:
        head = f"{type(self).__name__}({self.extra_repr()}"
        below = [indent(f"({name}): {module!r}", "  ") for name, module in self.children()]
        return "\n".join([head, *below, ")"]) if below else f"{head})"


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
