"""Names of an ONNX graph while it is imported, and what they stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.graph import Graph, Value, collect
from ...ir.interpret import evaluate_graph
from ...ir.store import Entry, EntryKind
from ...ir.types import Array, TensorType, dtype_of
from ..tracing import Frame, Tracing
from .known import MAX_ELEMENTS, Known, known_value
from .report import Refused

__all__ = ["Failed", "Scope", "Weight", "entry_name", "fold_values", "unique"]

INLINE = 1024
"""Integers up to so many are constants of the graph; more are an entry of the store."""


class Failed(Exception):
    """A name stands for the result of a node that was refused; who reads it says nothing of its own."""


@dataclass(eq=False)
class Weight:
    """An initialiser: an entry of the store once a node reads it as a tensor.

    Attributes:
        name:  of the entry
        array: its content
        kind:  of the entry; statistics of a batch norm are state
    """

    name: str
    array: Array
    kind: EntryKind = "param"
    entry: Entry | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it is a constant of the graph: a number, or a few integers."""
        return not self.array.ndim or (self.array.dtype.kind in "iub" and self.array.size <= INLINE)

    def read(self, state: Tracing) -> Value:
        if self.entry is None:
            dtype = dtype_of(self.array)
            trainable = dtype.is_float and self.kind == "param"
            type = TensorType(dtype, tuple(self.array.shape))
            self.entry = Entry(self.name, type, self.kind, trainable, self.array)
        return state.read(self.entry)


LARGEST = 1 << 24
"""Elements of a tensor that is computed while a model is read."""

Item = Value | Known | Weight | None
"""What a name stands for; None for what could not be imported."""


@dataclass(eq=False)
class Scope:
    """The names of one graph; those of the graphs around it are looked up outwards.

    Attributes:
        state:      the trace that nodes are written to
        frame:      the region that the graph's values belong to
        parent:     the scope around, of a subgraph
        names:      what each name stands for
        attributes: of the node that calls, in the body of a function
        path:       the names of the nodes around
        versions:   of each domain
        taken:      names of the store
        absent:     inputs of a function that its call leaves out
        inputs:     names of the model's inputs, which can be bound
        optional:   whether it is a branch, or within one, that a run may not take
    """

    state: Tracing
    frame: Frame
    parent: Scope | None = None
    names: dict[str, Item] = field(default_factory=dict[str, Item])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    path: str = ""
    versions: dict[str, int] = field(default_factory=dict[str, int])
    taken: dict[str, int] = field(default_factory=dict[str, int])
    absent: set[str] = field(default_factory=set[str])
    inputs: frozenset[str] = frozenset()
    optional: bool = False

    def item(self, name: str) -> tuple[Item, Scope]:
        """What a name stands for, and the scope that it belongs to.

        Raises:
            Refused: nothing has the name
            Failed:  what has it could not be imported
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                found = scope.names[name]
                if found is None:
                    raise Failed(name)
                return found, scope
            scope = scope.parent
        raise Refused(f"nothing is named {name!r}")

    def value(self, name: str) -> Value:
        """The value of a name as seen from the region under construction."""
        found, scope = self.item(name)
        if isinstance(found, Weight):
            return b.constant(found.array) if found.is_constant else found.read(self.state)
        if isinstance(found, Known):
            return known_value(found)
        assert found is not None, "a name that failed has been raised"
        return self.state.enter(found, scope.frame)

    def known(self, name: str) -> Known | None:
        """The elements of a name where they are known."""
        found, _ = self.item(name)
        if isinstance(found, Known):
            return found
        if isinstance(found, Weight):
            return Known(dtype_of(found.array), found.array)
        return fold_values([found], self)[0] if isinstance(found, Value) else None

    def folds(self, name: str) -> Known | None:
        """The elements of a name that is a constant of the graph; weights are none."""
        found, _ = self.item(name)
        if isinstance(found, Weight) and found.is_constant:
            return Known(dtype_of(found.array), found.array)
        return found if isinstance(found, Known) else None

    def behind(self, name: str) -> tuple[str, ...]:
        """The graph inputs that a name's elements depend on."""
        found, _ = self.item(name)
        if not isinstance(found, Value):
            return ()
        leaves = leaves_of(found)
        return tuple(
            sorted({leaf.name for leaf in leaves if leaf.entry is None and leaf.name in self.inputs})
        )

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the function call that the graph is the body of."""
        return self.attributes.get(name, default)

    def entry_name(self, name: str) -> str:
        """A free name for a new entry of the store."""
        return unique(entry_name(name), self.taken)

    def weight(self, entry: str) -> Array | None:
        """The content of a store entry."""
        found = self.state.entries.get(entry)
        return None if found is None else found.data


def leaves_of(value: Value) -> list[Value]:
    """Inputs and reads that a value is computed from."""
    nodes = collect([value])
    every = [value, *(o for n in nodes for o in n.operands)]
    return list(dict.fromkeys(v for v in every if v.is_leaf))


def fold_values(values: list[Value], scope: Scope) -> list[Known | None]:
    """The elements of values that depend on constants and weights alone."""
    none: list[Known | None] = [None] * len(values)
    if not all(
        v.type.is_static and np.prod(v.type.static_shape(), dtype=float) <= MAX_ELEMENTS for v in values
    ):
        return none
    nodes = collect(values)
    results = [r.type for n in nodes for r in n.results]
    if not all(t.is_static and np.prod(t.static_shape(), dtype=float) <= LARGEST for t in results):
        return none
    reads: dict[str, Array] = {}
    for value in (*values, *(o for n in nodes for o in n.operands)):
        if value.is_leaf:
            content = None if value.entry is None else scope.weight(value.entry)
            if content is None:
                return none
            reads[value.entry or ""] = content
    outputs, _ = evaluate_graph(Graph("fold", [], values, nodes=nodes), [], reads)
    return [Known(v.type.dtype, np.asarray(o)) for v, o in zip(values, outputs, strict=True)]


def entry_name(name: str) -> str:
    """The name of an initialiser as the store's text can hold it."""
    return re.sub(r"[^A-Za-z0-9_.$]", "_", name) or "weight"


def unique(name: str, taken: dict[str, int]) -> str:
    """The name, with a number where it is taken."""
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}_{taken[name]}"
    taken[found] = 0
    return found
