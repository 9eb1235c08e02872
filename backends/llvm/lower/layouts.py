"""Which values are kept in blocks of channels: results of convolutions, and what is made of them place by place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from ....ir.graph import Graph, Node, Value
from ....ir.ops.control import Fuse
from ....ir.ops.move import BroadcastInDim, Concat, Reshape, Slice
from ....ir.ops.window import Conv, MaxPool, WindowSum
from ....ir.types import f32
from ..layout import Halo, Layout, wider
from ..target import Target
from .conv_plan import plan_conv
from .elementwise import ELEMENTWISE
from .weights_plan import plan_weights

__all__ = ["Layouts", "choose_layouts"]

Layouts = tuple[dict[Value, Layout], set[Value], dict[tuple[Value, int], Halo]]
"""The layouts of values that lie in blocks, the values that their readers compute where they need them, and the rim that a copy of
a value in blocks of some size has to have for all its readers."""


def choose_layouts(graph: Graph, target: Target, plain: Collection[Value]) -> Layouts:
    """The layouts of a graph's values, those within fused regions included.

    Args:
        plain: values that must lie as their types say
    """
    choice = _Choice(graph, target, plain)
    return choice.found, choice.pulled, choice.rims


class _Choice:
    def __init__(self, graph: Graph, target: Target, plain: Collection[Value]) -> None:
        self.target = target
        self.plain = set(plain)
        self.found: dict[Value, Layout] = {}
        self.same: dict[Value, Value] = {}
        self.through: dict[Value, int] = {}
        self.pulled: set[Value] = set()
        self.inner: dict[Value, list[Value]] = {}
        self.uses = graph.uses()
        self.rims: dict[tuple[Value, int], Halo] = {}
        self._collect(graph.nodes)
        self._nodes(graph.nodes)
        for (value, block), halo in self.rims.items():
            if value in self.found and self.found[value].block == block:
                self.found[value] = replace(self.found[value], halo=halo)
        for value, other in self.same.items():
            if other in self.found:
                self.found[value] = self.found[other]
            for block in (1, 8, 16):
                if (other, block) in self.rims:
                    self.rims[value, block] = self.rims[other, block]

    def _collect(self, nodes: Iterable[Node]) -> None:
        """Who reads what within regions."""
        for node in nodes:
            if isinstance(node.op, Fuse):
                (body,) = node.regions
                for inner, outer in zip(body.inputs, node.operands, strict=True):
                    self.inner.setdefault(outer, []).append(inner)
                for value, users in body.uses().items():
                    self.uses[value] = [*self.uses.get(value, ()), *users]
                self._collect(body.nodes)

    def _of(self, value: Value) -> Value:
        while value in self.same:
            value = self.same[value]
        return value

    def _nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if isinstance(node.op, Fuse):
                (body,) = node.regions
                self.same.update(zip(body.inputs, node.operands, strict=True))
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
                self._rim(weights.x, weights.x_block, weights.halo)
                self._rim(weights.g, weights.g_block, weights.g_halo)
            elif plan is not None:
                self._rim(self._of(node.operands[0]), plan.in_block, plan.halo)
                self._block(result, plan.out_block)
        elif isinstance(node.op, WindowSum) or node.op.mnemonic in ELEMENTWISE:
            for operand in map(self._of, node.operands):
                block = self._block_of(operand)
                if block is not None and operand.type.shape[:2] == result.type.shape[:2]:
                    self._block(result, block)
                    break
        elif isinstance(node.op, Concat) and node.op.axis == 1:
            blocks = {self._block_of(self._of(operand)) for operand in node.operands}
            if len(blocks) == 1 and (block := blocks.pop()) is not None:
                self._block(result, block)
        elif isinstance(node.op, (BroadcastInDim, Reshape, Slice)):
            self._move(node, result)
        elif isinstance(node.op, MaxPool) and not self.uses.get(node.results[1]):
            source = self._of(node.operands[0])
            if source in self.found:
                self._block(result, self.found[source].block)

    def _block_of(self, value: Value) -> int | None:
        """The block of a value that lies in blocks or is pulled from such."""
        return self.found[value].block if value in self.found else self.through.get(value)

    def _move(self, node: Node, result: Value) -> None:
        """What keeps images and places: places repeated or counted otherwise, or some of the channels. It is pulled where all its
        readers can, place by place; else it lies in blocks as well."""
        source = self._of(node.operands[0])
        block, shape = self._block_of(source), result.type.shape
        if (
            block is None
            or block == 1
            or result.type.rank < 3
            or source.type.rank < 3
            or result in self.plain
        ):
            return
        match node.op:
            case BroadcastInDim(axes=axes):
                keeps = axes[:2] == (0, 1) and source.type.shape[:2] == shape[:2]
                if keeps:
                    self.through[result] = block
                return
            case Slice(starts=starts, strides=strides):
                keeps = shape[0] == source.type.shape[0] and shape[2:] == source.type.shape[2:]
                keeps = keeps and set(strides) == {1} and starts[0] == 0
            case _:
                keeps = source.type.shape[:2] == shape[:2] and (
                    source in self.through or _only_ones(source, result)
                )
        if keeps and all(self._pulls(user) for user in self._users(result)):
            self.through[result] = block
            self.pulled.add(result)
        elif keeps and (not isinstance(node.op, Reshape) or source in self.through):
            self._block(result, block)

    def _users(self, value: Value) -> Iterator[Node | None]:
        """Who reads a value, here or within regions; None where it is a result of its graph."""
        for user in self.uses.get(value, ()):
            if user is None or not isinstance(user.op, Fuse):
                yield user
        for inner in self.inner.get(value, ()):
            yield from self._users(inner)

    def _pulls(self, node: Node | None) -> bool:
        """Whether a node reads an element of its operand where its result has one."""
        if node is None:
            return False
        joins = isinstance(node.op, Concat) and node.op.axis == 1
        return joins or node.op.mnemonic in ELEMENTWISE or isinstance(node.op, (BroadcastInDim, Reshape))

    def _rim(self, source: Value, block: int, wanted: Halo) -> None:
        """Note the rim that a reader wants of a value in blocks."""
        self.rims[source, block] = wider(self.rims.get((source, block), wanted), wanted)

    def _block(self, value: Value, block: int) -> None:
        channels = value.type.shape[1]
        if value in self.plain or value.type.dtype != f32 or not isinstance(channels, int):
            return
        self.found[value] = Layout(channels, block, ((0, 0),) * (value.type.rank - 2))


def _only_ones(source: Value, result: Value) -> bool:
    """Whether a reshape adds or drops axes of one place alone."""
    return [d for d in source.type.shape if d != 1] == [d for d in result.type.shape if d != 1]
