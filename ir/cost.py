"""What a graph costs: operations and bytes, regions included."""

from __future__ import annotations

from .graph import Graph, Node
from .op import Cost
from .ops.control import Scan

__all__ = ["graph_cost", "node_cost"]


def node_cost(node: Node) -> Cost:
    """The cost of one node; a scan costs its body times its length, a fused node the operations of its body."""
    own = node.op.cost([o.type for o in node.operands], [r.type for r in node.results])
    flops = own.flops
    for region in node.regions:
        inner = graph_cost(region).flops
        flops = flops + (inner * node.op.length if isinstance(node.op, Scan) else inner)
    return Cost(flops, own.bytes)


def graph_cost(graph: Graph) -> Cost:
    """The sum over the nodes; bytes as if every value went through memory."""
    total = Cost(0, 0)
    for node in graph.nodes:
        total = total + node_cost(node)
    return total
