"""One row a layer: shapes, parameters, multiply-adds, and the peak of memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..frontend.nn.module import Module
from ..frontend.trace import named_entries, trace
from ..frontend.tracing import LayerCall, Tracing
from ..ir.cost import node_cost
from ..ir.dims import evaluate_dim, free_symbols
from ..ir.errors import NervureError
from ..ir.graph import Graph, Node, Value
from ..ir.ops.recurrent import Recurrence
from ..ir.program import Program
from ..ir.store import Entry
from ..ir.text.printer import value_names

__all__ = ["Layer", "Summary", "summary_of_model", "summary_of_program"]

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Layer:
    """One row.

    Args:
        name:       the path of a module, or the name of a value
        kind:       the module's class, or an op
        inputs:     types of what it reads, weights apart
        outputs:    types of what it gives; empty where it failed
        parameters: elements of its weights that no row before counted
        macs:       multiply-adds of contractions, for the sizes of the summary
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The rows and their totals.

    Args:
        name:       of the program
        sizes:      of the symbols that macs and peak are for
        layers:     in order of computation
        parameters: elements of all weights, each counted once
        trainable:  of those that a training step changes
        bytes:      of all weights and state
        macs:       of the whole
        peak:       bytes of activations that live at once, computed node by node in order
        error:      what stopped the trace after the last row, or None
    """

    name: str
    sizes: Sizes
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    bytes: int
    macs: int
    peak: int
    error: NervureError | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {k: v for k, v in vars(self).items() if k not in ("layers", "error")}
        found["layers"] = [vars(layer) for layer in self.layers]
        return {**found, "error": None if self.error is None else str(self.error)}

    def rows(self) -> list[tuple[str, ...]]:
        """Name, kind, output, parameters, multiply-adds."""

        def count(n: int) -> str:
            return f"{n:,}" if n else "-"

        return [
            (r.name, r.kind, ", ".join(r.outputs) or "fails", count(r.parameters), count(r.macs))
            for r in self.layers
        ]

    def totals(self) -> str:
        """The lines below the table."""
        given = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        where = f" for {given}" if given else ""
        return (
            f"parameters     {self.parameters:,} ({self.trainable:,} trainable), {self.bytes:,} bytes with state\n"
            f"multiply-adds  {self.macs:,}{where}\n"
            f"peak memory    {self.peak:,} bytes of activations{where}"
        )


def summary_of_model(source: Any, types: Sequence[str], sizes: Sizes | None = None) -> Summary:
    """A row for each module that holds no other, and for each op between modules.

    Where a shape fails, the rows up to there and the error.

    Args:
        source: a module or a function
        types:  of its inputs
        sizes:  of symbols; 1, or the least they may be, where not given
    """
    state = Tracing(names=named_entries(source))
    error: NervureError | None = None
    name = type(source).__name__.lower()
    try:
        program = trace(source, *types, state=state)
        name, graph = program.name, program.main
    except NervureError as found:
        error = found
        graph = Graph("forward", [], [v for layer in state.layers for v in layer.outputs])
    paths = {m: p for p, m in source.named_modules()} if isinstance(source, Module) else {}
    return _summary(name, graph, state.names, _Layers(state, paths), sizes or {}, error)


def summary_of_program(program: Program, sizes: Sizes | None = None) -> Summary:
    """A row for each node of the main graph."""
    names = {entry: name for name, entry in program.store.items()}
    return _summary(program.name, program.main, names, _Layers(Tracing(), {}), sizes or {}, None)


class _Layers:
    """The calls of named modules in a trace."""

    def __init__(self, state: Tracing, paths: Mapping[Module, str]) -> None:
        self.calls = [c for c in state.layers if paths.get(cast(Module, c.module))]
        self.paths = paths

    def path(self, call: LayerCall) -> str:
        return self.paths[cast(Module, call.module)]

    def owners(self) -> dict[Node, LayerCall]:
        """The innermost call that made each node: what lies between its outputs and its inputs."""
        found: dict[Node, LayerCall] = {}
        for call in reversed(self.calls):  # inner ones stand behind outer ones
            stack = [v.node for v in call.outputs if v not in call.inputs]
            while stack:
                node = stack.pop()
                if node is not None and node not in found:
                    found[node] = call
                    stack += [o.node for o in node.operands if o not in call.inputs]
        return found

    def failed(self) -> list[Layer]:
        """The innermost call that never gave anything, as a row."""
        open_ = [c for c in self.calls if not c.outputs]
        return [Layer(self.path(c), type(c.module).__name__, _types(c.inputs), (), 0, 0) for c in open_[-1:]]


def _summary(
    name: str,
    graph: Graph,
    entries: Mapping[Entry, str],
    layers: _Layers,
    sizes: Sizes,
    error: NervureError | None,
) -> Summary:
    params = {n: e for e, n in entries.items() if e.kind == "param"}
    elements = {n: evaluate_dim(e.type.size, {}) for n, e in params.items()}
    known = _sizes_of(graph, sizes)
    counted: set[str] = set()
    rows: list[Layer] = []
    for label, kind, nodes, outputs in _pieces(graph, layers):
        own = {o.entry for n in nodes for o in n.operands if o.entry is not None} - counted
        counted |= own
        made = {r for node in nodes for r in node.results}
        inputs = dict.fromkeys(o for n in nodes for o in n.operands if o not in made and o.entry is None)
        size = sum(elements.get(e, 0) for e in own)
        rows.append(Layer(label, kind, _types(inputs), _types(outputs), size, _macs(nodes, known)))
    return Summary(
        name=name,
        sizes=known,
        layers=(*rows, *(layers.failed() if error is not None else [])),
        parameters=sum(elements.values()),
        trainable=sum(elements[n] for n, e in params.items() if e.trainable),
        bytes=sum(evaluate_dim(e.type.nbytes, {}) for e in entries),
        macs=_macs(graph.nodes, known),
        peak=_peak(graph, known),
        error=error,
    )


def _pieces(graph: Graph, layers: _Layers) -> Iterable[tuple[str, str, list[Node], tuple[Value, ...]]]:
    """Runs of nodes that one call made, with its path and class; a node of none stands alone."""
    names, uses, owners = value_names(graph), graph.uses(), layers.owners()
    k = 0
    while k < len(graph.nodes):
        owner = owners.get(graph.nodes[k])
        end = k + 1
        while owner is not None and end < len(graph.nodes) and owners.get(graph.nodes[end]) is owner:
            end += 1
        run = list(graph.nodes[k:end])
        k = end
        if owner is not None:
            yield layers.path(owner), type(owner.module).__name__, run, owner.outputs
        else:
            results = tuple(r for r in run[0].results if uses.get(r)) or run[0].results[:1]
            yield names[results[0]], run[0].op.mnemonic, run, results


def _types(values: Iterable[Value]) -> tuple[str, ...]:
    return tuple(str(v.type) for v in values)


def _sizes_of(graph: Graph, sizes: Sizes) -> dict[str, int]:
    """A size for each symbol of a graph."""
    found: dict[str, int] = {}
    for value in (*graph.inputs, *(r for n in graph.nodes for r in n.results)):
        for dim in value.type.shape:
            for s in free_symbols(dim):
                found[s.name] = sizes.get(s.name, max(1, s.lo))
    return dict(sorted(found.items()))


def _macs(nodes: Iterable[Node], sizes: Sizes) -> int:
    """Multiply-adds of contractions, those of regions included; elementwise work does not count, as is usual."""
    total = 0
    for node in nodes:
        if node.op.mnemonic in ("linear", "dot_general", "conv"):
            total += evaluate_dim(node_cost(node).flops, sizes) // 2
        if isinstance(node.op, Recurrence):
            total += evaluate_dim(node.op.products([o.type for o in node.operands]), sizes)
        for region in node.regions:
            total += _macs(region.nodes, sizes) * evaluate_dim(getattr(node.op, "length", 1), sizes)
    return total


def _peak(graph: Graph, sizes: Sizes) -> int:
    """The most bytes of values that live at once, each from its node to its last user."""

    def size(value: Value) -> int:
        return 0 if value.entry is not None else evaluate_dim(value.type.nbytes, sizes)

    last: dict[Value, int] = {}
    for k, node in enumerate(graph.nodes):
        last.update(dict.fromkeys(node.operands, k))
    last.update(dict.fromkeys(graph.roots, len(graph.nodes)))
    ending: dict[int, list[Value]] = {}
    for value, k in last.items():
        ending.setdefault(k, []).append(value)
    live = peak = sum(size(v) for v in graph.inputs)
    for k, node in enumerate(graph.nodes):
        live += sum(size(r) for r in node.results if r in last)
        peak = max(peak, live)
        live -= sum(size(v) for v in ending.get(k, []))
    return peak
