"""Move work out of loops: what is the same in each step, and what all steps can do at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Op
from ..ir.ops.contract import DotGeneral
from ..ir.ops.control import Scan
from ..ir.ops.nn import Linear
from .base import Pass, Remarks
from .batching import Stacks, at_all_steps, batches, repeated
from .driver import to_fixed_point
from .hoist_sums import Term, is_sum, sum_over_steps
from .scan_form import VIRTUAL, ScanForm, cloned

__all__ = ["Hoist"]

HEAVY: tuple[type[Op], ...] = (DotGeneral, Linear)
"""Work that is worth memory for all steps where one operand stays: many rows make a product fast."""


@dataclass(frozen=True)
class Hoist(Pass):
    """Take work out of scans.

    invariant  what does not change from step to step is computed before the loop. Exact
    before     products of xs alone, with the maps around them, become one large product before the loop. Exact
    after      products that no carry needs, such as o[t] = V h[t], become one large product behind it. Exact
    sums       a carry that only adds up products or sums, such as a weight's gradient, becomes one product or sum over
               all steps. Reassociates

    A scan around a scan gives only the first of these.
    """

    name: ClassVar[str] = "hoist"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            return _Hoisting(node, operands, remarks).results() if isinstance(node.op, Scan) else None

        return to_fixed_point(graph, lambda g: rebuild(g, rewrite), remarks, name=self.name)


@dataclass
class _Kept:
    """Which results of the scan its carries and ys still are, and what is made of the others."""

    carries: list[int]
    ys: list[int | None]
    known: dict[int, Value] = field(default_factory=dict[int, Value])
    later: list[Callable[[Callable[[Value], Value]], dict[int, Value]]] = field(
        default_factory=list[Callable[[Callable[[Value], Value]], dict[int, Value]]]
    )


class _Hoisting:
    """One scan: each step of the work changes its form; results that leave it are made before or after the loop."""

    def __init__(self, node: Node, operands: Sequence[Value], remarks: Remarks) -> None:
        self.node, self.remarks = node, remarks
        self.form = ScanForm.of(node, operands)
        self.length = self.form.op.length
        first = len(self.form.carries)
        self.kept = _Kept(list(range(first)), list(range(first, first + len(self.form.ys))))

    def results(self) -> list[Value] | None:
        moved = [self._invariant()]
        # a loop around a loop has many rows at each step already, and blocks that are computed again are to stay small
        if not any(isinstance(n.op, Scan) for n in self.form.nodes):
            moved += [self._sums()]
            if not any(
                moved
            ):  # else what they read is settled first, and they have their turn in the next sweep
                moved = [self._before(), self._after()]
        if not any(moved):
            return None
        form, kept = self.form, self.kept
        places = {v: k for k, v in reversed(list(enumerate(form.ys)))}
        names = [self.node.results[k].name for k in kept.carries]
        names += ["" if k is None else self.node.results[k].name for k in kept.ys]
        carries, ys = form.make(names) if form.outputs else ([], [])
        found = dict(kept.known)
        found.update(zip(kept.carries, carries, strict=True))
        found.update((k, y) for k, y in zip(kept.ys, ys, strict=True) if k is not None)
        rows = dict(zip(form.xs, form.rows, strict=True))
        for make in kept.later:
            found.update(make(lambda v: rows[v] if v in rows else ys[places[v]]))
        return [found[k] for k in range(len(self.node.results))]

    def _same(self) -> set[Value]:
        """What does not change from step to step."""
        same = set(self.form.consts)
        for node in self.form.nodes:
            if all(o in same for o in node.operands):
                same.update(node.results)
        return same

    def _users(self) -> dict[Value, list[Node]]:
        users: dict[Value, list[Node]] = {}
        for node in self.form.nodes:
            for operand in node.operands:
                users.setdefault(operand, []).append(node)
        return users

    # what is the same in each step
    def _invariant(self) -> bool:
        form, same = self.form, self._same()
        inside = [n for n in form.nodes if n.results[0] in same]
        work = [n for n in inside if not isinstance(n.op, VIRTUAL)]
        if not work or not self.remarks.allow("hoist-invariant"):
            return False
        outside = cloned(inside, dict(zip(form.consts, form.outer, strict=True)))
        moved = set(work)
        rest = [n for n in form.nodes if n not in moved]
        read = {o for n in rest for o in n.operands} | set(form.outputs)
        stands = {r: Value(r.type, name=r.name) for n in work for r in n.results if r in read}
        form.outer += [outside.get(r, r) for r in stands]
        form.consts += stands.values()
        form.exchange(rest, stands)
        return True

    # what depends on xs alone
    def _before(self) -> bool:
        form, same = self.form, self._same()
        ready = set(form.xs)
        nodes: list[Node] = []
        for node in form.nodes:
            changing = [o not in same for o in node.operands]
            if all(o in same or o in ready for o in node.operands) and batches(node, changing):
                ready.update(node.results)
                nodes.append(node)
        chosen = _around_heavy(nodes, same)
        if not chosen or not self.remarks.allow("hoist-before"):
            return False
        known: Stacks = {v: (o, True) for v, o in zip(form.xs, form.rows, strict=True)}
        stacks = self._outside(chosen, same, known)
        rest = [n for n in form.nodes if n not in chosen]
        read = {o for n in rest for o in n.operands} | set(form.nexts)
        stands = {r: Value(r.type, name=r.name) for n in chosen for r in n.results if r in read}
        made = {r for n in chosen for r in n.results}
        self._give({k: stacks[y][0] for k, y in self._outputs() if y in made and k is not None})
        form.rows += [stacks[r][0] for r in stands]
        form.xs += stands.values()
        form.exchange(rest, stands)
        return True

    # what no carry needs
    def _after(self) -> bool:
        form, same, users = self.form, self._same(), self._users()
        needed = set(Graph("", [], form.nexts).nodes)
        free: set[Node] = set()
        for node in reversed(form.nodes):
            mine = [u for r in node.results for u in users.get(r, [])]
            changing = [o not in same for o in node.operands]
            if node not in needed and all(u in free for u in mine) and batches(node, changing):
                free.add(node)
        chosen: dict[Node, None] = {}
        for node in form.nodes:
            behind = any(o.node in chosen for o in node.operands)
            if node in free and (behind or _is_heavy(node, same)):
                chosen[node] = None
        if not chosen or not self.remarks.allow("hoist-after"):
            return False
        made = {r for n in chosen for r in n.results}
        read = dict.fromkeys(o for n in chosen for o in n.operands if o not in made and o not in same)
        outputs = {k: y for k, y in self._outputs() if y in made and k is not None}
        self._drop(set(outputs))
        self._want(read)

        def later(stack: Callable[[Value], Value]) -> dict[int, Value]:
            stacks = self._outside(chosen, same, {v: (stack(v), True) for v in read})
            return {k: stacks[y][0] for k, y in outputs.items()}

        self.kept.later.append(later)
        return True

    # carries that only add up
    def _sums(self) -> bool:
        form, users, same = self.form, self._users(), self._same()
        taken: list[tuple[int, int, list[Term]]] = []
        for k, (carry, after) in enumerate(zip(form.carries, form.nexts, strict=True)):
            if (
                carry in form.ys
                or len(users.get(carry, [])) != 1
                or form.nexts.count(carry)
                or after in form.ys
            ):
                continue
            if len(users.get(after, [])) or form.nexts.count(after) != 1:
                continue
            terms = is_sum(carry, after, users, form.xs, same)
            if terms is not None and self.remarks.allow("hoist-sum"):
                taken.append((k, self.kept.carries[k], terms))
        if not taken:
            return False
        for k, index, terms in taken:
            self._want(dict.fromkeys(v for t in terms for v in t.reads if v not in same))
            init = form.inits[k]
            self.kept.later.append(self._summing(index, init, terms, same))
        gone = {k for k, _, _ in taken}
        stay = [k for k in range(len(form.carries)) if k not in gone]
        form.inits = [form.inits[k] for k in stay]
        form.carries = [form.carries[k] for k in stay]
        form.nexts = [form.nexts[k] for k in stay]
        self.kept.carries = [self.kept.carries[k] for k in stay]
        return True

    def _summing(
        self, index: int, init: Value, terms: Sequence[Term], same: set[Value]
    ) -> Callable[[Callable[[Value], Value]], dict[int, Value]]:
        def later(stack: Callable[[Value], Value]) -> dict[int, Value]:
            known: Stacks = {v: (stack(v), True) for t in terms for v in t.reads if v not in same}
            stacks = self._outside((), same, known)
            return {index: sum_over_steps(init, terms, stacks)}

        return later

    # helpers
    def _outside(self, nodes: Sequence[Node] | dict[Node, None], same: set[Value], known: Stacks) -> Stacks:
        """The nodes at all steps; what is the same at each comes from outside or is made again there."""
        form = self.form
        stacks: Stacks = {v: (o, False) for v, o in zip(form.consts, form.outer, strict=True)}
        stacks = at_all_steps([n for n in form.nodes if n.results[0] in same], stacks, self.length)
        return at_all_steps(nodes, {**stacks, **known}, self.length)

    def _outputs(self) -> list[tuple[int | None, Value]]:
        return list(zip(self.kept.ys, self.form.ys, strict=True))

    def _give(self, known: dict[int, Value]) -> None:
        """Results that are known before the loop; what is the same at each step is repeated."""
        for k, value in known.items():
            whole = value.type == self.node.results[k].type
            self.kept.known[k] = value if whole else repeated(value, self.length)
        self._drop(set(known))

    def _drop(self, results: set[int]) -> None:
        left = [(k, y) for k, y in self._outputs() if k is None or k not in results]
        self.kept.ys, self.form.ys = [k for k, _ in left], [y for _, y in left]

    def _want(self, values: dict[Value, None]) -> None:
        """Let the loop give these values of its body at each step."""
        for value in values:
            if value not in self.form.xs and value not in self.form.ys:
                self.form.ys.append(value)
                self.kept.ys.append(None)


def _is_heavy(node: Node, same: set[Value]) -> bool:
    return isinstance(node.op, HEAVY) and any(o in same for o in node.operands)


def _around_heavy(nodes: Sequence[Node], same: set[Value]) -> dict[Node, None]:
    """The heavy nodes of a list, what they need of it, and the maps right behind them that are no larger."""
    inside = set(nodes)
    heavy = {n for n in nodes if _is_heavy(n, same)}
    chosen = set(heavy)
    for node in reversed(nodes):
        if node in chosen:
            chosen.update(o.node for o in node.operands if o.node is not None and o.node in inside)
    for node in nodes:
        size = node.results[0].type.size
        if any(o.node in heavy and o.type.size == size for o in node.operands):
            chosen.add(node)
    return {
        n: None
        for n in nodes
        if n in chosen and all(o.node in chosen or o.node not in inside for o in n.operands)
    }
