"""What is made of constants alone and no backend computes: evaluated by the reference while compiling."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, collect
from ..ir.interpret import evaluate_graph
from ..ir.ops.linalg import Factorization

__all__ = ["folded_factorization"]


def folded_factorization(node: Node, operands: Sequence[Value]) -> list[Value] | None:
    """A factorization's results as constants; None for any other node, or where an operand is known at run time only.

    No bound on the size: it is folded or refused.
    """
    if not isinstance(node.op, Factorization) or not all(v.type.is_static for v in operands):
        return None
    nodes = collect(operands)
    if any(o.node is None for n in nodes for o in n.operands) or any(v.node is None for v in operands):
        return None
    arrays, _ = evaluate_graph(Graph("", [], list(dict.fromkeys(operands))), [])
    known = dict(zip(dict.fromkeys(operands), arrays, strict=True))
    found = node.op.evaluate(*(known[v] for v in operands), types=tuple(r.type for r in node.results), env={})
    results = found if isinstance(found, tuple) else (found,)
    return [b.constant(a, r.type.dtype) for a, r in zip(results, node.results, strict=True)]
