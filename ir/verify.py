"""The rules that every graph keeps; checked after each pass."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import NervureError, VerifyError
from .graph import Graph, Node, Value
from .program import Program
from .store import Entry
from .types import TensorType

__all__ = ["verify_graph", "verify_program"]

MAX_DEPTH = 64


def verify_program(program: Program) -> None:
    """Check every graph and the store that they use.

    Raises:
        VerifyError: naming the graph, the node and the rule that is broken
    """
    _ = program.symbols
    for graph in program.graphs.values():
        verify_graph(graph, program.store)


def verify_graph(graph: Graph, store: Mapping[str, Entry] | None = None) -> None:
    """Check one graph: operands defined before use, types as inferred, regions isolated, updates of known entries."""
    stack = [(graph, 0)]
    while stack:
        current, depth = stack.pop()
        _check(current, store if depth == 0 else {}, is_region=depth > 0)
        if depth > MAX_DEPTH:
            raise VerifyError(f"graph {graph.name}: regions nested deeper than {MAX_DEPTH}")
        stack += [(region, depth + 1) for node in current.nodes for region in node.regions]


def _check(graph: Graph, store: Mapping[str, Entry] | None, *, is_region: bool) -> None:
    known = set(graph.inputs)
    if len(known) != len(graph.inputs):
        raise VerifyError(f"graph {graph.name}: an input stands twice")
    for node in graph.nodes:
        for operand in node.operands:
            _check_use(graph, operand, known, store, is_region, node)
        _check_types(graph, node)
        known.update(node.results)
    for root in graph.roots:
        _check_use(graph, root, known, store, is_region, None)
    if is_region and graph.updates:
        raise VerifyError(f"graph {graph.name}: a region updates the store")
    names = [name for name, _ in graph.updates]
    if len(set(names)) != len(names):
        raise VerifyError(f"graph {graph.name}: an entry is updated twice")
    for name, value in graph.updates:
        if store is not None and name not in store:
            raise VerifyError(f"graph {graph.name}: updates @{name}, which the store has not")
        if store is not None and store[name].type != value.type:
            raise VerifyError(
                f"graph {graph.name}: update of @{name} is {value.type}, expected {store[name].type}"
            )


def _check_use(
    graph: Graph,
    value: Value,
    known: set[Value],
    store: Mapping[str, Entry] | None,
    is_region: bool,
    node: Node | None,
) -> None:
    user = "a root" if node is None else node.op.mnemonic
    where = [str(o) for o in node.origins] if node is not None else []
    if value.entry is not None:
        if is_region:
            raise VerifyError(f"region: {user} reads @{value.entry}; regions are isolated", where=where)
        if store is not None and (value.entry not in store or store[value.entry].type != value.type):
            raise VerifyError(
                f"graph {graph.name}: {user} reads @{value.entry} as {value.type}, which the store has not",
                where=where,
            )
    elif value not in known:
        raise VerifyError(
            f"graph {graph.name}: {user} uses {value!r}, which is not defined before it", where=where
        )


def _check_types(graph: Graph, node: Node) -> None:
    types = [o.type for o in node.operands]
    try:
        found = node.op.infer(*types, regions=node.regions) if node.op.num_regions else node.op.infer(*types)
    except NervureError as error:
        raise VerifyError(
            f"graph {graph.name}: {error.message}",
            details=error.details,
            where=[str(o) for o in node.origins],
        ) from error
    inferred = (found,) if isinstance(found, TensorType) else tuple(found)
    declared = tuple(r.type for r in node.results)
    if inferred != declared:
        raise VerifyError(f"graph {graph.name}: {node.op.mnemonic} has type {declared}, inferred {inferred}")
