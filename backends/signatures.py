"""From a program's main graph to the signature of its executable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from ..ir.dims import Dim, minimum
from ..ir.graph import Graph, Node, Value
from ..ir.ops.calls import Remat
from ..ir.ops.control import Scan
from ..ir.ops.elementwise import Cast
from ..ir.ops.expect import ExpectRange
from ..ir.ops.move import BroadcastInDim, Permute, Reshape, Reverse
from ..ir.ops.tree import TreeFold, levels_of
from ..ir.program import Program
from ..ir.types import Array
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


def checks_of(graph: Graph) -> tuple[tuple[int, Check], ...]:
    """What else a traced graph asks of its inputs: that tables of children are those of trees."""
    found: dict[int, Check] = {}
    for node, reach in _certain(graph, _inputs(graph)):
        if isinstance(node.op, TreeFold) and (origin := _origin(node.operands[0], reach)) is not None:
            place, moves = origin
            if moves is not None:
                found.setdefault(place, partial(_check_tree, moves, [str(o) for o in node.origins]))
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def _check_tree(moves: Sequence[Node], where: Sequence[str], table: Array, name: str) -> None:
    for node in moves:
        table = np.asarray(node.op.evaluate(table, types=tuple(r.type for r in node.results), env={}))
    levels_of(table, name, where)


def _expected(graph: Graph) -> Iterator[tuple[int, ExpectRange, Node]]:
    for node, reach in _certain(graph, _inputs(graph)):
        if isinstance(node.op, ExpectRange) and (origin := _origin(node.operands[0], reach)) is not None:
            yield origin[0], node.op, node


Moves = tuple[Node, ...] | None
"""What moves the elements of an input to where they are used; None where it is a part of them, or sizes are not known."""

Reach = Mapping[Value, tuple[int, Moves]]
"""For values of a graph the input whose elements they hold."""


def _inputs(graph: Graph) -> Reach:
    return {v: (k, ()) for k, v in enumerate(graph.inputs)}


def _certain(graph: Graph, reach: Reach) -> Iterator[tuple[Node, Reach]]:
    """Nodes that run whatever the values are, those in bodies of loops too, each with the inputs that reach it."""
    for node in graph.nodes:
        yield node, reach
        op, given = node.op, node.operands
        if isinstance(op, Scan):
            rows, consts = range(op.carries, op.carries + op.xs), range(op.carries + op.xs, len(given))
        elif isinstance(op, Remat):
            rows, consts = range(0), range(len(given))
        else:
            continue
        (body,) = node.regions
        inner: dict[Value, tuple[int, Moves]] = {}
        for k in (*rows, *consts):
            if (origin := _origin(given[k], reach)) is not None:
                place, moves = origin
                inner[body.inputs[k]] = (place, None if k in rows else moves)
        yield from _certain(body, inner)


def _origin(value: Value, reach: Reach) -> tuple[int, Moves] | None:
    """The input that a value comes from by casts between integers and by movement of all elements."""
    nodes: list[Node] = []
    while value not in reach:
        node = value.node
        if node is None or not isinstance(node.op, (Cast, Reshape, Permute, BroadcastInDim, Reverse)):
            return None
        value = node.operands[0]
        if not value.type.dtype.is_integer:
            return None
        nodes.append(node)
    place, moves = reach[value]
    known = all(n.results[0].type.is_static or isinstance(n.op, (Cast, Permute, Reverse)) for n in nodes)
    return place, None if moves is None or not known else (*moves, *reversed(nodes))
