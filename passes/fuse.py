"""Group nodes that one kernel computes without going through memory.

A group has at most one contraction or reduction, the maps before it that nothing else needs, and the elementwise
nodes behind it; a pool may end it. Constants and broadcasts are copied into every group that reads them. Each edge
that could have been fused is reported: fused with the bytes it saves, or refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import dim_text
from ..ir.graph import Graph, Node, Value, make
from ..ir.op import Op
from ..ir.ops.constant import Constant, Iota
from ..ir.ops.contract import DotGeneral
from ..ir.ops.control import Fuse as FuseOp
from ..ir.ops.elementwise import Binary, Cast, Clamp, Compare, Predicate, Select, Unary
from ..ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reverse, Slice
from ..ir.ops.nn import Relu
from ..ir.ops.reduce import Reduction
from ..ir.ops.window import Conv, MaxPool, WindowSum
from ..ir.origin import merge_origins, origins_of
from .base import Pass, Remarks

__all__ = ["Fuse", "Unfuse"]

ELEMENTWISE: tuple[type[Op], ...] = (Unary, Binary, Compare, Predicate, Select, Clamp, Cast, Relu)
MOVES: tuple[type[Op], ...] = (Permute, Slice, Reverse, Pad, Concat)
COPIED: tuple[type[Op], ...] = (Constant, Iota, BroadcastInDim)
POOLS: tuple[type[Op], ...] = (MaxPool, WindowSum)
CONTRACTIONS: tuple[type[Op], ...] = (DotGeneral, Conv)


@dataclass(eq=False)
class Group:
    """Nodes that become one region, in graph order; `root` is the contraction or reduction, `pool` the tail."""

    nodes: list[Node] = field(default_factory=list[Node])
    root: Node | None = None
    pool: Node | None = None
    moves: bool = False

    @property
    def out(self) -> Value:
        return self.nodes[-1].results[0]


@dataclass(frozen=True)
class Fuse(Pass):
    """Make `fuse` regions of contractions with what follows them, of reductions, and of chains of maps. Exact.

    Args:
        kinds: which groups: conv, dot, reduce, map
    """

    name: ClassVar[str] = "fuse"
    kinds: tuple[str, ...] = ("conv", "dot", "reduce", "map")

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        return _emit(graph, _Grouping(graph, self.kinds, remarks).groups())


class _Grouping:
    """One walk over the nodes in order; each joins the groups that feed only it."""

    def __init__(self, graph: Graph, kinds: Sequence[str], remarks: Remarks) -> None:
        self.graph = graph
        self.kinds = kinds
        self.remarks = remarks
        self.uses = graph.uses()
        self.of: dict[Node, Group] = {}

    def groups(self) -> dict[Node, Group]:
        """The group of each node that is in one of two nodes or more."""
        for node in self.graph.nodes:
            op = node.op
            if isinstance(op, ELEMENTWISE):
                self._elementwise(node)
            elif isinstance(op, MOVES):
                self._join(node, [g for g in self._feeding(node) if g.root is None and "map" in self.kinds], moves=True)
            elif isinstance(op, Reduction):
                self._join(node, [g for g in self._feeding(node) if g.root is None and "reduce" in self.kinds], root=True)
            elif isinstance(op, CONTRACTIONS):
                plain = [g for g in self._feeding(node) if all(isinstance(n.op, (Permute, Reverse)) for n in g.nodes)]
                self._join(node, plain if self._allowed(node) else [], root=True)
            elif isinstance(op, POOLS):
                self._pool(node)
        return {n: g for n, g in self.of.items() if len(g.nodes) > 1}

    def _allowed(self, node: Node) -> bool:
        kind = "conv" if isinstance(node.op, Conv) else "dot"
        return kind in self.kinds

    def _feeding(self, node: Node) -> list[Group]:
        """The groups whose result this node reads, and nothing else does."""
        found: dict[Group, None] = {}
        for operand in dict.fromkeys(node.operands):
            maker = operand.node
            if maker is None or maker not in self.of:
                continue
            group = self.of[maker]
            others = [u for u in self.uses.get(operand, []) if u is not node]
            if group.out is not operand:
                self._refuse(maker, node, f"the group of {maker.op.mnemonic} goes on behind it")
            elif others:
                names = ", ".join("a result of the graph" if u is None else u.op.mnemonic for u in others[:3])
                self._refuse(maker, node, f"{maker.op.mnemonic} has {len(others) + 1} users, also {names}")
            else:
                found[group] = None
        return list(found)

    def _elementwise(self, node: Node) -> None:
        joined: list[Group] = []
        roots = 0
        for group in self._feeding(node):
            kind = "map" if group.root is None else "conv" if isinstance(group.root.op, Conv) else "dot" if isinstance(group.root.op, DotGeneral) else "reduce"
            if kind not in self.kinds:
                self._refuse(group.nodes[-1], node, f"kinds without {kind}")
            elif group.out.type.shape != node.results[0].type.shape:
                self._refuse(group.nodes[-1], node, f"shapes differ: {group.out.type} and {node.results[0].type}")
            elif isinstance(group.nodes[-1].op, MaxPool):
                self._refuse(group.nodes[-1], node, "a max_pool ends its group")
            elif group.root is not None and roots:
                self._refuse(group.nodes[-1], node, "the group has a contraction or reduction already")
            else:
                roots += group.root is not None
                joined.append(group)
        self._join(node, joined)

    def _pool(self, node: Node) -> None:
        joined: list[Group] = []
        if len(node.results) == 1 or not self.uses.get(node.results[1]):
            for group in self._feeding(node):
                if group.root is not None and isinstance(group.root.op, Conv) and group.pool is None and "conv" in self.kinds:
                    joined.append(group)
        self._join(node, joined, root=not joined, pool=True)

    def _join(
        self, node: Node, groups: Sequence[Group], *, root: bool = False, pool: bool = False, moves: bool = False
    ) -> None:
        accepted = [g for g in groups if self.remarks.allow("fuse")]
        merged = Group()
        members = {n for g in accepted for n in g.nodes}
        merged.nodes = [n for n in self.graph.nodes if n in members] if len(accepted) > 1 else [n for g in accepted for n in g.nodes]
        merged.nodes.append(node)
        roots = [g.root for g in accepted if g.root is not None]
        merged.root = node if root else roots[0] if roots else None
        merged.pool = node if pool else next((g.pool for g in accepted if g.pool is not None), None)
        merged.moves = moves or any(g.moves for g in accepted)
        for group in accepted:
            saved = dim_text(2 * group.out.type.nbytes)
            self.remarks.note(f"fuse: {group.nodes[-1].op.mnemonic} -> {node.op.mnemonic} fused: {saved} bytes less")
        for member in merged.nodes:
            self.of[member] = merged

    def _refuse(self, producer: Node, consumer: Node, reason: str) -> None:
        self.remarks.note(f"fuse: {producer.op.mnemonic} -> {consumer.op.mnemonic} refused: {reason}")


def _emit(graph: Graph, groups: dict[Node, Group]) -> Graph:
    """The graph with each group as a `fuse` node where its last node stood."""
    if not groups:
        return graph
    mapping: dict[Value, Value] = {}
    for node in graph.nodes:
        group = groups.get(node)
        if group is not None:
            if group.nodes[-1] is node:
                _fuse_group(group, mapping)
            continue
        operands = tuple(mapping.get(o, o) for o in node.operands)
        if operands != node.operands:
            names = [r.name for r in node.results]
            results = make(node.op, *operands, regions=node.regions, names=names, origins=node.origins)
            mapping.update(zip(node.results, results, strict=True))
    return graph.replace(
        outputs=[mapping.get(v, v) for v in graph.outputs],
        updates=[(n, mapping.get(v, v)) for n, v in graph.updates],
    )


def _fuse_group(group: Group, mapping: dict[Value, Value]) -> None:
    inner: dict[Value, Value] = {}
    inputs: list[Value] = []
    operands: list[Value] = []

    def inside(value: Value) -> Value:
        """The value within the region: computed, copied in, or a new input."""
        stack = [value]
        while stack:
            v = stack[-1]
            if v in inner:
                stack.pop()
            elif v.node is not None and isinstance(v.node.op, COPIED):
                needed = [o for o in v.node.operands if o not in inner]
                if needed:
                    stack += needed
                    continue
                (inner[v],) = make(v.node.op, *(inner[o] for o in v.node.operands), origins=v.node.origins)
                stack.pop()
            else:
                argument = Value(v.type, name=v.name or f"x{len(inputs)}")
                inner[v] = argument
                inputs.append(argument)
                operands.append(mapping.get(v, v))
                stack.pop()
        return inner[value]

    for node in group.nodes:
        given = [inside(o) for o in node.operands]
        results = make(node.op, *given, regions=node.regions, names=[r.name for r in node.results], origins=node.origins)
        inner.update(zip(node.results, results, strict=True))
    last = group.nodes[-1]
    body = Graph("", inputs, [inner[r] for r in last.results[:1]])
    with origins_of(merge_origins(*(n.origins for n in group.nodes))):
        (result,) = b.fuse(label(group), body, operands)
    result.name = last.results[0].name
    mapping[last.results[0]] = result


def label(group: Group) -> str:
    """What was fused, in words: an addition of one number a channel is a bias."""
    words: list[str] = []
    for node in group.nodes:
        word = node.op.mnemonic
        if word == "add" and group.root is not None and group.root is not node:
            spread = next((o.node for o in node.operands if o.node is not None and isinstance(o.node.op, BroadcastInDim)), None)
            if spread is not None and spread.operands[0].type.rank == 1:
                word = "bias"
        words.append("linear" if word == "dot_general" else word)
    if len(words) > 8:
        words = [*words[:3], f"{len(words) - 5} more", *words[-2:]]
    return "+".join(words)


@dataclass(frozen=True)
class Unfuse(Pass):
    """Put the nodes of every `fuse` region back in its place: the inverse of fuse, up to copied constants."""

    name: ClassVar[str] = "unfuse"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        from ..ir.graph import rebuild
        from .inline import inline

        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, FuseOp) or not remarks.allow("unfuse"):
                return None
            return inline(node.regions[0], operands)

        return rebuild(graph, rewrite)
