"""Smaller programs made of a program: the steps of `reduce`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from ..ir.dims import Dim, Expr, evaluate_dim
from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.interpret import bind_symbols, run_prepare
from ..ir.op import Op
from ..ir.ops.constant import Constant, Literal
from ..ir.ops.control import Scan
from ..ir.program import Program
from ..ir.store import Entry, Store
from ..ir.types import Array
from ..passes.inline import HELD, inline
from ..passes.unroll import unrolled

__all__ = [
    "Contents",
    "bypasses",
    "copied",
    "only",
    "opened_regions",
    "smaller_dims",
    "static",
    "without_prepare",
]

Contents = dict[Value, Array]
Sample = tuple[Program, list[Array]]
Edit = Callable[[Node, tuple[Value, ...]], Sequence[Value]]

LONGEST = 64
"""Steps of a loop that is written out at most."""


def without_prepare(program: Program) -> Program:
    """The program with what `prepare` computes as entries like others.

    Raises:
        ValueError: it has no `prepare`
    """
    if program.prepare is None:
        raise ValueError("nothing to do")
    run_prepare(program)
    entries = {
        n: Entry(e.name, e.type, "param" if e.kind == "derived" else e.kind, e.trainable, e.data)
        for n, e in program.store.items()
    }
    return Program(program.name, [program.main], Store(entries))


def only(
    program: Program,
    inputs: Sequence[Array],
    contents: Contents,
    nodes: Iterable[int],
    updates: Iterable[int],
) -> Sample:
    """Some nodes of the main graph and some of its updates.

    What the nodes take from others becomes an input with its content; what none of them takes becomes an output.
    """
    main = program.main
    kept = {main.nodes[k] for k in nodes}
    fresh: Contents = {}
    mapping: dict[Value, Value] = {}

    def of(value: Value) -> Value:
        if value.entry is not None:
            return value
        if value not in mapping:
            mapping[value] = Value(value.type, name=value.name)
            fresh[mapping[value]] = contents[value]
        return mapping[value]

    for node in main.nodes:
        if node in kept:
            names = [r.name for r in node.results]
            operands = [of(o) for o in node.operands]
            results = make(node.op, *operands, regions=node.regions, names=names, origins=node.origins)
            mapping.update(zip(node.results, results, strict=True))
    used = {o for node in kept for o in node.operands}
    needed = set(main.uses())
    written = [(name, of(v)) for name, v in (main.updates[k] for k in updates)]
    given = {v for _, v in written}
    ends = [
        mapping[r]
        for node in main.nodes
        if node in kept
        for r in node.results
        if r in needed and r not in used and mapping[r] not in given
    ]
    graph = Graph(main.name, fresh, ends, written)
    read = {v.entry for v in graph.reads()} | {name for name, _ in written}
    for g in program.graphs.values():
        if g is not main:
            read |= {v.entry for v in g.reads()} | {name for name, _ in g.updates}
    smaller = program.with_graphs(graph).with_store(program.store.only(n for n in read if n is not None))
    return smaller, list(fresh.values())


def bypasses(program: Program) -> Iterator[Callable[[], Program]]:
    """How to make the program without one node, whose users take an operand of the same type instead; regions' nodes too."""
    for node in list(program.main.walk()):
        if len(node.results) != 1:
            continue
        for k, operand in enumerate(node.operands):
            if operand.type == node.results[0].type:
                yield lambda node=node, k=k: _with_edit(program, node, lambda _, o: [o[k]])


def opened_regions(program: Program) -> Iterator[Callable[[], Program]]:
    """How to make the program with one call, group or short loop written out."""
    for node in list(program.main.walk()):
        if isinstance(node.op, HELD):
            yield lambda node=node: _with_edit(program, node, lambda n, o: inline(n.regions[0], o))
        elif isinstance(node.op, Scan) and isinstance(node.op.length, int) and node.op.length <= LONGEST:
            yield lambda node=node: _with_edit(program, node, unrolled)


def _with_edit(program: Program, target: Node, edit: Edit) -> Program:
    return program.with_graphs(_edited(program.main, target, edit))


def _edited(graph: Graph, target: Node, edit: Edit) -> Graph:
    """The graph with one node, of it or of a region, exchanged."""

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if node is target:
            return edit(node, operands)
        if not node.regions:
            return None
        regions = [_edited(region, target, edit) for region in node.regions]
        if all(new is old for new, old in zip(regions, node.regions, strict=True)):
            return None
        return make(node.op, *operands, regions=regions, names=[r.name for r in node.results])

    return rebuild(graph, rewrite)


def copied(program: Program) -> Program:
    """The same program of other nodes and on a copy of its store, so that nothing reaches the one that is given."""
    return _resized(program, [], lambda dim: dim, lambda a: a)[0]


def static(program: Program, inputs: Sequence[Array]) -> Sample:
    """The program for the sizes of these inputs alone."""
    env = bind_symbols([v.type for v in program.main.inputs], inputs)
    return _resized(program, inputs, lambda dim: evaluate_dim(dim, env), lambda a: a)


def smaller_dims(program: Program, inputs: Sequence[Array], size: int, smaller: int) -> Sample:
    """The program with every axis of one size shortened; arrays keep their first elements.

    Raises:
        NervureError: an op does not fit the new sizes
    """

    def cut(array: Array) -> Array:
        return array[tuple(slice(smaller) if d == size else slice(None) for d in array.shape)].copy()

    return _resized(program, inputs, lambda dim: smaller if dim == size else dim, cut)


def _resized(
    program: Program, inputs: Sequence[Array], dim: Callable[[Dim], Dim], cut: Callable[[Array], Array]
) -> Sample:
    graphs = [_resized_graph(g, dim, cut) for g in program.graphs.values()]
    entries = {
        n: Entry(
            e.name,
            e.type.with_shape(tuple(map(dim, e.type.shape))),
            e.kind,
            e.trainable,
            cut(e.data) if e.has_data else None,
        )
        for n, e in program.store.items()
    }
    return Program(program.name, graphs, Store(entries)), [cut(a) for a in inputs]


def _resized_graph(graph: Graph, dim: Callable[[Dim], Dim], cut: Callable[[Array], Array]) -> Graph:
    mapping: dict[Value, Value] = {}

    def of(value: Value) -> Value:
        if value not in mapping:
            shape = tuple(map(dim, value.type.shape))
            mapping[value] = Value(value.type.with_shape(shape), entry=value.entry, name=value.name)
        return mapping[value]

    inputs = [of(v) for v in graph.inputs]
    nodes: list[Node] = []
    for node in graph.nodes:
        regions = [_resized_graph(r, dim, cut) for r in node.regions]
        op = _resized_op(node.op, dim, cut)
        names = [r.name for r in node.results]
        results = make(op, *map(of, node.operands), regions=regions, names=names, origins=node.origins)
        mapping.update(zip(node.results, results, strict=True))
        assert results[0].node is not None
        nodes.append(results[0].node)
    updates = [(n, of(v)) for n, v in graph.updates]
    return Graph(graph.name, inputs, map(of, graph.outputs), updates, nodes)


def _resized_op(op: Op, dim: Callable[[Dim], Dim], cut: Callable[[Array], Array]) -> Op:
    """The op with its dims changed: attributes that are a Dim or a Shape, and the numbers of a constant."""
    if isinstance(op, Constant):
        return Constant(Literal(cut(op.value.array), op.value.type.dtype))
    changes: dict[str, Any] = {}
    for f in fields(op):  # type: ignore[arg-type]
        value = getattr(op, f.name)
        if f.type == "Dim" or isinstance(value, Expr):
            changes[f.name] = dim(value)
        elif f.type == "Shape":
            changes[f.name] = tuple(dim(d) for d in value)
    return replace(op, **changes) if changes else op  # type: ignore[type-var]
