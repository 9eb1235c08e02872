"""Put a region's nodes in the place of the node that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value, make, rebuild
from ..ir.op import Op
from ..ir.ops.calls import Call
from ..ir.ops.control import Fuse
from ..ir.origin import merge_origins
from .base import Pass, Remarks
from .decompose import until_stable
from .regions import map_regions

__all__ = ["HELD", "Inline", "inline"]

HELD: tuple[type[Op], ...] = (Fuse, Call)
"""Ops whose meaning is their first region."""


@dataclass(frozen=True)
class Inline(Pass):
    """Replace calls (custom_vjp, remat) by their function. Exact; derivatives taken afterwards are those of its ops."""

    name: ClassVar[str] = "inline"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, Call) or not remarks.allow("inline"):
                return None
            return inline(node.regions[0], operands)

        return map_regions(graph, lambda g: until_stable(g, lambda h: rebuild(h, rewrite)))


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
