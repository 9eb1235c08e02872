"""From a program's main graph to the signature of its executable."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..ir.dims import Dim, minimum
from ..ir.graph import Graph, Node, Value
from ..ir.ops.elementwise import Cast
from ..ir.ops.expect import ExpectRange
from ..ir.ops.move import BroadcastInDim, Permute, Reshape, Reverse
from ..ir.ops.tree import TreeFold, levels_of
from ..ir.program import Program
from ..runtime.signature import Check, Signature

__all__ = ["checks_of", "lines_of", "ranges_of", "signature_of"]


def signature_of(program: Program) -> Signature:
    """Names and types of the main graph's inputs and outputs; nameless ones are numbered."""
    graph = program.main
    inputs = tuple((v.name or f"arg{k}", v.type) for k, v in enumerate(graph.inputs))
    outputs = tuple((v.name or f"result{k}", v.type) for k, v in enumerate(graph.outputs))
    return Signature(inputs, outputs)


def ranges_of(graph: Graph) -> tuple[tuple[int, int, Dim], ...]:
    """The ranges that a traced graph expects of its inputs: place of the input, lowest, first beyond the highest."""
    found: dict[int, tuple[int, Dim]] = {}
    for place, op, _ in _expected(graph):
        low, high = found.get(place, (op.low, op.high))
        found[place] = (max(low, op.low), minimum(high, op.high))
    return tuple((place, low, high) for place, (low, high) in sorted(found.items()))


def lines_of(graph: Graph) -> dict[int, tuple[str, ...]]:
    """The user's lines that expect a range of an input, by its place."""
    found: dict[int, dict[str, None]] = {}
    for place, _, node in _expected(graph):
        found.setdefault(place, {}).update((str(origin), None) for origin in node.origins)
    return {place: tuple(lines) for place, lines in found.items()}


def _expected(graph: Graph) -> Iterator[tuple[int, ExpectRange, Node]]:
    places = {v: k for k, v in enumerate(graph.inputs)}
    for node in graph.nodes:
        if isinstance(node.op, ExpectRange):
            place = places.get(_source(node.operands[0]))
            if place is not None:
                yield place, node.op, node


def checks_of(graph: Graph) -> tuple[tuple[int, Check], ...]:
    """What else a traced graph asks of its inputs: that tables of children are those of trees."""
    places = {v: k for k, v in enumerate(graph.inputs)}
    found: dict[int, Check] = {}
    for node in graph.nodes:
        if isinstance(node.op, TreeFold):
            place = places.get(_source(node.operands[0]))
            if place is not None:
                found.setdefault(place, partial(levels_of, where=[str(o) for o in node.origins]))
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def _source(value: Value) -> Value:
    """Where a value comes from by casts between integers and by movement of all elements."""
    while value.node is not None and isinstance(
        value.node.op, (Cast, Reshape, Permute, BroadcastInDim, Reverse)
    ):
        before = value.node.operands[0]
        if not before.type.dtype.is_integer:
            break
        value = before
    return value
