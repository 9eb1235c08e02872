"""Which nodes become one region.

A group has one exit: the only value of it that anything outside reads. So every member leads to the exit, nothing
outside can stand between two members, and exchanging groups for single nodes cannot make a cycle. Groups with several
exits, and what keeps those from making one, are in `fuse_several.py`.

    contraction   conv, dot_general or linear, after permutes and reverses of its operands; then, behind a derivative by weights,
                  the permute that puts output channels first; then elementwise nodes; then, behind a convolution, a pool, and elementwise nodes behind a sum pool
    reduction     one reduction, sum pool or fold_patches, after maps that it alone reads; then elementwise nodes
    softmax       its two reductions over the same axes with everything between
    map           elementwise nodes and data movement

An elementwise node joins with the elementwise nodes that it alone reads. Values may fork within a group if the
branches meet again in it, as relu written with select does. Constants, iotas and broadcasts are no members: each
region that reads one has its own copy.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ..ir.dims import Dim, dim_text
from ..ir.graph import Graph, Node, Value
from ..ir.op import Op
from ..ir.ops.constant import Constant, Iota
from ..ir.ops.contract import DotGeneral
from ..ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reverse, Slice
from ..ir.ops.nn import AvgPool, Linear
from ..ir.ops.patches import FoldPatches
from ..ir.ops.reduce import Reduction
from ..ir.ops.window import Conv, MaxPool, WindowSum
from ..ir.origin import merge_origins, origins_of
from .base import Remarks
from .fuse_label import label
from .fuse_several import behind_product, side_by_side
from .fuse_softmax import softmax_members
from .rules.base import ELEMENTWISE

__all__ = ["COPIED", "KINDS", "Group", "Grouping", "is_wide"]

KINDS = ("conv", "dot", "reduce", "map")

MOVES: tuple[type[Op], ...] = (Permute, Slice, Reverse, Pad, Concat)
COPIED: tuple[type[Op], ...] = (Constant, Iota, BroadcastInDim)
ROOTS: dict[type[Op], str] = {
    Conv: "conv",
    DotGeneral: "dot",
    Linear: "dot",
    WindowSum: "reduce",
    FoldPatches: "reduce",
}


WIDEST = 8
"""Operands of a concat that is a choice between them at each element; a wider one is copies."""


def is_wide(node: Node) -> bool:
    """Whether a concat joins so many operands that each is copied to its place."""
    return isinstance(node.op, Concat) and len(node.operands) > WIDEST


def _exchanges(node: Node | None) -> bool:
    """Whether a node exchanges the first two axes."""
    return node is not None and isinstance(node.op, Permute) and node.op.exchanges


@dataclass(eq=False)
class Group:
    """Members in graph order, and the values of theirs that anything outside reads."""

    nodes: list[Node] = field(default_factory=list[Node])
    exits: list[Value] = field(default_factory=list[Value])
    label: str = ""

    @property
    def several(self) -> bool:
        return len(self.exits) > 1


class Grouping:
    """The groups of one graph.

    Args:
        kinds: which groups to make
        limit: how many nodes a group may have
        inner: whether it is a body, where kernels are short
    """

    def __init__(
        self, graph: Graph, kinds: Collection[str], limit: int, remarks: Remarks, inner: bool = False
    ) -> None:
        self.inner = inner
        self.graph = graph
        self.kinds = kinds
        self.limit = limit
        self.remarks = remarks
        self.uses = graph.uses()
        self.place = {node: k for k, node in enumerate(graph.nodes)}
        self.taken: set[Node] = set()
        self.refused: set[Value] = set()
        self.found: list[Group] = []

    def groups(self) -> list[Group]:
        """Contractions first, then softmax, reductions, and maps of what is left."""
        for node in self.graph.nodes:
            kind = next((k for op, k in ROOTS.items() if isinstance(node.op, op)), None)
            if kind is not None and kind in self.kinds and node not in self.taken:
                self._contraction(node)
        if "reduce" in self.kinds:
            for node in self.graph.nodes:
                self._softmax(node)
            for node in self.graph.nodes:
                if isinstance(node.op, Reduction) and node not in self.taken:
                    self._reduction(node)
        if "map" in self.kinds:
            if self.inner:
                for members in side_by_side(self, self.graph):
                    self._commit(members)
            for node in reversed(self.graph.nodes):
                fits = isinstance(node.op, (*ELEMENTWISE, *MOVES)) and not is_wide(node)
                if fits and node not in self.taken:
                    members = {node}
                    self._backward(node.operands, members, (*ELEMENTWISE, *MOVES))
                    self._commit(members)
        return self.found

    def _contraction(self, root: Node) -> None:
        members = {root}
        if not isinstance(root.op, WindowSum):
            self._backward(root.operands, members, (Permute, Reverse))
        tip = self._forward(self._turned(root, self._forward(root.results[0], members), members), members)
        if isinstance(root.op, Conv):
            pool = self._pool_behind(tip)
            if pool is not None:
                members.add(pool)
                if not isinstance(pool.op, MaxPool):
                    self._forward(pool.results[0], members)
        self._side_branches(members)
        if isinstance(root.op, DotGeneral):
            members = behind_product(self, members, tip)
        self._commit(members)

    def _turned(self, root: Node, tip: Value, members: set[Node]) -> Value:
        """Add the exchange of channels behind a derivative by weights, a convolution of two such exchanges, where nothing else reads
        the tip; the new tip."""
        users = self.uses.get(tip, [])
        user = users[0] if len(users) == 1 else None
        led = (user, *(operand.node for operand in root.operands))
        if (
            user is None
            or user in self.taken
            or not isinstance(root.op, Conv)
            or not all(map(_exchanges, led))
        ):
            return tip
        members.add(user)
        return user.results[0]

    def _reduction(self, root: Node) -> None:
        members = {root}
        self._backward(root.operands, members, (*ELEMENTWISE, *MOVES))
        self._forward(root.results[0], members)
        self._side_branches(members)
        self._commit(members)

    def _softmax(self, node: Node) -> None:
        members = softmax_members(node)
        if not members or self.taken.intersection(members):
            return
        inside = set(members)
        open_ = [m for m in members if m is not node and not self._closed(m, inside)]
        if open_:
            self._refuse(open_[0].results[0])
        else:
            self._commit(inside)

    def _side_branches(self, members: set[Node]) -> None:
        """Take in the elementwise nodes that elementwise members alone read."""
        starts = [n for n in self.ordered(members) if isinstance(n.op, ELEMENTWISE)]
        self._backward([o for n in starts for o in n.operands], members, ELEMENTWISE)

    def _backward(self, values: Iterable[Value], members: set[Node], ops: tuple[type[Op], ...]) -> None:
        """Add the makers of the values, and of their operands, that nothing outside the group reads; last ones first,
        so that a node is looked at after all its users.
        """
        seen: set[Node] = set()
        heap: list[int] = []

        def push(operands: Iterable[Value]) -> None:
            for operand in operands:
                if operand.node is not None and operand.node not in seen:
                    seen.add(operand.node)
                    heapq.heappush(heap, -self.place[operand.node])

        push(values)
        while heap and len(members) < self.limit:
            node = self.graph.nodes[-heapq.heappop(heap)]
            if node in members or node in self.taken or not isinstance(node.op, ops) or is_wide(node):
                continue
            if self._closed(node, members):
                members.add(node)
                push(node.operands)
            else:
                self._refuse(node.results[0])

    def _closed(self, node: Node, members: Collection[Node]) -> bool:
        return all(user in members for r in node.results for user in self.uses.get(r, []))

    def _forward(self, tip: Value, members: set[Node]) -> Value:
        """Add elementwise nodes behind the tip as long as there is one exit; the new tip."""
        while True:
            more = self._next(tip, self.limit - len(members))
            if not more:
                return tip
            members.update(more)
            tip = more[-1].results[0]

    def _next(self, tip: Value, room: int) -> list[Node]:
        """The fewest elementwise nodes behind the tip that read it and leave one exit; none if there are none."""
        users = self.uses.get(tip, [])
        if not any(u is not None and isinstance(u.op, ELEMENTWISE) for u in users):
            return []
        unread: dict[Value, int] = {tip: len(users)}
        added: list[Node] = []
        heap = [self.place[u] for u in dict.fromkeys(users) if u is not None]
        heapq.heapify(heap)
        queued = set(heap)
        while heap and len(added) < room:
            node = self.graph.nodes[heapq.heappop(heap)]
            if node in self.taken:
                self._refuse(tip, f"{_name(node.results[0])} is in another group")
                return []
            if not isinstance(node.op, ELEMENTWISE):
                break
            added.append(node)
            for operand in node.operands:
                if operand in unread:
                    unread[operand] -= 1
                    if not unread[operand]:
                        del unread[operand]
            if not unread:
                return added
            exit_ = node.results[0]
            unread[exit_] = len(self.uses.get(exit_, []))
            for user in self.uses.get(exit_, []):
                if user is not None and self.place[user] not in queued:
                    queued.add(self.place[user])
                    heapq.heappush(heap, self.place[user])
        self._refuse(tip, f"limit={self.limit}" if len(added) >= room else None)
        return []

    def _pool_behind(self, tip: Value) -> Node | None:
        users = self.uses.get(tip, [])
        pool = users[0] if users else None
        if pool is None or not isinstance(pool.op, (MaxPool, WindowSum, AvgPool)) or pool in self.taken:
            return None
        if len(users) > 1:
            self._refuse(tip)
            return None
        if len(pool.results) > 1 and self.uses.get(pool.results[1]):
            self._note(f"refused: the index of {_name(pool.results[0])} is read too")
            return None
        return pool

    def _commit(self, members: Collection[Node]) -> None:
        if len(members) < 2:
            return
        group = Group(self.ordered(members), self.exits(members))
        with origins_of(merge_origins(*(n.origins for n in group.nodes))):
            if not self.remarks.allow("fuse"):
                return
        group.label = label(group.nodes)
        self.taken.update(members)
        self.found.append(group)
        saved: Dim = 0
        for node in group.nodes:
            if isinstance(node.op, COPIED) or node.results[0] in group.exits:
                continue
            readers = dict.fromkeys(u for u in self.uses.get(node.results[0], []) if u is not None)
            saved = saved + (1 + len(readers)) * node.results[0].type.nbytes
        self._note(f"{group.label}: {len(group.nodes)} nodes, {dim_text(saved)} bytes less through memory")

    def exits(self, members: Collection[Node]) -> list[Value]:
        """The values of members that others read, in order."""
        results = [r for n in self.ordered(members) for r in n.results]
        return [r for r in results if any(u not in members for u in self.uses.get(r, ()))]

    def ordered(self, members: Collection[Node]) -> list[Node]:
        return sorted(members, key=self.place.__getitem__)

    def _refuse(self, value: Value, reason: str | None = None) -> None:
        """Note once why a value goes through memory; by default because of its users."""
        if value in self.refused:
            return
        self.refused.add(value)
        users = dict.fromkeys(self.uses.get(value, []))
        if reason is not None or None in users:
            self._note(f"refused: {_name(value)}: {reason or 'it is a result of the graph'}")
            return
        names = [_name(u.results[0]) for u in users if u is not None]
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        plural = "user" if len(names) == 1 else "users"
        self._note(f"refused: {_name(value)} has {len(names)} {plural} ({shown})")

    def _note(self, text: str) -> None:
        self.remarks.note(f"fuse: {text}")


def _name(value: Value) -> str:
    op = value.op
    mnemonic = "input" if op is None else op.mnemonic
    return f"{mnemonic} %{value.name}" if value.name else mnemonic
