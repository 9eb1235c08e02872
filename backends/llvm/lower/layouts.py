"""Which values are kept in blocks of channels: results of convolutions, and what is made of them place by place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ....ir.graph import Graph, Node, Value
from ....ir.ops.control import Fuse
from ....ir.ops.window import Conv, MaxPool, WindowSum
from ....ir.types import f32
from ..layout import Layout
from ..target import Target
from .conv_plan import plan_conv
from .conv_weights import plan_weights
from .elementwise import ELEMENTWISE

__all__ = ["choose_layouts"]


def choose_layouts(graph: Graph, target: Target, plain: Collection[Value]) -> dict[Value, Layout]:
    """The layouts of a graph's values, those within fused regions included.

    Args:
        plain: values that must lie as their types say
    """
    return _Choice(graph, target, plain).found


class _Choice:
    def __init__(self, graph: Graph, target: Target, plain: Collection[Value]) -> None:
        self.target = target
        self.plain = set(plain)
        self.found: dict[Value, Layout] = {}
        self.same: dict[Value, Value] = {}
        self.uses = graph.uses()
        self.halos: dict[Value, list[tuple[int, int]]] = {}
        self._nodes(graph.nodes)
        for value, halo in self.halos.items():
            self.found[value] = replace(self.found[value], halo=tuple(halo))
        for value, other in self.same.items():
            if other in self.found:
                self.found[value] = self.found[other]

    def _of(self, value: Value) -> Value:
        while value in self.same:
            value = self.same[value]
        return value

    def _nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if isinstance(node.op, Fuse):
                (body,) = node.regions
                self.same.update(zip(body.inputs, node.operands, strict=True))
                for value, users in body.uses().items():
                    self.uses[value] = [*self.uses.get(value, ()), *users]
                self.plain.update(
                    o for r, o in zip(node.results, body.outputs, strict=True) if r in self.plain
                )
                self._nodes(body.nodes)
                self.same.update(zip(node.results, body.outputs, strict=True))
            else:
                self._node(node)

    def _node(self, node: Node) -> None:
        result = node.results[0]
        if isinstance(node.op, Conv):
            weights = plan_weights(node, self.target, self._of)
            plan = None if weights is not None else plan_conv(node, self.target)
            if weights is not None:
                self._rim(weights.x, weights.halo)
            elif plan is not None:
                self._rim(self._of(node.operands[0]), plan.halo)
                self._block(result, plan.out_block)
        elif isinstance(node.op, WindowSum) or node.op.mnemonic in ELEMENTWISE:
            for operand in map(self._of, node.operands):
                if operand in self.found and operand.type.shape[:2] == result.type.shape[:2]:
                    self._block(result, self.found[operand].block)
                    break
        elif isinstance(node.op, MaxPool) and not self.uses.get(node.results[1]):
            source = self._of(node.operands[0])
            if source in self.found:
                self._block(result, self.found[source].block)

    def _rim(self, source: Value, wanted: Sequence[tuple[int, int]]) -> None:
        """Give a blocked value the rim that a reader wants."""
        if source in self.found:
            halo = self.halos.setdefault(source, [(0, 0)] * len(wanted))
            self.halos[source] = [(max(a, c), max(b, d)) for (a, b), (c, d) in zip(halo, wanted, strict=True)]

    def _block(self, value: Value, block: int) -> None:
        channels = value.type.shape[1]
        if value in self.plain or value.type.dtype != f32 or not isinstance(channels, int):
            return
        self.found[value] = Layout(channels, block, ((0, 0),) * (value.type.rank - 2))
