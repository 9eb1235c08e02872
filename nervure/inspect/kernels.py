"""Which node of a compiled program a backend computes wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.base import find_backend
from ..ir.graph import Graph, Value
from ..ir.ops.constant import Constant
from ..ir.program import Program
from ..ir.text.printer import value_names
from ..ir.types import Array
from .exposure import with_own_store
from .movement import Results
from .tolerance import Yardstick

__all__ = ["Blamed", "first_wrong_node", "run_on"]


@dataclass(frozen=True)
class Blamed:
    """A node that a backend computes wrongly.

    Args:
        node:   as printed: its name and op
        kernel: the label of the group that it is, or its op
        what:   an element, with what was found and expected
        lines:  the user's lines
    """

    node: str
    kernel: str
    what: str
    lines: tuple[str, ...]


def run_on(backend: str, program: Program, inputs: Sequence[Array]) -> Results:
    """Outputs, then the new content of updated entries, of a program that went through the backend's passes."""
    own = with_own_store(program)
    found: Any = find_backend(backend).compile(own)(*inputs)
    count = len(own.main.outputs)
    outputs = [] if not count else [found] if count == 1 else list(found)
    return outputs + [own.store[name].data.copy() for name, _ in own.main.updates]


def first_wrong_node(backend: str, program: Program, inputs: Sequence[Array]) -> Blamed | None:
    """The first node whose value the backend gets wrong, with the nodes before it returned as well.

    A program that returns all values may be laid out otherwise and be right; then each value is returned alone beside the
    results. None where that too is right: then what is wrong depends on which values share memory.
    """
    values = [r for node in program.main.nodes for r in node.results if not isinstance(node.op, Constant)]
    every = _wrong_value(backend, program, inputs, values)
    if every is not None:
        return every
    for value in values:
        alone = _wrong_value(backend, program, inputs, [value])
        if alone is not None:
            return alone
    return None


def _wrong_value(
    backend: str, program: Program, inputs: Sequence[Array], values: Sequence[Value]
) -> Blamed | None:
    """The first of some values that is wrong when they are returned before the results."""
    graph = program.main
    open_ = Graph(graph.name, graph.inputs, (*values, *graph.outputs), graph.updates, graph.nodes)
    opened = with_own_store(program.with_graphs(open_))
    yardstick = Yardstick(opened, inputs).against(backend)
    found = run_on(backend, opened, inputs)
    names = value_names(graph)
    for k, value in enumerate(values):
        wrong = yardstick.judge(k, found[k])[0]
        if not wrong.any():
            continue
        what = yardstick.describe(k, found[k], wrong, names[value])
        node = value.node
        assert node is not None
        label = getattr(node.op, "label", "") or node.op.mnemonic
        lines = tuple(str(o) for o in node.origins)
        return Blamed(f"{names[value]} = {node.op.mnemonic} : {value.type}", label, what, lines)
    return None
