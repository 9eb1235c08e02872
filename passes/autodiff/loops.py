"""Derivatives of loops and branches.

A scan's is a scan the other way. The forward scan keeps residuals as further ys (`shared` lets the first scan be that
one); the backward scan reads them step by step, carries the cotangents of the carries and the sums of the cotangents
of the consts, and gives those of xs as ys. Nothing here depends on the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...ir import build as b
from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Node, Value, make, rebuild
from ...ir.ops.control import Scan
from ...ir.ops.loops import TRUTH, If, While
from ...ir.types import bool_
from ..inline import inline
from .reach import depending
from .regions import Split, Sweep
from .rule import Cotangents, zeros_like

__all__ = ["bounded_loop", "branch_cotangents", "scan_cotangents", "shared"]


def scan_cotangents(
    node: Node, arriving: Sequence[Value | None], needed: Sequence[bool], sweep: Sweep
) -> Cotangents:
    """The cotangents of a scan's operands.

    Args:
        arriving: those of its results
        needed:   which operands' are asked for
    """
    op = node.op
    assert isinstance(op, Scan)
    (body,) = node.regions
    first, last = op.carries, op.carries + op.xs
    active = _active(body, first, needed)
    by = [v for v, a in zip(body.inputs, active, strict=True) if a]
    seeds = [
        _slope(out) if (active[k] if k < first else arriving[k] is not None) else None
        for k, out in enumerate(body.outputs)
    ]
    split = Split(body, by, seeds, sweep, fixed=body.inputs[last:])
    found = [v for v in by if split.cotangents[v] is not None or v in body.inputs[:first]]
    states = [k for k in range(first) if active[k]]
    sums = [k for k in range(last, len(body.inputs)) if body.inputs[k] in found]
    rows = [k for k in range(first, last) if body.inputs[k] in found]

    # what the backward scan reads: carries at each step and kept values as ys of a longer forward scan
    before = [v for v in split.inputs if v in body.inputs[:first]]
    kept = [*before, *split.kept]
    saved = _longer(node, kept)
    stands = {v: Value(v.type, name=v.name) for v in (*split.inputs, *kept)}
    slopes = [s for s in seeds[first:] if s is not None]
    inits = [_or_zeros(arriving[k], node.results[k]) for k in states]
    totals = [Value(body.inputs[k].type, name="sum") for k in sums]
    given = [v for v in split.inputs if v in body.inputs[first:last]]
    fixed = [v for v in split.inputs if v in body.inputs[last:]]
    place = {v: node.operands[k] for k, v in enumerate(body.inputs)}

    cotangents = split.backward(stands)
    carried = [_or_zeros(cotangents.get(body.inputs[k]), body.inputs[k]) for k in states]
    grown = [b.add(t, cotangents[body.inputs[k]]) for t, k in zip(totals, sums, strict=True)]
    inputs = [
        *(s for s in seeds[:first] if s is not None), *totals,
        *(stands[v] for v in kept), *slopes, *(stands[v] for v in given), *(stands[v] for v in fixed),
    ]  # fmt: skip
    outputs = [*carried, *grown, *(cotangents[body.inputs[k]] for k in rows)]
    back = replace(
        op, carries=len(states) + len(sums), xs=len(kept) + len(slopes) + len(given), reverse=not op.reverse
    )
    results = make(
        back,
        *inits,
        *(zeros_like(node.operands[k]) for k in sums),
        *saved,
        *(g for g in arriving[first:] if g is not None),
        *(place[v] for v in given),
        *(place[v] for v in fixed),
        regions=(Graph("backward", inputs, outputs),),
        names=[f"d_{body.inputs[k].name or 'x'}" for k in (*states, *sums, *rows)],
    )
    gradient: list[Value | None] = [None] * len(node.operands)
    for k, g in zip((*states, *sums, *rows), results, strict=True):
        gradient[k] = g
    return gradient


def _active(body: Graph, carries: int, needed: Sequence[bool]) -> list[bool]:
    """Which inputs a cotangent goes to: those asked for, and carries that come to depend on them."""
    active = [n and v.type.dtype.is_float for n, v in zip(needed, body.inputs, strict=True)]
    changed = True
    while changed:
        reached = depending(body.nodes, [v for v, a in zip(body.inputs, active, strict=True) if a])
        more = [k for k in range(carries) if not active[k] and body.outputs[k] in reached]
        changed = bool(more)
        for k in more:
            active[k] = True
    return active


def _longer(node: Node, kept: Sequence[Value]) -> Sequence[Value]:
    """The values at each step, as ys of the scan; those that it has not are further outputs of a longer one."""
    (body,) = node.regions
    op = node.op
    assert isinstance(op, Scan)
    rows = body.outputs[op.carries :]
    more = [v for v in kept if v not in rows]
    found = node.results
    if more:
        grown = Graph(body.name, body.inputs, (*body.outputs, *more))
        names = [*(r.name for r in node.results), *(v.name for v in more)]
        found = make(op, *node.operands, regions=(grown,), names=names)
    place = {v: k for k, v in reversed(list(enumerate((*rows, *more))))}
    return [found[op.carries + place[v]] for v in kept]


def _slope(value: Value) -> Value:
    return Value(value.type, name=f"d_{value.name or 'y'}")


def _or_zeros(g: Value | None, like: Value) -> Value:
    return zeros_like(like) if g is None else g


def branch_cotangents(
    node: Node, arriving: Sequence[Value | None], needed: Sequence[bool], sweep: Sweep
) -> Cotangents:
    """The cotangents of an if's operands: an if whose bodies are the derivatives of its bodies.

    A body is run again for its derivative, so that nothing of the body that does not run has to be there.
    """
    cond, *operands = node.operands
    wanted = [k for k, n in enumerate(needed[1:]) if n and operands[k].type.dtype.is_float]
    given = [g for g in arriving if g is not None]
    bodies: list[Graph] = []
    for region in node.regions:
        inputs = [Value(v.type, name=v.name) for v in region.inputs]
        slopes = [Value(g.type, name="d_y") for g in given]
        outputs = inline(region, inputs)
        rest = iter(slopes)
        seeds = [None if g is None else next(rest) for g in arriving]
        nodes = Graph("", inputs, outputs).nodes
        found = sweep(nodes, outputs, seeds, [inputs[k] for k in wanted])
        heads = [_or_zeros(g, inputs[k]) for g, k in zip(found, wanted, strict=True)]
        bodies.append(Graph(region.name, [*inputs, *slopes], heads))
    results = make(If(), cond, *operands, *given, regions=bodies)
    gradient: list[Value | None] = [None] * len(node.operands)
    for k, g in zip(wanted, results, strict=True):
        gradient[k + 1] = g
    return gradient


def bounded_loop(node: Node, operands: Sequence[Value]) -> list[Value]:
    """A while with max_trip as a scan of that length: the first carry says whether the loop still runs, and steps
    behind its end keep the carries.

    Raises:
        UnsupportedError: the loop has no bound
    """
    op = node.op
    assert isinstance(op, While)
    if op.max_trip is None:
        raise UnsupportedError(
            "while: a loop without max_trip has no derivative",
            where=[str(o) for o in node.origins],
            hint="give the most turns: nv.while_loop(..., max_trip=100)",
        )
    test, body = node.regions
    running = Value(TRUTH, name="running")
    inputs = [Value(v.type, name=v.name) for v in body.inputs]
    same = [Value(v.type, name=v.name) for v in body.inputs]
    (holds,) = inline(test, inputs)
    on = b.and_(running, holds)
    after = b.if_(on, body, Graph("keep", same, same[: op.carries]), inputs)
    found = make(
        Scan(op.max_trip, 1 + op.carries, 0),
        b.constant(True, bool_),
        *operands,
        regions=(Graph("step", [running, *inputs], [on, *after]),),
        names=["running", *(r.name for r in node.results)],
    )
    return list(found[1:])


def shared(graph: Graph) -> Graph:
    """Let a scan that stands beside the same one with residuals be that one: they have the same inputs and nodes."""
    longest: dict[tuple[object, ...], Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, Scan):
            best = longest.setdefault(_key(node), node)
            if len(node.results) > len(best.results):
                longest[_key(node)] = node
    made: dict[Node, Sequence[Value]] = {}

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if not node.regions:
            return None
        best = longest.get(_key(node), node)
        wanted = node.regions[0].outputs
        if best.regions[0].outputs[: len(wanted)] != wanted:
            best = node
        if best not in made:
            regions = tuple(map(shared, best.regions))
            changed = operands != best.operands or any(
                a is not c for a, c in zip(regions, best.regions, strict=True)
            )
            names = [r.name for r in best.results]
            made[best] = make(best.op, *operands, regions=regions, names=names) if changed else best.results
        return made[best][: len(node.results)]

    return rebuild(graph, rewrite) if any(n.regions for n in graph.nodes) else graph


def _key(node: Node) -> tuple[object, ...]:
    return (node.op, node.operands, node.regions[0].inputs if node.regions else ())
