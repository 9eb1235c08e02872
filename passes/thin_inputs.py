"""Take from an input only the places that a strided window of one place reads, so that no layout of the whole map is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.ops.window import Conv
from .base import Pass, Remarks
from .regions import map_regions

__all__ = ["ThinInputs"]


@dataclass(frozen=True)
class ThinInputs(Pass):
    """conv{strides=s}(x, w) = conv(x[::s], w), where the window is one place and x an input of known size without padding.

    What a convolution made lies as the next one wants it, and a slice would be a copy more: such x stay. Exact.
    """

    name: ClassVar[str] = "thin-inputs"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            op = node.op
            if not isinstance(op, Conv) or not _fits(op, *operands) or not remarks.allow(self.name):
                return None
            x, w = operands
            read = b.slice_(x, [0] * x.type.rank, x.type.shape, (1, 1, *op.strides))
            return [make_one(replace(op, strides=(1,) * len(op.strides)), read, w)]

        return map_regions(graph, lambda g: rebuild(g, rewrite))


def _fits(op: Conv, x: Value, w: Value) -> bool:
    known = all(isinstance(size, int) for size in x.type.shape[2:])
    whole = not any(map(any, op.padding)) and {*op.lhs_dilation} == {1}
    one = all(size == 1 for size in w.type.shape[2:])
    return x.node is None and known and whole and one and max(op.strides) > 1
