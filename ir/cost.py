"""What a graph costs: operations and bytes, regions included."""

from __future__ import annotations

from .dims import Dim, maximum
from .graph import Graph, Node
from .op import Cost
from .ops.control import Scan
from .ops.loops import If, While

__all__ = ["graph_cost", "node_cost"]


def node_cost(node: Node) -> Cost:
    """The cost of one node; a scan costs its body times its length, a while as often as it may turn (once where nobody
    says), an if its dearer body, a fused node the operations of its body.
    """
    own = node.op.cost([o.type for o in node.operands], [r.type for r in node.results])
    inner = [graph_cost(region).flops for region in node.regions]
    return Cost(own.flops + _inner(node, inner), own.bytes)


def _inner(node: Node, flops: list[Dim]) -> Dim:
    total: Dim = 0
    for part in flops:
        total = total + part
    if isinstance(node.op, Scan):
        return total * node.op.length
    if isinstance(node.op, While) and node.op.max_trip is not None:
        return total * node.op.max_trip
    return maximum(*flops) if isinstance(node.op, If) else total


def graph_cost(graph: Graph) -> Cost:
    """The sum over the nodes; bytes as if every value went through memory."""
    total = Cost(0, 0)
    for node in graph.nodes:
        total = total + node_cost(node)
    return total
