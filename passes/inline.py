"""Put a region's nodes in the place of the node that holds it."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Graph, Value, make
from ..ir.origin import merge_origins

__all__ = ["inline"]


def inline(body: Graph, operands: Sequence[Value]) -> list[Value]:
    """The body's outputs on these operands, made of new nodes that keep the body's origins."""
    mapping: dict[Value, Value] = dict(zip(body.inputs, operands, strict=True))
    for node in body.nodes:
        results = make(
            node.op,
            *(mapping[o] for o in node.operands),
            regions=node.regions,
            names=[r.name for r in node.results],
            origins=merge_origins(node.origins),
        )
        mapping.update(zip(node.results, results, strict=True))
    return [mapping[v] for v in body.outputs]
