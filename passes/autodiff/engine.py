"""Reverse mode over values: a gradient is again a graph, and can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import build as b
from ...ir.errors import TypeInferenceError
from ...ir.graph import Node, Value, collect, make
from ...ir.op import Level
from ...ir.ops.control import Fuse, Scan
from ...ir.origin import origins_of
from ..decompose import decomposed
from ..inline import inline
from ..unroll import unrolled
from .table import NOT_DIFFERENTIABLE, RULES

__all__ = ["gradients"]


def gradients(
    outputs: Value | Sequence[Value], wrt: Sequence[Value], cotangents: Sequence[Value] | None = None
) -> list[Value | None]:
    """The derivative of the outputs, weighted by cotangents, by each value of `wrt`.

    Args:
        outputs:    one value or several
        wrt:        graph inputs, store reads, or any values that the outputs depend on
        cotangents: one an output, of its type; 1 where an output is a float scalar and none are given

    Returns:
        for each value of wrt its gradient, of its type, or None where the outputs do not depend on it

    Raises:
        TypeInferenceError: an output is no scalar and has no cotangent; or an op on the way has no derivative
    """
    ends = [outputs] if isinstance(outputs, Value) else list(outputs)
    if cotangents is None:
        for end in ends:
            if end.type.shape != () or not end.type.dtype.is_float:
                raise TypeInferenceError(f"gradient: the output is {end.type}, expected a float scalar or a cotangent")
        cotangents = [b.full_like(end, 1) for end in ends]
    sums: dict[Value, Value] = {}
    needed = set(wrt)
    ends, nodes = _taken_apart(ends, needed)
    for end, cotangent in zip(ends, cotangents, strict=True):
        _accumulate(sums, end, cotangent)
    for node in reversed(nodes):
        given = tuple(sums.get(r) for r in node.results)
        if all(g is None for g in given) or not any(o in needed for o in node.operands):
            continue
        with origins_of(node.origins):
            for operand, cotangent in zip(node.operands, _pull_back(node, given), strict=True):
                if cotangent is not None and operand in needed:
                    assert cotangent.type == operand.type, (
                        f"the derivative of {node.op.mnemonic} gives {cotangent.type} for {operand.type}"
                    )
                    _accumulate(sums, operand, cotangent)
    return [sums.get(v) for v in wrt]


def _accumulate(sums: dict[Value, Value], value: Value, cotangent: Value) -> None:
    before = sums.get(value)
    sums[value] = cotangent if before is None else b.add(before, cotangent)


def _taken_apart(ends: Sequence[Value], needed: set[Value]) -> tuple[list[Value], list[Node]]:
    """The ends with composites that have no rule, fused regions and loops replaced where they matter.

    `needed` holds the values to differentiate by; every value that depends on one is added. A node whose own result
    is one of them stays as it is: its result is where the sweep ends.
    """
    stops = set(needed)
    mapping: dict[Value, Value] = {}
    nodes: dict[Node, None] = {}
    for node in collect(ends):
        operands = tuple(mapping.get(o, o) for o in node.operands)
        depends = any(o in needed for o in operands)
        if not depends or any(r in stops for r in node.results):
            if operands != node.operands and not any(r in stops for r in node.results):
                with origins_of(node.origins):
                    names = [r.name for r in node.results]
                    mapping.update(zip(node.results, make(node.op, *operands, regions=node.regions, names=names), strict=True))
            continue
        with origins_of(node.origins):
            results = _simpler(node, operands)
        if results is None and operands == node.operands:
            results = node.results
        elif results is None:
            names = [r.name for r in node.results]
            results = make(node.op, *operands, regions=node.regions, names=names, origins=node.origins)
        mapping.update((old, new) for old, new in zip(node.results, results, strict=True) if old is not new)
        for fresh in _since(results, operands, nodes):
            nodes[fresh] = None
            if any(o in needed for o in fresh.operands):
                needed.update(fresh.results)
    return [mapping.get(v, v) for v in ends], list(nodes)


def _since(results: Sequence[Value], operands: Sequence[Value], known: dict[Node, None]) -> list[Node]:
    """The nodes that lead from the operands to the results and are not known yet, in order."""
    borders = {o.node for o in operands if o.node is not None}
    found: dict[Node, None] = {}
    stack: list[tuple[Node, int]] = [(r.node, 0) for r in reversed(results) if r.node is not None]
    while stack:
        node, k = stack.pop()
        if node in found or node in known or (node in borders and k == 0 and not any(r in node.results for r in results)):
            continue
        if k < len(node.operands):
            stack.append((node, k + 1))
            below = node.operands[k].node
            if below is not None:
                stack.append((below, 0))
        else:
            found[node] = None
    return list(found)


def _simpler(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    """What stands for a node that has no rule of its own; None where it has one."""
    op = node.op
    if op.mnemonic in RULES or op.mnemonic in NOT_DIFFERENTIABLE:
        return None
    if isinstance(op, Fuse):
        return _differentiable(inline(node.regions[0], operands))
    if isinstance(op, Scan):
        if not isinstance(op.length, int):
            raise TypeInferenceError(
                f"gradient: a scan of {op.length} steps has no derivative yet: its length is not constant",
                where=[str(o) for o in node.origins],
                hint="give the sequence axis a constant size",
            )
        return _differentiable(unrolled(node, operands))
    if op.level is Level.NN:
        return _differentiable(decomposed(node, operands))
    return None


def _differentiable(results: Sequence[Value]) -> list[Value]:
    """The results with composites inside taken apart too."""
    mapping: dict[Value, Value] = {}
    for node in collect(results):
        operands = tuple(mapping.get(o, o) for o in node.operands)
        simpler = _simpler(node, operands)
        if simpler is None and operands != node.operands:
            simpler = make(node.op, *operands, regions=node.regions, names=[r.name for r in node.results], origins=node.origins)
        if simpler is not None:
            mapping.update(zip(node.results, simpler, strict=True))
    return [mapping.get(v, v) for v in results]


def _pull_back(node: Node, cotangents: tuple[Value | None, ...]) -> Sequence[Value | None]:
    rule = RULES.get(node.op.mnemonic)
    if rule is not None:
        return rule(node, cotangents)
    if node.op.mnemonic in NOT_DIFFERENTIABLE:
        return [None] * len(node.operands)
    raise TypeInferenceError(f"gradient: {node.op.mnemonic} has no derivative", where=[str(o) for o in node.origins])
