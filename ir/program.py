"""A program: named graphs, the store they read and write, and the symbols of their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .dims import Symbol, free_symbols
from .display import shown
from .errors import NervureError
from .graph import Graph, Value
from .store import Store

__all__ = ["Program"]


class Program:
    """What a frontend makes, a pass improves and a backend compiles.

    Args:
        name:   for the text form
        graphs: by name, in order; the first that is not ``prepare`` is what an executable runs
        store:  the entries that the graphs read and update, shared by reference
    """

    __slots__ = ("graphs", "name", "store")

    def __init__(self, name: str, graphs: Iterable[Graph], store: Store | None = None) -> None:
        self.name = name
        self.graphs: Mapping[str, Graph] = {g.name: g for g in graphs}
        self.store = Store() if store is None else store

    @property
    def main(self) -> Graph:
        """The graph that an executable runs at each call."""
        for name, graph in self.graphs.items():
            if name != "prepare":
                return graph
        raise NervureError(f"program {self.name} has no graph to run")

    @property
    def prepare(self) -> Graph | None:
        """The graph that computes derived entries from weights, run at load and when weights change."""
        return self.graphs.get("prepare")

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols of all types, by name."""
        found: dict[str, Symbol] = {}
        for graph in self.graphs.values():
            for value in graph_values(graph):
                for dim in value.type.shape:
                    for s in free_symbols(dim):
                        if found.setdefault(s.name, s) != s:
                            raise NervureError(f"symbol {s.name} has two ranges in program {self.name}")
        return tuple(found[name] for name in sorted(found))

    def with_graphs(self, *graphs: Graph) -> Program:
        """The program with these graphs in place of those of the same name, or added."""
        return Program(self.name, {**self.graphs, **{g.name: g for g in graphs}}.values(), self.store)

    def with_store(self, store: Store) -> Program:
        return Program(self.name, self.graphs.values(), store)

    def __str__(self) -> str:
        from .text.printer import print_program

        return print_program(self)

    def __repr__(self) -> str:
        return f"<program {self.name}: {', '.join(f'{g.name} ({len(g.nodes)} nodes)' for g in self.graphs.values())}>"

    def _repr_html_(self) -> str | None:
        return shown("html", self)


def graph_values(graph: Graph) -> Iterable[Value]:
    """Inputs and results of a graph and of the regions within it."""
    yield from graph.inputs
    for node in graph.walk():
        yield from node.results
        for region in node.regions:
            yield from region.inputs
