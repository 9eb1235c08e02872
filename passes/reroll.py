"""Find the repetition in straight-line code, such as exporters write, and fold it back into a scan.

rows     slices x[0], x[1], ... of all steps of a value
match    the first step against the second: users of x[0] against those of x[1], their operands, and what follows.
         Where an operand is from before the first step on one side and made by the first on the other, it is a carry
follow   the match says where each value of a step is in the next one; it has to hold up to the last step
fold     values of a step that others read become ys, the last carries results
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.errors import InputError
from ..ir.graph import Graph, Node, Value, collect, make, rebuild
from ..ir.ops.control import Scan
from ..ir.origin import merge_origins
from .base import Pass, Remarks
from .regions import map_regions
from .repetition import Match, Steps, joins, levels, row, rows_of
from .scan_form import VIRTUAL
from .whole_rows import with_whole_rows

__all__ = ["Reroll"]


@dataclass(frozen=True)
class Reroll(Pass):
    """Fold steps that are written out back into scans: `reroll` of `unroll` gives the scan again. Exact. It sees
    equal nodes as one, so `cse` comes before it.

    Where nobody reads the last carries, the last steps are shorter than the others; two whole ones have to be there,
    and half of all. Not recognised: loops over no sequence, and a carry that reads another one's value of the step before
    (h, k = f(h, x), g(k, h)), whose work of a step depends on no row of it.

    Args:
        min: fewer steps stay as they are

    Raises:
        InputError: it is below 2
    """

    name: ClassVar[str] = "reroll"
    min: int = 3

    def __post_init__(self) -> None:
        if self.min < 2:
            raise InputError(f"reroll: min is {self.min}, expected at least 2 steps", code="NV0402")

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def fold(g: Graph) -> Graph:
            while True:
                found = _folded(with_whole_rows(g, self.min), self.min, remarks)
                if found is None:
                    return g
                g = found

        return map_regions(graph, fold)


def _folded(graph: Graph, least: int, remarks: Remarks) -> Graph | None:
    sources = [rows_of(graph, whole=True), rows_of(graph, whole=False)]
    if sources[0].keys() == sources[1].keys():
        sources.pop()
    lengths = sorted({len(rows) for found in sources for rows in found.values()}, reverse=True)
    for length in lengths:
        if length < least:
            continue
        of_length = [{x: r for x, r in found.items() if len(r) == length} for found in sources]
        for rows in (level for found in of_length for level in levels(graph, found)):
            for reverse in (False, True):
                match = Match(graph, {x: r[::-1] if reverse else r for x, r in rows.items()}, reverse)
                steps = match.steps()
                if steps is not None and remarks.allow("reroll"):
                    remarks.note(f"reroll: {length} steps of {len(steps.nodes)} nodes are a scan")
                    return _Fold(graph, match, steps, length, reverse).graph()
    return None


class _Fold:
    """The graph with a scan for a repetition."""

    def __init__(self, graph: Graph, match: Match, steps: Steps, length: int, reverse: bool) -> None:
        self.before, self.rows, self.steps = graph, match.rows, steps
        self.length, self.reverse = length, reverse
        self.users = graph.uses()
        self.values = [r for n in steps.nodes for r in n.results]
        self.inside = {place[n.results[0]].node for place in steps.places for n in steps.nodes}

    def graph(self) -> Graph:
        places = self.steps.places
        stacks = {
            node: (v, turned)
            for v in (*self.steps.carries, *self.values)
            for turned in (False, True)
            for node in joins(self.users, [place[v] for place in places], self.reverse != turned)
        }
        reshapes = {o.node for node in stacks for o in node.operands}
        last = places[-1]
        finals = {after: k for k, after in enumerate(self.steps.carries.values())}
        ys = dict.fromkeys(v for v, _ in stacks.values())
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
                    stands[place[v]] = row(rows[v], self.length - 1 - t if self.reverse else t)

        def rewrite(node: Node, _: tuple[Value, ...]) -> Sequence[Value] | None:
            if node in stacks:
                v, turned = stacks[node]
                return [b.reverse(rows[v], (0,)) if turned else rows[v]]
            if any(r in stands for r in node.results):
                return [stands.get(r, r) for r in node.results]
            return None

        return rebuild(self.before, rewrite)

    def _is_read(self, value: Value, reshapes: set[Node | None]) -> bool:
        """Whether something outside the repetition reads a value of it, joins apart."""
        return any(
            u is None or (u not in self.inside and u not in reshapes) for u in self.users.get(value, ())
        )

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
