"""A repetition in straight-line code: what is sliced out of sequences step by step, and what each step makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, collect, make
from ..ir.ops.move import Concat, Reshape, Slice
from .regions import fingerprint
from .rules.arithmetic import SYMMETRIC

__all__ = ["Match", "Steps", "joins", "levels", "row", "rows_of"]

DEEPEST = 200
"""Nodes that a step may have behind each other."""


def levels(graph: Graph, sources: dict[Value, list[Value]]) -> list[dict[Value, list[Value]]]:
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


def rows_of(graph: Graph, whole: bool) -> dict[Value, list[Value]]:
    """Values of which every step along axis 0 is sliced out, with these steps; the axis taken away where it is.

    Args:
        whole: False allows that steps are missing at one end, at most half of them. They are made: what a loop does
               last is not written out where nobody reads it
    """
    found: dict[Value, dict[int, Value]] = {}
    users = graph.uses()
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Slice):
            continue
        (x,) = node.operands
        start = op.starts[0]
        full = all(
            (s, n, k) == (0, d, 1)
            for s, n, k, d in zip(op.starts[1:], op.limits[1:], op.strides[1:], x.type.shape[1:], strict=True)
        )
        if not isinstance(start, int) or node.results[0].type.shape[0] != 1 or not full:
            continue
        for user in users.get(node.results[0], ()):
            if user is not None and isinstance(user.op, Reshape) and user.op.shape == x.type.shape[1:]:
                found.setdefault(x, {})[start] = user.results[0]
    rows: dict[Value, list[Value]] = {}
    for x, there in found.items():
        length, count = x.type.shape[0], len(there)
        if not isinstance(length, int):
            continue
        at_one_end = set(there) in (set(range(count)), set(range(length - count, length)))
        if count == length or (not whole and at_one_end and count >= 2 and length <= 2 * count):
            rows[x] = [there[t] if t in there else row(x, t) for t in range(length)]
    return rows


def row(x: Value, t: int) -> Value:
    """x[t]."""
    rest = x.type.shape[1:]
    return b.reshape(b.slice_(x, (t, *(0 for _ in rest)), (t + 1, *rest)), rest)


def joins(users: Mapping[Value, Sequence[Node | None]], steps: Sequence[Value], reverse: bool) -> list[Node]:
    """The concats of a value at all steps, in the order of the rows."""
    wanted = [*reversed(steps)] if reverse else [*steps]
    shape = (1, *wanted[0].type.shape)
    found: list[Node] = []
    for reshape in users.get(wanted[0], ()):
        if reshape is None or not isinstance(reshape.op, Reshape) or reshape.op.shape != shape:
            continue
        for node in users.get(reshape.results[0], ()):
            if node is not None and isinstance(node.op, Concat) and node.op.axis == 0:
                sources = [
                    o.node.operands[0] if o.node is not None and o.node.operands else o for o in node.operands
                ]
                same = all(o.type.shape == shape and isinstance(o.op, Reshape) for o in node.operands)
                if same and sources == wanted and node not in found:
                    found.append(node)
    return found


@dataclass
class Steps:
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
class Match:
    """The second step against the first.

    Args:
        rows:    for each source its steps, in the order of the loop
        reverse: whether that is from the last row to the first

    Attributes:
        before:  for a value of the second step that of the first
        after:   the other way round, for what is made within the first
        carries: of `before`, what enters a step from the one before it
    """

    graph: Graph
    rows: dict[Value, list[Value]]
    reverse: bool = False
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

    def steps(self) -> Steps | None:
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
        own = [n for n in own if n.results[0] not in rows]
        places = self._follow(own, carries)
        kept = [n for n in own if all(n.results[0] in p for p in places)]
        made = {r for n in kept for r in n.results} | rows | set(carries)
        if any(after not in made for after in carries.values()):
            inside = {r for n in own for r in n.results}
            needed = [n for n in collect(carries.values()) if n.results[0] in inside]
            places = self._follow(own, carries, needed)
            kept = [n for n in own if all(n.results[0] in p for p in places)]
            if not self._is_whole(kept, places, carries):
                return None
        roots = {v: k for k, v in reversed(list(enumerate(self.graph.roots)))}
        order = sorted(carries, key=lambda c: roots.get(places[-1].get(carries[c], c), len(roots)))
        return Steps(kept, places, {c: carries[c] for c in order})

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
        pairs = [*zip(m.operands, n.operands, strict=True)]
        if isinstance(m.op, SYMMETRIC) and not all(self._may(x, y) for x, y in pairs):
            pairs = [*zip(m.operands, reversed(n.operands), strict=True)]
        if all(self._same(x, y, depth + 1) for x, y in pairs):
            self.before.update(zip(n.results, m.results, strict=True))
            if self.step.get(a, -1) == 0:
                self.after.update(zip(m.results, n.results, strict=True))
            return True
        self.before, self.after, self.carries = kept
        return False

    def _may(self, a: Value, c: Value) -> bool:
        """Whether `_same` may hold, without a look at what the values are made of."""
        steps = self.step.get(a, -1), self.step.get(c, -1)
        if a is c or c in self.before:
            return steps[0] == -1 if a is c else self.before[c] is a
        return (steps in ((0, 1), (-1, 0), (-1, -1)) and a.op == c.op) or (
            steps == (-1, 0) and a.type == c.type
        )

    def _is_whole(
        self, kept: Sequence[Node], places: Sequence[dict[Value, Value]], carries: dict[Value, Value]
    ) -> bool:
        """Whether steps that were completed lack nothing but what nobody reads: each carry is needed by a value that
        every step has, a join of a carry included, so that it is there as long as something depends on it.
        """
        there = {r for n in self.graph.nodes for r in n.results}
        seen = {c for c in carries if joins(self.users, [p[c] for p in places], self.reverse)}
        moving = set(carries)
        for node in kept:
            if any(o in moving for o in node.operands):
                moving.update(node.results)
                seen.update(r for r in node.results if all(p[r] in there for p in places))
        inside = {r for n in kept for r in n.results}
        while True:
            read = {o for n in collect(seen) if n.results[0] in inside for o in n.operands} | seen
            more = {after for c, after in carries.items() if c in read and after not in seen}
            if not more:
                return bool(seen) and all(c in read for c in carries)
            seen |= more

    def _follow(
        self, nodes: Sequence[Node], carries: dict[Value, Value], needed: Sequence[Node] = ()
    ) -> list[dict[Value, Value]]:
        """Where each value of the second step is in every step, as far as there is one; the needed ones are made."""
        rows, missing = list(self.rows.values()), set(needed)
        own = {r for n in nodes for r in n.results}
        moving = own | set(carries) | {r[1] for r in rows}
        places = [{v: self.before[v] for v in moving}, {v: v for v in moving}]
        for t in range(2, len(rows[0])):
            last = places[-1]
            place = {c: last[after] for c, after in carries.items() if after in last}
            place.update((r[1], r[t]) for r in rows)
            for node in nodes:
                if all(o in place or o not in moving for o in node.operands):
                    operands = [place.get(o, o) for o in node.operands]
                    found = self.table.get(_key(node, operands))
                    if found is not None:
                        place.update(zip(node.results, found.results, strict=True))
                    elif node in missing:
                        place.update(
                            zip(node.results, make(node.op, *operands, regions=node.regions), strict=True)
                        )
            places.append(place)
        return places


def _key(node: Node, operands: Sequence[Value]) -> object:
    either = frozenset(operands) if isinstance(node.op, SYMMETRIC) else tuple(operands)
    return (node.op, either, tuple(map(fingerprint, node.regions)))
