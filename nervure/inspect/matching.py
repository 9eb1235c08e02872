"""Which nodes of two graphs are the same: hashes of what a node computes from, then of what is made of it, then neighbours.

Hashes are numbers of a table that both graphs share, so that equal numbers mean equal structure and nothing collides.
Types take no part in them: another batch size changes every type of a graph, and yet no node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping

from ..ir.graph import Graph, Node, Value
from ..ir.op import attributes
from ..ir.text.printer import attribute_text

__all__ = ["Matching", "Numbers", "Side", "attribute_texts", "graph_number", "match_graphs"]

CANDIDATES = 16
"""Nodes of equal hash among which the one with most operands in common is sought."""

ROUNDS = 16
"""Times that partners look for nodes beside them that do something else."""


class Numbers:
    """A number for each different key, in the order met."""

    def __init__(self) -> None:
        self._of: dict[Hashable, int] = {}

    def __call__(self, *key: Hashable) -> int:
        return self._of.setdefault(key, len(self._of))


def attribute_texts(node: Node) -> tuple[tuple[str, str], ...]:
    """Name and text of each attribute that has not its default."""
    return tuple((n, attribute_text(v, None)) for n, v, default in attributes(node.op) if not default)


def op_number(node: Node, numbers: Numbers) -> int:
    """What a node does: mnemonic, attributes and regions."""
    regions = tuple(graph_number(region, numbers) for region in node.regions)
    return numbers("op", node.op.mnemonic, attribute_texts(node), regions)


def graph_number(graph: Graph, numbers: Numbers) -> int:
    """A graph as a whole, however its nodes are ordered and named."""
    side = Side(graph, {v: numbers("input", k) for k, v in enumerate(graph.inputs)}, numbers)
    types = tuple(str(v.type) for v in graph.inputs)
    outputs = tuple(side.up[v] for v in graph.outputs)
    updates = tuple(sorted((name, side.up[v]) for name, v in graph.updates))
    return numbers("graph", types, outputs, updates)


class Side:
    """One of two graphs.

    Attributes:
        key:   of each node, what it does
        up:    of each value, all that it is computed from
        down:  of each node, all that is made of it
        users: of each value, the users with the operand's position, in order
        roots: of each value, its places among outputs and updates
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[Value, int],
        numbers: Numbers,
        entry: Callable[[str], str] = str,
    ) -> None:
        self.graph = graph
        self.up: dict[Value, int] = dict(inputs)
        self.key: dict[Node, int] = {}
        self.users: dict[Value, list[tuple[Node, int]]] = {}
        self.roots: dict[Value, list[Hashable]] = {}
        for value in graph.reads():
            self.up[value] = numbers("entry", entry(value.entry or ""))
        for node in graph.nodes:
            self.key[node] = op_number(node, numbers)
            whole = numbers("up", self.key[node], tuple(self.up[o] for o in node.operands))
            for k, result in enumerate(node.results):
                self.up[result] = numbers("result", whole, k)
            for k, operand in enumerate(node.operands):
                self.users.setdefault(operand, []).append((node, k))
        for k, output in enumerate(graph.outputs):
            self.roots.setdefault(output, []).append(k)
        for name, value in graph.updates:
            self.roots.setdefault(value, []).append(entry(name))
        self.down: dict[Node, int] = {}
        for node in reversed(graph.nodes):
            uses = tuple(self._uses(r) for r in node.results)
            self.down[node] = numbers("down", self.key[node], uses)

    def _uses(self, value: Value) -> Hashable:
        users = sorted((self.down.get(node, -1), k) for node, k in self.users.get(value, ()))
        return tuple(users), tuple(sorted(map(str, self.roots.get(value, ()))))

    def whole(self, node: Node) -> Hashable:
        """What a node computes from, as one number; nodes without results have none."""
        return self.up[node.results[0]] if node.results else None


class Matching:
    """Pairs of nodes of two graphs.

    Attributes:
        a, b:    the two
        to_b:    the partner of a node of a
        to_a:    the partner of a node of b
    """

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        self.to_b: dict[Node, Node] = {}
        self.to_a: dict[Node, Node] = {}
        self._fresh: deque[tuple[Node, Node]] = deque()
        self._pairs: list[tuple[Node, Node]] = []

    def same(self, x: Value, y: Value) -> bool:
        """Whether a value of a and one of b are the same result of partners, or computed from the same."""
        if self.a.up[x] == self.b.up[y]:
            return True
        return x.node is not None and self.to_b.get(x.node) is y.node and x.index == y.index

    def add(self, x: Node, y: Node) -> None:
        self.to_b[x], self.to_a[y] = y, x
        self._fresh.append((x, y))
        self._pairs.append((x, y))

    def rest(self) -> tuple[list[Node], list[Node]]:
        """The nodes without a partner."""
        return (
            [n for n in self.a.graph.nodes if n not in self.to_b],
            [n for n in self.b.graph.nodes if n not in self.to_a],
        )

    def by_number(self, number: Callable[[Side, Node], Hashable]) -> None:
        """Match the rest by a number; among several, those with most operands in common."""
        left, right = self.rest()
        groups: dict[Hashable, list[Node]] = {}
        for node in reversed(right):
            groups.setdefault(number(self.b, node), []).append(node)
        for node in left:
            group = groups.get(number(self.a, node))
            if not group:
                continue
            window = range(max(len(group) - CANDIDATES, 0), len(group))
            best = max((self._common(node, group[k]), k) for k in window)[1]
            self.add(node, group.pop(best))

    def _common(self, x: Node, y: Node) -> int:
        return sum(self.same(v, w) for v, w in zip(x.operands, y.operands, strict=False))

    def by_text(self) -> None:
        """Match the rest by op, name and lines, where these are as many on both sides."""
        left, right = self.rest()
        for named in (True, False):
            found: dict[Hashable, tuple[list[Node], list[Node]]] = {}
            for k, nodes in enumerate((left, right)):
                for node in nodes:
                    if node in self.to_b or node in self.to_a:
                        continue
                    names = tuple(r.name for r in node.results)
                    if not (any(names) if named else node.origins):
                        continue
                    where = names if named else node.origins
                    found.setdefault((node.op.mnemonic, where), ([], []))[k].append(node)
            for xs, ys in found.values():
                if len(xs) == len(ys):
                    for x, y in zip(xs, ys, strict=True):
                        self.add(x, y)

    def spread(self, values: Iterable[tuple[Value, Value]]) -> None:
        """Match what stands beside partners: nodes that do the same, then nodes in the same place."""
        for x, y in values:
            self._users(x, y, self._equal)
        for _ in range(ROUNDS):
            while self._fresh:
                x, y = self._fresh.popleft()
                self._beside(x, y, self._equal)
            if not self._in_place():
                break

    def _beside(self, x: Node, y: Node, fits: Callable[[Node, Node], bool]) -> bool:
        """Match operands and users of two partners; whether there was one."""
        found = False
        for v, w in zip(x.operands, y.operands, strict=False):
            if v.node is None or w.node is None or v.index != w.index:
                continue
            if v.node not in self.to_b and w.node not in self.to_a and fits(v.node, w.node):
                self.add(v.node, w.node)
                found = True
        for v, w in zip(x.results, y.results, strict=False):
            found |= self._users(v, w, fits)
        return found

    def _users(self, v: Value, w: Value, fits: Callable[[Node, Node], bool]) -> bool:
        left = [(n, k) for n, k in self.a.users.get(v, ()) if n not in self.to_b]
        right = [(n, k) for n, k in self.b.users.get(w, ()) if n not in self.to_a] if left else []
        found = False
        for node, k in left[:CANDIDATES]:
            for other, j in right[:CANDIDATES]:
                if j == k and node not in self.to_b and other not in self.to_a and fits(node, other):
                    self.add(node, other)
                    found = True
        return found

    def _equal(self, x: Node, y: Node) -> bool:
        return self.a.key[x] == self.b.key[y]

    def _in_place(self) -> bool:
        """Match one round of nodes that do something else in the same place; whether there was one."""
        found = False
        for x, y in self._pairs:  # which grows meanwhile
            found |= self._beside(x, y, self._replaces)
        left, right = self.rest()
        places = {place: node for node in right for place in self._places(self.b, node)}
        for node in left:
            for place in self._places(self.a, node):
                other = places.get(place)
                if other is not None and other not in self.to_a and self._replaces(node, other):
                    self.add(node, other)
                    found = True
                    break
        return found

    @staticmethod
    def _places(side: Side, node: Node) -> list[Hashable]:
        return [place for r in node.results for place in side.roots.get(r, ())]

    def _replaces(self, x: Node, y: Node) -> bool:
        """Whether y stands where x stood: the same op with one neighbour in common, or another with both sides."""
        before = self._common(x, y) > 0 or (not x.operands and not y.operands)
        after = any(self._shares_use(v, w) for v, w in zip(x.results, y.results, strict=False))
        if x.op.mnemonic == y.op.mnemonic:
            return before or after
        kinds = [[(r.type.dtype, len(r.type.shape)) for r in node.results] for node in (x, y)]
        # a group or a loop stands for more than the one node that it could be taken for
        return before and after and kinds[0] == kinds[1] and bool(x.regions) == bool(y.regions)

    def _shares_use(self, v: Value, w: Value) -> bool:
        if set(self.a.roots.get(v, ())) & set(self.b.roots.get(w, ())):
            return True
        users = {(self.to_b[n], k) for n, k in self.a.users.get(v, ()) if n in self.to_b}
        return any(use in users for use in self.b.users.get(w, ()))


def match_graphs(a: Side, b: Side, leaves: Iterable[tuple[Value, Value]]) -> Matching:
    """Pair the nodes of two graphs.

    Args:
        leaves: inputs and reads that stand for each other
    """
    seeds = list(leaves)
    matching = Matching(a, b)
    matching.by_number(lambda side, node: (side.whole(node), side.down[node]))
    matching.by_number(lambda side, node: (side.whole(node), side.key[node]))
    matching.by_number(lambda side, node: side.down[node])
    matching.spread(seeds)
    matching.by_text()
    matching.spread(())
    return matching
