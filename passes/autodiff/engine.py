"""The reverse sweep: from outputs back to values, each node's rule once, cotangents summed in a fixed order.

Everything is a graph again, so that gradients have gradients. Nothing recurses over nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import build as b
from ...ir.errors import InputError, UnsupportedError
from ...ir.graph import Graph, Node, Value, collect
from ...ir.op import Level
from ...ir.ops.calls import Remat
from ...ir.ops.control import Scan
from ...ir.ops.loops import If, While
from ...ir.ops.tree import TreeFold
from ...ir.origin import origins_of
from ..decompose import decomposed
from ..inline import HELD, inline
from ..trees import unfolded
from .loops import bounded_loop, branch_cotangents, scan_cotangents, shared
from .pieces import added
from .reach import between, depending
from .rule import Cotangents, zeros_like
from .rules import NOT_DIFFERENTIABLE, RULES

__all__ = ["gradients", "value_and_gradients"]


def gradients(
    outputs: Sequence[Value] | Value, wrt: Sequence[Value], cotangents: Sequence[Value] | None = None
) -> list[Value | None]:
    """The derivative of the outputs, weighted by the cotangents and summed, by each value of `wrt`.

    Args:
        outputs:    one value or several
        wrt:        inputs, store reads or inner values of the graph; a derivative is total, through all paths
        cotangents: one an output, of its type; 1 for scalar outputs if not given

    Returns:
        for each value of `wrt` its cotangent, of its type; None where it is no float or nothing depends on it

    Raises:
        InputError: an output is no scalar of a float type and has no cotangent, or a cotangent has another type
        UnsupportedError: an op on the way has no rule, or is a while without max_trip
    """
    heads = [outputs] if isinstance(outputs, Value) else list(outputs)
    seeds = [_one(head) for head in heads] if cotangents is None else list(cotangents)
    if len(seeds) != len(heads):
        raise InputError(f"gradients: {len(seeds)} cotangents for {len(heads)} outputs")
    for head, seed in zip(heads, seeds, strict=True):
        if seed.type != head.type:
            raise InputError(f"gradients: a cotangent is {seed.type}, its output {head.type}")
    return _sweep(collect(heads), heads, seeds, wrt)


def value_and_gradients(graph: Graph, wrt: Sequence[Value] | None = None) -> Graph:
    """The graph with the derivatives of its first output by `wrt` as further outputs.

    Args:
        wrt: values of the graph; its inputs of float type if not given. What does not matter gets zeros.
    """
    if wrt is None:
        wrt = [v for v in graph.inputs if v.type.dtype.is_float]
    found = gradients(graph.outputs[0], wrt)
    extra = [zeros_like(v) if g is None else g for v, g in zip(wrt, found, strict=True)]
    return shared(graph.replace(outputs=[*graph.outputs, *extra]))


def _one(head: Value) -> Value:
    if head.type.rank != 0 or not head.type.dtype.is_float:
        where = head.node.origins if head.node is not None else ()
        raise InputError(
            f"gradients: the output is {head.type}, expected a scalar of a float type",
            where=[str(o) for o in where],
            hint="reduce it to a scalar, or give a cotangent",
        )
    return b.full_like(head, 1)


def _sweep(
    order: Sequence[Node], heads: Sequence[Value], seeds: Sequence[Value | None], wrt: Sequence[Value]
) -> list[Value | None]:
    """Cotangents of `wrt`, for nodes in an order where operands come first."""
    matters = depending(order, wrt)
    parts: dict[Value, list[Value]] = {}
    total: dict[Value, Value] = {}
    for head, seed in zip(heads, seeds, strict=True):
        if seed is not None and head in matters:
            _accumulate(parts, head, seed)

    def arrived(value: Value) -> Value | None:
        if value in parts:
            total[value] = added(parts.pop(value))
        return total.get(value)

    for node in reversed(order):
        with origins_of(node.origins):
            arriving = tuple(map(arrived, node.results))
        if all(g is None for g in arriving) or not any(o in matters for o in node.operands):
            continue
        with origins_of(node.origins):
            for operand, g in zip(node.operands, _apply(node, arriving, matters), strict=True):
                if g is not None and operand in matters:
                    _accumulate(parts, operand, g)
    return [arrived(v) for v in wrt]


def _accumulate(parts: dict[Value, list[Value]], value: Value, g: Value) -> None:
    assert g.type == value.type, f"the cotangent of {value} is {g.type}"
    parts.setdefault(value, []).append(g)


def _apply(node: Node, arriving: tuple[Value | None, ...], matters: set[Value]) -> Cotangents:
    """The cotangents of a node's operands."""
    name = node.op.mnemonic
    if name in NOT_DIFFERENTIABLE:
        return [None] * len(node.operands)
    if name in RULES:
        return RULES[name](node, arriving)
    if isinstance(node.op, (Scan, If)):
        apply = scan_cotangents if isinstance(node.op, Scan) else branch_cotangents
        return apply(node, arriving, [o in matters for o in node.operands], _sweep)
    if isinstance(node.op, TreeFold):
        return unfolded(node, arriving, _sweep)
    # a remat's inner values are not those that were computed before, and are not computed before they are needed
    slopes = [g for g in arriving if g is not None]
    again = {o: b.opt_barrier(o, *slopes) if isinstance(node.op, Remat) else o for o in node.operands}
    results = _simpler(node, [again[o] for o in node.operands])
    stops = tuple(again.values())
    found = dict(zip(again, _sweep(between(results, stops), results, arriving, stops), strict=True))
    return [found.pop(o, None) for o in node.operands]


def _simpler(node: Node, operands: Sequence[Value]) -> Sequence[Value]:
    """The results of a node without a rule, made anew by ops that have one."""
    op = node.op
    if isinstance(op, HELD):
        return inline(node.regions[0], operands)
    if isinstance(op, While):
        return bounded_loop(node, operands)
    where = [str(o) for o in node.origins]
    if op.level is not Level.NN:
        raise UnsupportedError(f"{op.mnemonic}: the op has no derivative", where=where)
    return decomposed(node, operands, derived=True)
