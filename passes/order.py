"""Put nodes where they free memory, not where the results happen to be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.dims import bounds
from ..ir.graph import Graph, Node, Value
from .base import Pass, Remarks

__all__ = ["Order"]

VIEWS = ("reshape", "opt_barrier")
"""Ops whose result is the operand's memory."""


@dataclass(frozen=True)
class Order(Pass):
    """A node runs as soon as that takes no more memory than waiting: where its operands end with it, or its result is
    written to the store. So weights move while the backward pass goes on, and what it kept for them is free.

    A new content of an entry still comes after every read of the old one. Comes last: passes that exchange nodes
    order them anew. Exact.
    """

    name: ClassVar[str] = "order"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        found = _Schedule(graph).ordered()
        if found == list(graph.nodes):
            return graph
        moved = sum(a is not b for a, b in zip(found, graph.nodes, strict=True))
        if not remarks.allow("order"):
            return graph
        remarks.note(f"order: {moved} of {len(found)} nodes moved")
        return Graph(graph.name, graph.inputs, graph.outputs, graph.updates, found)


class _Schedule:
    """The state of ordering one graph's nodes; the order that they have breaks ties."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.place = {node: k for k, node in enumerate(graph.nodes)}
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for operand in dict.fromkeys(node.operands):
                self.readers.setdefault(operand, []).append(node)
        roots = set(graph.roots)
        self.kept = roots | set(graph.inputs) | {v for v in self.readers if v.entry is not None}
        self.written = roots
        self.unread = {value: len(nodes) for value, nodes in self.readers.items()}
        self.missing = {n: sum(o.node is not None for o in dict.fromkeys(n.operands)) for n in graph.nodes}
        self.old = self._old_contents()
        self.writers: dict[Value, list[Node]] = {}
        for node, values in self.old.items():
            for value in values:
                self.writers.setdefault(value, []).append(node)
        self.done: dict[Node, None] = {}

    def _old_contents(self) -> dict[Node, list[Value]]:
        """For each node that makes new contents of entries, the reads of the old ones, views of these among them."""
        reads: dict[str, list[Value]] = {}
        name_of: dict[Value, str] = {}
        for value in self.readers:
            if value.entry is not None:
                name_of[value] = value.entry
        for node in self.graph.nodes:
            if node.op.mnemonic in VIEWS and node.operands[0] in name_of:
                name_of[node.results[0]] = name_of[node.operands[0]]
        for value, name in name_of.items():
            if value in self.readers:
                reads.setdefault(name, []).append(value)
        found: dict[Node, list[Value]] = {}
        for name, value in self.graph.updates:
            if value.node is not None:
                found.setdefault(value.node, []).extend(reads.get(name, []))
        return found

    def ordered(self) -> list[Node]:
        # constants take no memory of the program's; nobody has to wait for them
        for node in (*(n for n in self.graph.nodes if not n.operands), *self.graph.nodes):
            if node not in self.done:
                self._emit(node)
        return list(self.done)

    def _emit(self, node: Node) -> None:
        """Run the node, then all that this lets run for nothing, what frees most first."""
        waiting: dict[Node, None] = {}
        current: Node | None = node
        while current is not None:
            self.done[current] = None
            waiting.update(dict.fromkeys(self._near(current)))
            gains = {n: g for n in waiting if n not in self.done and (g := self._gain(n)) is not None}
            waiting = dict.fromkeys(gains)  # others come back when something near them runs
            current = min(gains, key=lambda n: (-gains[n], self.place[n]), default=None)

    def _near(self, node: Node) -> list[Node]:
        """What may run for nothing now that the node has run."""
        near: list[Node] = []
        for operand in dict.fromkeys(node.operands):
            self.unread[operand] -= 1
            if self.unread[operand] == 1:  # it may end with its last reader
                near += (n for n in self.readers[operand] if n not in self.done)
            if self.unread[operand] <= 1:
                near += self.writers.get(operand, ())
        for result in node.results:
            for reader in self.readers.get(result, ()):
                self.missing[reader] -= 1
                if not self.missing[reader]:
                    near.append(reader)
        return near

    def _gain(self, node: Node) -> int | None:
        """The bytes that running the node now gives back; None where it cannot run, or takes more than it gives."""
        if self.missing[node]:
            return None
        # what others still read of the entry that this node writes anew
        if any(self.unread[v] > (v in node.operands) for v in self.old.get(node, ())):
            return None
        ends = [o for o in dict.fromkeys(node.operands) if self.unread[o] == 1 and o not in self.kept]
        takes = sum(_nbytes(r) for r in node.results if r not in self.written)
        gain = sum(_nbytes(o) for o in ends) - takes
        return gain if gain >= 0 else None


def _nbytes(value: Value) -> int:
    """Bytes at the largest sizes of the symbols."""
    return bounds(value.type.nbytes)[1]
