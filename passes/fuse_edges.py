"""Every edge of a graph, and whether fusion keeps it out of memory: which group holds it, or the first condition that
keeps its ends apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.op import Level, Op
from ..ir.ops.control import Fuse, Scan
from ..ir.ops.move import Permute, Reshape, Reverse
from ..ir.ops.nn import AvgPool
from ..ir.ops.reduce import Reduction
from ..ir.ops.window import MaxPool, WindowSum
from .base import Remarks
from .fuse_groups import KINDS, MOVES, ROOTS, Group, Grouping
from .fuse_region import is_copied
from .rules.base import ELEMENTWISE

__all__ = ["Edge", "fusion_edges"]

POOLS: tuple[type[Op], ...] = (MaxPool, WindowSum, AvgPool)


@dataclass(frozen=True, eq=False)
class Edge:
    """One use of a value by a node.

    Args:
        value:  what is read
        user:   the node that reads it, or None where the graph returns it or writes it to the store
        label:  of the group that holds both ends; empty where the value goes through memory
        saved:  bytes that are not read; those that are not written stand at the first of the value's edges
        reason: why the value goes through memory; empty where it does not
    """

    value: Value
    user: Node | None
    label: str
    saved: Dim
    reason: str


def fusion_edges(
    graph: Graph, kinds: Sequence[str] = KINDS, limit: int = 64, *, inner: bool = False
) -> list[Edge]:
    """Every edge of a graph as it stands before fusion, in order of the users; uses by the caller come last.

    Args:
        inner: whether it is the body of a loop or branch
    """
    groups = Grouping(graph, kinds, limit, Remarks(), inner).groups()
    return list(_Edges(graph, groups, kinds, limit, "body" if inner else "graph").all())


class _Edges:
    def __init__(
        self, graph: Graph, groups: Sequence[Group], kinds: Sequence[str], limit: int, word: str
    ) -> None:
        self.graph = graph
        self.word = word
        self.kinds = kinds
        self.limit = limit
        self.of = {node: group for group in groups for node in group.nodes}
        self.uses = graph.uses()
        self.written: set[Value] = set()

    def all(self) -> Iterator[Edge]:
        for node in self.graph.nodes:
            for value in dict.fromkeys(node.operands):
                yield self.edge(value, node)
        for value in dict.fromkeys(self.graph.roots):
            yield Edge(value, None, "", 0, self.caller(value))

    def edge(self, value: Value, user: Node) -> Edge:
        maker = value.node
        mine = self.of.get(user)
        if maker is not None and is_copied(maker.op) and mine is not None:
            return Edge(value, user, mine.label, self.bytes(value), "")
        if maker is not None and mine is not None and self.of.get(maker) is mine:
            others = any(u is None or self.of.get(u) is not mine for u in self.uses[value])
            return Edge(value, user, mine.label, self.bytes(value, others), "")
        return Edge(value, user, "", 0, self.reason(value, user))

    def bytes(self, value: Value, others: bool = False) -> Dim:
        """What a read of the value takes; with what writing it takes at its first use.

        Args:
            others: whether it is written all the same, for users outside of the group
        """
        once = others or value in self.written
        self.written.add(value)
        return value.type.nbytes if once else value.type.nbytes * 2

    def caller(self, value: Value) -> str:
        names = [name for name, v in self.graph.updates if v is value]
        kept = [f"it is written to @{name}" for name in names]
        return " and ".join(
            ([f"it is a result of the {self.word}"] if value in self.graph.outputs else []) + kept
        )

    def reason(self, value: Value, user: Node) -> str:
        """The first condition that keeps the ends apart."""
        maker = value.node
        if maker is None:
            return (
                f"@{value.entry} is in the store"
                if value.entry is not None
                else f"it is an input of the {self.word}"
            )
        for end in (maker, user):
            alone = self.stands_alone(end)
            if alone:
                return alone
        if value.index:
            return f"it is result {value.index} of {maker.op.mnemonic}; groups follow result 0"
        into = self.enters(maker, user)
        return into or self.use(value, maker) or self.met(maker, user)

    def stands_alone(self, node: Node) -> str:
        """Why a node is in no group by its kind."""
        op = node.op
        if isinstance(op, Reshape):
            return "reshape is the same bytes under another shape: nothing is copied"
        if isinstance(op, Scan):
            return "a scan is a loop of its own"
        if op.level is Level.CONTROL and not isinstance(op, Fuse):
            return f"{op.mnemonic} runs bodies of its own"
        if is_copied(op):
            return f"{op.mnemonic} is copied into each group that reads it; this user is in none"
        kind = _kind(op)
        if kind is None:
            return f"{op.mnemonic} is a kernel of its own"
        if kind not in self.kinds:
            return f"kinds={'+'.join(self.kinds)} leaves {kind} out"
        return ""

    def enters(self, maker: Node, user: Node) -> str:
        """Why a value is not computed within the node that reads it, or behind the one that makes it."""
        first, last = _kind(maker.op), _kind(user.op)
        if last in ("conv", "dot") and not isinstance(maker.op, (Permute, Reverse)):
            return f"{user.op.mnemonic} reads each element of its operands many times: it is better computed once"
        if isinstance(maker.op, POOLS) and isinstance(user.op, POOLS):
            return f"{maker.op.mnemonic} and {user.op.mnemonic} are two windows; a group has one"
        if isinstance(user.op, POOLS) and not isinstance(user.op, WindowSum) and first != "conv":
            return f"{user.op.mnemonic} follows {maker.op.mnemonic}: a pool joins a convolution's group alone"
        if isinstance(maker.op, MaxPool):
            return "nothing follows max_pool within a group"
        if (
            first in ("conv", "dot", "reduce")
            and last in ("conv", "dot", "reduce")
            and maker.op is not user.op
        ):
            return f"{maker.op.mnemonic} and {user.op.mnemonic} both sum over elements; a group has one such loop"
        if first in ("conv", "dot", "reduce") and isinstance(user.op, MOVES):
            return f"{user.op.mnemonic} moves elements: only elementwise ops follow {maker.op.mnemonic} in its group"
        return ""

    def use(self, value: Value, maker: Node) -> str:
        """Why others need the value in memory."""
        users = list(dict.fromkeys(self.uses.get(value, [])))
        if None in users:
            return self.caller(value)
        if len(maker.results) > 1 and any(self.uses.get(r) for r in maker.results[1:]):
            return f"the other results of {maker.op.mnemonic} are read too"
        if len(users) > 1:
            names = [u.op.mnemonic for u in users if u is not None]
            return f"it has {len(users)} users ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}) that do not meet"
        return ""

    def met(self, maker: Node, user: Node) -> str:
        """The state of the groups of both ends, where each could have taken the other."""
        mine, theirs = self.of.get(maker), self.of.get(user)
        sizes = [len(g.nodes) for g in (mine, theirs) if g is not None]
        if sum(sizes) + (2 - len(sizes)) > self.limit:
            return f"together they have more than limit={self.limit} nodes"
        if mine is not None and theirs is not None:
            return f"{mine.label} and {theirs.label} would have two results in one group"
        if theirs is not None:
            return f"{theirs.label} would have a second result, of {maker.op.mnemonic}"
        if mine is not None:
            return f"{user.op.mnemonic} has another operand that {mine.label} cannot take in"
        return f"{user.op.mnemonic} has another operand that is not ready when {maker.op.mnemonic} is"


def _kind(op: Op) -> str | None:
    """Which groups an op belongs to, or None where it is never fused."""
    for root, kind in ROOTS.items():
        if isinstance(op, root):
            return kind
    if isinstance(op, Reduction):
        return "reduce"
    if isinstance(op, POOLS):
        return "conv"
    return "map" if isinstance(op, (*ELEMENTWISE, *MOVES)) else None
