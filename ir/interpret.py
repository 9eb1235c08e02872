"""The meaning of a program: evaluate its graphs with numpy, one node after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dims import evaluate_dim
from .errors import InputError
from .graph import Graph, Node, Value
from .program import Program
from .types import Array, TensorType

__all__ = ["bind_symbols", "evaluate_graph", "evaluate_program", "run_prepare"]

Observer = Callable[[Node, tuple[Array, ...]], None]


def bind_symbols(
    types: Sequence[TensorType], arrays: Sequence[Array], known: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The known symbols, and the value of each that is a dim of its own in one of the types."""
    env: dict[str, int] = dict(known or {})
    for t, array in zip(types, arrays, strict=True):
        for dim, size in zip(t.shape, array.shape, strict=True):
            if not isinstance(dim, int) and len(dim.terms) == 1 and dim.terms[0][1] == 1:
                (monomial,) = (m for m, _ in dim.terms)
                if len(monomial) == 1 and monomial[0][1] == 1 and hasattr(monomial[0][0], "lo"):
                    env[monomial[0][0].name] = size
    for t, array in zip(types, arrays, strict=True):
        found = tuple(evaluate_dim(d, env) for d in t.shape)
        if found != array.shape or array.dtype != t.dtype.numpy:
            raise InputError(f"expected {t} = {list(found)}, got {array.dtype}{list(array.shape)}")
    return env


def evaluate_graph(
    graph: Graph,
    inputs: Sequence[Array],
    reads: Mapping[str, Array] | None = None,
    *,
    env: dict[str, int] | None = None,
    observe: Observer | None = None,
) -> tuple[list[Array], dict[str, Array]]:
    """Outputs, and the new content of updated entries.

    Args:
        inputs:  one array a graph input
        reads:   the content of store entries by name
        env:     values of symbols, where the inputs do not bind them
        observe: called with each node and its results, in order
    """
    symbols = bind_symbols([v.type for v in graph.inputs], inputs, env)
    values: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    remaining = _use_counts(graph)

    def read(value: Value) -> Array:
        if value.entry is None:
            return values[value]
        if reads is None or value.entry not in reads:
            raise InputError(f"no content for store entry @{value.entry}", code="NV0302")
        return reads[value.entry]

    def run(region: Graph, arrays: Sequence[Array]) -> tuple[Array, ...]:
        outputs, _ = evaluate_graph(region, arrays, None, env=symbols)
        return tuple(outputs)

    for node in graph.nodes:
        arrays = [read(o) for o in node.operands]
        types = tuple(TensorType(r.type.dtype, r.type.concrete(symbols)) for r in node.results)
        extra: dict[str, Any] = {"types": types, "env": symbols}
        if node.regions:
            extra |= {"regions": node.regions, "run": run}
        found = node.op.evaluate(*arrays, **extra)
        results = found if isinstance(found, tuple) else (found,)
        for result, array, want in zip(node.results, results, types, strict=True):
            assert array.shape == want.shape and array.dtype == want.dtype.numpy, (
                f"{node.op.mnemonic} evaluated to {array.dtype}{list(array.shape)}, inferred {want}"
            )
            values[result] = np.asarray(array)
        if observe is not None:
            observe(node, results)
        for operand in dict.fromkeys(node.operands):
            remaining[operand] = remaining.get(operand, 0) - 1
            if remaining[operand] == 0 and operand.node is not None:
                del values[operand]
    return [read(v) for v in graph.outputs], {name: read(v) for name, v in graph.updates}


def _use_counts(graph: Graph) -> dict[Value, int]:
    counts: dict[Value, int] = {}
    for node in graph.nodes:
        for operand in dict.fromkeys(node.operands):
            counts[operand] = counts.get(operand, 0) + 1
    for root in graph.roots:
        counts[root] = counts.get(root, 0) + 1
    return counts


def run_prepare(program: Program) -> None:
    """Fill the derived entries of a program's store from its `prepare` graph, where it has one."""
    if program.prepare is not None:
        reads = {v.entry: program.store[v.entry].data for v in program.prepare.reads() if v.entry is not None}
        _, updates = evaluate_graph(program.prepare, [], reads)
        program.store.assign(updates)


def evaluate_program(program: Program, inputs: Sequence[Array], *, write: bool = False) -> list[Array]:
    """The main graph's outputs on the store as it is.

    Args:
        inputs: one array a graph input
        write:  whether the graph's updates are written to the store
    """
    run_prepare(program)
    graph = program.main
    reads = {v.entry: program.store[v.entry].data for v in graph.reads() if v.entry is not None}
    outputs, updates = evaluate_graph(graph, inputs, reads)
    found = [np.array(o) for o in outputs]
    if write:
        program.store.assign(updates)
    return found
