"""Make scans carry and keep only what changes and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, collect, make, rebuild
from ..ir.ops.control import Scan
from ..ir.ops.move import BroadcastInDim, Concat, Permute, Reshape, Slice
from .base import Pass, Remarks
from .driver import to_fixed_point
from .regions import fingerprint
from .rules.move import slice_of_permute
from .scan_form import VIRTUAL, ScanForm, cloned

__all__ = ["SimplifyScans"]

MOST_JOINED = 4
"""Values of a concat that is cut before it is made; a loop that was written out joins hundreds."""

Users = Mapping[Value, Sequence["Node | None"]]


@dataclass(frozen=True)
class SimplifyScans(Pass):
    """Exact.

    constant   constants from outside, and what is repeated along the steps, are made inside
    still      a carry that stays as it is becomes a const
    equal      carries that begin equal and stay equal are one
    last       of ys of which only the last step is read, only that one is kept
    earlier    what is cut out of ys that were joined and turned is cut out before: the last step of two directions
    """

    name: ClassVar[str] = "simplify-scans"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def sweep(g: Graph) -> Graph:
            if not any(isinstance(n.op, Scan) for n in g.nodes):
                return g
            users = g.uses()

            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                if isinstance(node.op, Slice):
                    part = _earlier(node, operands[0], users)
                    return [part] if part is not None and remarks.allow("scan-earlier") else None
                if not isinstance(node.op, Scan):
                    return None
                for name, step in _STEPS.items():
                    found = step(node, operands, users)
                    if found is not None:
                        return found if remarks.allow(f"scan-{name}") else None
                return None

            return rebuild(g, rewrite)

        return to_fixed_point(graph, sweep, remarks, name=self.name)


def _constant(node: Node, operands: Sequence[Value], users: Users) -> list[Value] | None:
    form = ScanForm.of(node, operands)
    stands: dict[Value, Value] = {}
    rows = list(zip(form.rows, form.xs, strict=True))
    for row, x in rows:
        made = row.node
        if made is not None and isinstance(made.op, BroadcastInDim) and 0 not in made.op.axes:
            source = Value(made.operands[0].type, name=made.operands[0].name)
            form.outer.append(made.operands[0])
            form.consts.append(source)
            stands[x] = b.broadcast_in_dim(source, x.type.shape, [a - 1 for a in made.op.axes])
    form.rows = [row for row, x in rows if x not in stands]
    form.xs = [x for _, x in rows if x not in stands]
    for outer, inner in zip(form.outer, form.consts, strict=True):
        nodes = collect([outer])
        small = outer.node is not None and all(isinstance(n.op, VIRTUAL) for n in nodes)
        if small and all(o.node is not None for n in nodes for o in n.operands):
            # new nodes, so that a body shares none with the graph around it
            copies: dict[Value, Value] = {}
            for n in nodes:
                results = make(n.op, *(copies[o] for o in n.operands), origins=n.origins)
                copies.update(zip(n.results, results, strict=True))
            stands[inner] = copies[outer]
    return _remade(form, node, stands) if stands else None


def _still(node: Node, operands: Sequence[Value], users: Users) -> list[Value] | None:
    form = ScanForm.of(node, operands)
    still = [k for k, (c, n) in enumerate(zip(form.carries, form.nexts, strict=True)) if c is n]
    if not still:
        return None
    if len(form.outputs) == len(still):
        return list(operands[: len(still)])
    form.outer += [form.inits[k] for k in still]
    form.consts += [form.carries[k] for k in still]
    return _without(form, node, {k: operands[k] for k in still}, {})


def _equal(node: Node, operands: Sequence[Value], users: Users) -> list[Value] | None:
    form = ScanForm.of(node, operands)
    first: dict[int, int] = {}
    for k, init in enumerate(form.inits):
        twin = next((j for j in range(k) if j not in first and form.inits[j] is init), None)
        if twin is not None:
            first[k] = twin
    while first:
        # as if they were equal: what they become then is equal, or they are not
        stands = {form.carries[k]: form.carries[j] for k, j in first.items()}
        same = _numbered(form.nodes, stands)
        nexts = [same.get(n, n) for n in form.nexts]
        wrong = [
            k
            for k, j in first.items()
            if stands.get(nexts[k], nexts[k]) is not stands.get(nexts[j], nexts[j])
        ]
        if not wrong:
            break
        for k in wrong:
            del first[k]
    if not first:
        return None
    stands = {form.carries[k]: form.carries[j] for k, j in first.items()}
    return _without(form, node, {}, first, stands)


def _numbered(nodes: Sequence[Node], stands: Mapping[Value, Value]) -> dict[Value, Value]:
    """For each result the first that is computed in the same way."""
    known: dict[object, tuple[Value, ...]] = {}
    same = dict(stands)
    for node in nodes:
        key = (node.op, tuple(same.get(o, o) for o in node.operands), tuple(map(fingerprint, node.regions)))
        found = known.setdefault(key, node.results)
        same.update(zip(node.results, found, strict=True))
    return same


def _last(node: Node, operands: Sequence[Value], users: Users) -> list[Value] | None:
    form = ScanForm.of(node, operands)
    op, many = form.op, len(form.carries)
    final = 0 if op.reverse else op.length - 1
    chosen: list[int] = []
    for k in range(len(form.ys)):
        readers = users.get(node.results[many + k], [])
        if readers and all(u is not None and _reads_step(u, final) for u in readers):
            chosen.append(k)
    if not chosen:
        return None
    for k in chosen:
        y = form.ys[k]
        if y not in form.nexts:
            form.inits.append(b.full(y.type, 0))
            form.carries.append(Value(y.type, name=y.name or "last"))
            form.nexts.append(y)
    places = {k: form.nexts.index(form.ys[k]) for k in chosen}
    form.ys = [y for k, y in enumerate(form.ys) if k not in chosen]
    carries, ys = form.make()
    rest = iter(ys)
    rows: list[Value] = []
    for k in range(len(node.results) - many):
        if k in places:
            last = carries[places[k]]
            # all steps look like the last one, which is the only one that is read
            shape = (op.length, *last.type.shape)
            rows.append(b.broadcast_in_dim(last, shape, range(1, len(shape))))
        else:
            rows.append(next(rest))
    return [*carries[:many], *rows]


def _reads_step(node: Node, step: object) -> bool:
    op = node.op
    return (
        isinstance(op, Slice)
        and op.starts[0] == step
        and op.strides[0] == 1
        and node.results[0].type.shape[0] == 1
    )


def _earlier(node: Node, x: Value, users: Users) -> Value | None:
    """A slice of what nothing else reads, as the same of slices, where that is made of the results of scans."""
    op, source = node.op, node.operands[0]
    made = x.node
    if made is None or len(users[source]) != 1 or not _is_of_scans(source):
        return None
    assert isinstance(op, Slice)
    shape, result = x.type.shape, node.results[0].type.shape
    whole = [
        (low, high, s) == (0, size, 1)
        for low, high, s, size in zip(op.starts, op.limits, op.strides, shape, strict=True)
    ]
    if isinstance(made.op, Permute):
        return slice_of_permute(node, (x,))
    if isinstance(made.op, Concat) and whole[made.op.axis]:
        axis, parts = made.op.axis, list[Value]()
        for part in made.operands:
            size = part.type.shape[axis]
            parts.append(
                b.slice_(part, op.starts, (*op.limits[:axis], size, *op.limits[axis + 1 :]), op.strides)
            )
        return b.concat(parts, axis)
    if isinstance(made.op, Reshape):
        before = made.operands[0].type.shape
        same = next(
            (k for k, (p, q) in enumerate(zip(before, shape, strict=False)) if p != q),
            min(len(before), len(shape)),
        )
        rest = before[same:]
        if all(whole[same:]):
            starts, limits = (*op.starts[:same], *(0 for _ in rest)), (*op.limits[:same], *rest)
            strides = (*op.strides[:same], *(1 for _ in rest))
            return b.reshape(b.slice_(made.operands[0], starts, limits, strides), result)
    return None


def _is_of_scans(value: Value) -> bool:
    """Whether reshapes, permutes and joins of few values are all between it and the results of a scan."""
    waiting = [value]
    while waiting:
        node = waiting.pop().node
        if node is not None and isinstance(node.op, Scan):
            return True
        if (
            node is not None
            and isinstance(node.op, (Reshape, Permute, Concat))
            and len(node.operands) <= MOST_JOINED
        ):
            waiting += node.operands
    return False


_STEPS = {"constant": _constant, "still": _still, "equal": _equal, "last": _last}


def _without(
    form: ScanForm,
    node: Node,
    known: Mapping[int, Value],
    twins: Mapping[int, int],
    stands: Mapping[Value, Value] | None = None,
) -> list[Value]:
    """The results of a scan without some carries, whose last values are known, or are those of another."""
    many = len(form.carries)
    kept = [k for k in range(many) if k not in known and k not in twins]
    form.inits = [form.inits[k] for k in kept]
    form.carries = [form.carries[k] for k in kept]
    form.nexts = [form.nexts[k] for k in kept]
    if stands:
        form.exchange(form.nodes, stands)
    carries, ys = form.make([node.results[k].name for k in (*kept, *range(many, len(node.results)))])
    last = {**known, **dict(zip(kept, carries, strict=True))}
    return [last[twins.get(k, k)] for k in range(many)] + ys


def _remade(form: ScanForm, node: Node, stands: Mapping[Value, Value]) -> list[Value]:
    mapping = cloned(form.nodes, stands)
    form.nexts = [mapping.get(v, v) for v in form.nexts]
    form.ys = [mapping.get(v, v) for v in form.ys]
    carries, ys = form.make([r.name for r in node.results])
    return [*carries, *ys]
