"""Find the repetition in straight-line code, such as exporters write, and fold it back into a scan.

rows     slices x[0], x[1], ... of all steps of a value
match    the first step against the second: users of x[0] against those of x[1], their operands, and what follows.
         Where an operand is from before the first step on one side and made by the first on the other, it is a carry
follow   the match says where each value of a step is in the next one; it has to hold up to the last step
fold     values of a step that others read become ys, the last carries results
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, collect, make, rebuild
from ..ir.ops.control import Scan
from ..ir.ops.move import Concat, Reshape, Slice
from ..ir.origin import merge_origins
from .base import Pass, Remarks
from .regions import fingerprint, map_regions
from .scan_form import VIRTUAL

__all__ = ["Reroll"]

DEEPEST = 200
"""Nodes that a step may have behind each other."""


@dataclass(frozen=True)
class Reroll(Pass):
    """Fold steps that are written out back into scans: `reroll` of `unroll` gives the scan again. Exact. It sees
    equal nodes as one, so `cse` comes before it.

    A carry whose last value nobody reads leaves a last step that is shorter than the others, which is not recognised.

    Args:
        min: fewer steps stay as they are
    """

    name: ClassVar[str] = "reroll"
    min: int = 3

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def fold(g: Graph) -> Graph:
            while True:
                found = _folded(g, self.min, remarks)
                if found is None:
                    return g
                g = found

        return map_regions(graph, fold)


def _folded(graph: Graph, least: int, remarks: Remarks) -> Graph | None:
    sources = _rows(graph)
    lengths = sorted({len(rows) for rows in sources.values()}, reverse=True)
    for length in lengths:
        if length < least:
            continue
        for rows in _levels(graph, {x: r for x, r in sources.items() if len(r) == length}):
            for reverse in (False, True):
                match = _Match(graph, {x: r[::-1] if reverse else r for x, r in rows.items()})
                steps = match.steps()
                if steps is not None and remarks.allow("reroll"):
                    remarks.note(f"reroll: {length} steps of {len(steps.nodes)} nodes are a scan")
                    return _Fold(graph, match, steps, length, reverse).graph()
    return None


def _levels(graph: Graph, sources: dict[Value, list[Value]]) -> list[dict[Value, list[Value]]]:
    """Sources whose rows do not depend on each other's, those first that depend on none."""
    level: dict[Value, int] = {}
    behind: dict[Value, int] = {}
    of = {row: x for x, rows in sources.items() for row in rows}
    for node in graph.nodes:
        own = max((behind.get(o, 0) for o in node.operands), default=0)
        for r in node.results:
            if r in of:
                level[of[r]] = max(level.get(of[r], 0), own)
                behind[r] = own + 1
            else:
                behind[r] = own
    return [
        {x: rows for x, rows in sources.items() if level.get(x, 0) == k} for k in sorted(set(level.values()))
    ]


def _rows(graph: Graph) -> dict[Value, list[Value]]:
    """Values of which every step along axis 0 is sliced out, with these steps; the axis taken away where it is."""
    found: dict[Value, dict[int, Value]] = {}
    users = graph.uses()
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Slice):
            continue
        (x,) = node.operands
        start = op.starts[0]
        whole = all(
            (s, n, k) == (0, d, 1)
            for s, n, k, d in zip(op.starts[1:], op.limits[1:], op.strides[1:], x.type.shape[1:], strict=True)
        )
        row = node.results[0]
        if not isinstance(start, int) or row.type.shape[0] != 1 or not whole:
            continue
        for user in users.get(row, ()):
            if user is not None and isinstance(user.op, Reshape) and user.op.shape == x.type.shape[1:]:
                found.setdefault(x, {})[start] = user.results[0]
    return {
        x: [rows[t] for t in range(len(rows))]
        for x, rows in found.items()
        if x.type.shape[0] == len(rows) and set(rows) == set(range(len(rows)))
    }


@dataclass
class _Steps:
    """A repetition, written as its second step, in which no two carries are the same value.

    Args:
        nodes:   of the second step, in order
        places:  for each step, where each value of the second one is; of a carry, what enters the step
        carries: what enters the second step, and what of it enters the third
    """

    nodes: list[Node]
    places: list[dict[Value, Value]]
    carries: dict[Value, Value]


@dataclass
class _Match:
    """The second step against the first.

    Args:
        rows: for each source its steps, in the order of the loop

    Attributes:
        before:  for a value of the second step that of the first
        after:   the other way round, for what is made within the first
        carries: of `before`, what enters a step from the one before it
    """

    graph: Graph
    rows: dict[Value, list[Value]]
    step: dict[Value, int] = field(default_factory=dict[Value, int])
    before: dict[Value, Value] = field(default_factory=dict[Value, Value])
    after: dict[Value, Value] = field(default_factory=dict[Value, Value])
    carries: dict[Value, None] = field(default_factory=dict[Value, None])

    def __post_init__(self) -> None:
        """The step of each value: the last row that it depends on, -1 for none."""
        for rows in self.rows.values():
            self.step.update((row, t) for t, row in enumerate(rows))
        for node in self.graph.nodes:
            if not any(r in self.step for r in node.results):
                last = max((self.step.get(o, -1) for o in node.operands), default=-1)
                self.step.update(dict.fromkeys(node.results, last))
        self.users: dict[Value, list[Node]] = {}
        self.table: dict[object, Node] = {}
        for node in self.graph.nodes:
            for operand in dict.fromkeys(node.operands):
                self.users.setdefault(operand, []).append(node)
            self.table.setdefault(_key(node, node.operands), node)

    def steps(self) -> _Steps | None:
        """The repetition that all rows are part of, or None."""
        for rows in self.rows.values():
            self.before[rows[1]] = rows[0]
            self.after[rows[0]] = rows[1]
        for node in self.graph.nodes:
            if self.step.get(node.results[0]) == 0 and node.results[0] not in self.after:
                for partner in self._partners(node):
                    if self._trial(node.results[0], partner.results[0]):
                        break
        if not self.carries or any(c not in self.after for c in self.carries):
            return None
        for node in self.graph.nodes:  # what reads a carry and no row
            known = all(o in self.before or self.step.get(o, -1) == -1 for o in node.operands)
            if self.step.get(node.results[0]) == 0 and known and any(o in self.before for o in node.operands):
                first = self.table.get(_key(node, [self.before.get(o, o) for o in node.operands]))
                if first is not None and node.results[0] not in self.before:
                    self.before.update(zip(node.results, first.results, strict=True))
        carries = {c: self.after[c] for c in self.carries}
        own = [n for n in self.graph.nodes if n.results[0] in self.before and n.results[0] not in carries]
        rows = {r[1] for r in self.rows.values()}
        places = self._follow([n for n in own if n.results[0] not in rows], carries)
        kept = [n for n in own if n.results[0] not in rows and all(n.results[0] in p for p in places)]
        made = {r for n in kept for r in n.results} | rows | set(carries)
        if any(after not in made for after in carries.values()):
            return None
        roots = {v: k for k, v in reversed(list(enumerate(self.graph.roots)))}
        order = sorted(carries, key=lambda c: roots.get(places[-1].get(carries[c], c), len(roots)))
        return _Steps(kept, places, {c: carries[c] for c in order})

    def _partners(self, node: Node) -> list[Node]:
        """Nodes of the second step that may be the node's."""
        known = [self.after[o] for o in node.operands if o in self.after]
        return [n for n in self.users.get(known[0], []) if n.op == node.op] if known else []

    def _trial(self, a: Value, c: Value) -> bool:
        kept = dict(self.before), dict(self.after), dict(self.carries)
        if self._same(a, c, 0):
            return True
        self.before, self.after, self.carries = kept
        return False

    def _same(self, a: Value, c: Value, depth: int) -> bool:
        """Whether c is in the second step what a is in the first; what is found on the way is kept."""
        steps = self.step.get(a, -1), self.step.get(c, -1)
        if a is c:
            return steps[0] == -1
        if c in self.before:
            return self.before[c] is a
        if depth < DEEPEST and steps in ((0, 1), (-1, 0), (-1, -1)) and self._same_node(a, c, depth):
            return True
        if steps == (-1, 0) and a.type == c.type:
            self.before[c] = a
            self.carries[c] = None
            return True
        return False

    def _same_node(self, a: Value, c: Value, depth: int) -> bool:
        m, n = a.node, c.node
        if m is None or n is None or m.op != n.op or a.index != c.index or len(m.operands) != len(n.operands):
            return False
        if tuple(map(fingerprint, m.regions)) != tuple(map(fingerprint, n.regions)):
            return False
        kept = dict(self.before), dict(self.after), dict(self.carries)
        if all(self._same(x, y, depth + 1) for x, y in zip(m.operands, n.operands, strict=True)):
            self.before.update(zip(n.results, m.results, strict=True))
            if self.step.get(a, -1) == 0:
                self.after.update(zip(m.results, n.results, strict=True))
            return True
        self.before, self.after, self.carries = kept
        return False

    def _follow(self, nodes: Sequence[Node], carries: dict[Value, Value]) -> list[dict[Value, Value]]:
        """Where each value of the second step is in every step, as far as there is one."""
        rows = list(self.rows.values())
        own = {r for n in nodes for r in n.results}
        moving = own | set(carries) | {r[1] for r in rows}
        places = [{v: self.before[v] for v in moving}, {v: v for v in moving}]
        for t in range(2, len(rows[0])):
            last = places[-1]
            place = {c: last[after] for c, after in carries.items() if after in last}
            place.update((r[1], r[t]) for r in rows)
            for node in nodes:
                if all(o in place or o not in moving for o in node.operands):
                    found = self.table.get(_key(node, [place.get(o, o) for o in node.operands]))
                    if found is not None:
                        place.update(zip(node.results, found.results, strict=True))
            places.append(place)
        return places


def _key(node: Node, operands: Sequence[Value]) -> object:
    return (node.op, tuple(operands), tuple(map(fingerprint, node.regions)))


class _Fold:
    """The graph with a scan for a repetition."""

    def __init__(self, graph: Graph, match: _Match, steps: _Steps, length: int, reverse: bool) -> None:
        self.before, self.rows, self.steps = graph, match.rows, steps
        self.length, self.reverse = length, reverse
        self.users = graph.uses()
        self.values = [r for n in steps.nodes for r in n.results]
        self.inside = {place[n.results[0]].node for place in steps.places for n in steps.nodes}

    def graph(self) -> Graph:
        joins = {node: v for v in (*self.steps.carries, *self.values) for node in self._joins(v)}
        reshapes = {o.node for node in joins for o in node.operands}
        last = self.steps.places[-1]
        finals = {after: k for k, after in enumerate(self.steps.carries.values())}
        ys = dict.fromkeys(joins.values())
        for v in self.values:
            out = [t for t, place in enumerate(self.steps.places) if self._is_read(place[v], reshapes)]
            if out and not (out == [self.length - 1] and v in finals):
                ys[v] = None
        carries, found = self._scan(list(ys))
        rows = dict(zip(ys, found, strict=True))
        stands: dict[Value, Value] = {last[v]: carries[k] for v, k in finals.items() if v in last}
        for v in (v for v in ys if v not in self.steps.carries):
            for t, place in enumerate(self.steps.places):
                if place[v] not in stands and self._is_read(place[v], reshapes):
                    stands[place[v]] = _row(rows[v], self.length - 1 - t if self.reverse else t)

        def rewrite(node: Node, _: tuple[Value, ...]) -> Sequence[Value] | None:
            if node in joins:
                return [rows[joins[node]]]
            if any(r in stands for r in node.results):
                return [stands.get(r, r) for r in node.results]
            return None

        return rebuild(self.before, rewrite)

    def _is_read(self, value: Value, reshapes: set[Node | None]) -> bool:
        """Whether something outside the repetition reads a value of it, joins apart."""
        return any(
            u is None or (u not in self.inside and u not in reshapes) for u in self.users.get(value, ())
        )

    def _joins(self, v: Value) -> list[Node]:
        """The concats of the value at all steps, in the order of the rows."""
        places = [place[v] for place in self.steps.places]
        wanted = places[::-1] if self.reverse else places
        shape = (1, *v.type.shape)
        found: list[Node] = []
        for reshape in self.users.get(wanted[0], ()):
            if reshape is None or not isinstance(reshape.op, Reshape) or reshape.op.shape != shape:
                continue
            for node in self.users.get(reshape.results[0], ()):
                if node is not None and isinstance(node.op, Concat) and node.op.axis == 0:
                    sources = [
                        o.node.operands[0] if o.node is not None and o.node.operands else o
                        for o in node.operands
                    ]
                    same = all(o.type.shape == shape and isinstance(o.op, Reshape) for o in node.operands)
                    if same and sources == wanted and node not in found:
                        found.append(node)
        return found

    def _scan(self, ys: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """The scan's last carries and its ys."""
        carries, nexts = list(self.steps.carries), list(self.steps.carries.values())
        inside = set(self.values)
        needed = [n for n in collect([*nexts, *ys]) if n.results[0] in inside]
        sources = {rows[1]: x for x, rows in self.rows.items()}
        inits = [self.steps.places[0][c] for c in carries]
        read = [o for n in needed for o in n.operands] + [*nexts, *ys]
        xs = [r for r in sources if r in read]
        outer = dict.fromkeys(o for o in read if o not in inside and o not in sources and o not in carries)
        virtual = {o: collect([o]) for o in outer if _is_virtual(o)}
        consts = [o for o in outer if o not in virtual]
        stands = {c: Value(c.type, name=i.name or "carry") for c, i in zip(carries, inits, strict=True)}
        stands.update((r, Value(r.type, name=sources[r].name or "x")) for r in xs)
        stands.update((o, Value(o.type, name=o.name)) for o in consts)
        inputs = [stands[v] for v in (*carries, *xs, *consts)]
        for node in (*dict.fromkeys(n for nodes in virtual.values() for n in nodes), *needed):
            names = [r.name for r in node.results]
            results = make(
                node.op,
                *(stands[o] for o in node.operands),
                regions=node.regions,
                names=names,
                origins=node.origins,
            )
            stands.update(zip(node.results, results, strict=True))
        body = Graph("body", inputs, [stands[v] for v in (*nexts, *ys)])
        op = Scan(self.length, len(carries), len(xs), self.reverse)
        origins = merge_origins(*(r.node.origins for r in sources if r.node is not None))
        found = make(op, *inits, *(sources[r] for r in xs), *consts, regions=(body,), origins=origins)
        return list(found[: len(carries)]), list(found[len(carries) :])


def _is_virtual(value: Value) -> bool:
    """Whether a value is made of constants alone, and cheaper made again than passed."""
    nodes = collect([value])
    leaves = [o for n in nodes for o in n.operands if o.node is None]
    return value.node is not None and not leaves and all(isinstance(n.op, VIRTUAL) for n in nodes)


def _row(x: Value, t: int) -> Value:
    rest = x.type.shape[1:]
    row = b.slice_(x, (t, *(0 for _ in rest)), (t + 1, *rest))
    return b.reshape(row, rest)
