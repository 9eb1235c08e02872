"""Groups with several exits: what is computed place by place from one product, or from the same values.

    product   behind a dot_general, or behind the column blocks that slices cut its result into, such as the gates of a
              recurrent cell: the elementwise nodes of one shape that need nothing else that needs the product
    map       in a body of a loop: elementwise nodes of one shape that need each other or share an operand, and a concat of theirs

With one exit no node outside can stand between two members. With several that is checked: a node that depends on a
member and is none itself is `outside`, and nothing joins that reads an outside value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.ops.move import Concat, Pad, Permute, Reverse, Slice
from ..ir.ops.reduce import Reduction
from .rules.base import ELEMENTWISE

if TYPE_CHECKING:
    from .fuse_groups import Grouping

__all__ = ["behind_product", "blocks_of", "side_by_side"]

MOST_BLOCKS = 8
REACH = 256
"""Nodes around a group that may join it, so that looking for them takes no longer in a larger graph."""
_FUSED = (*ELEMENTWISE, Slice, Permute, Reverse, Pad, Concat, Reduction)
"""Ops that could take an operand into a kernel of their own."""


def blocks_of(value: Value, users: Iterable[Node | None]) -> list[Node]:
    """The slices that cut a value into blocks of columns of equal width, where nothing else reads it."""
    found: list[Node] = []
    *rows, total = value.type.shape
    for user in users:
        if user is None or not isinstance(user.op, Slice):
            return []
        found.append(user)
    if not found or not isinstance(total, int):
        return []
    width = found[0].results[0].type.shape[-1]
    if not isinstance(width, int) or not 0 < width < total or total % width or total > width * MOST_BLOCKS:
        return []
    for node in found:
        start = block_start(node)
        if node.results[0].type.shape != (*rows, width) or start is None or start % width:
            return []
    return found


def block_start(node: Node) -> int | None:
    """The first column of a slice of whole rows."""
    op = node.op
    assert isinstance(op, Slice)
    start = op.starts[-1]
    whole = all(s == 0 for s in op.starts[:-1]) and all(s == 1 for s in op.strides)
    return start if whole and isinstance(start, int) else None


def behind_product(grouping: Grouping, members: set[Node], tip: Value) -> set[Node]:
    """The members and what joins them behind the tip; the members alone where nothing does, or one exit is left anyway."""
    if not tip.type.shape:  # a product of vectors has no columns
        return members
    blocks = blocks_of(tip, grouping.uses.get(tip, ()))
    if any(node in grouping.taken for node in blocks):
        return members
    shape = blocks[0].results[0].type.shape if blocks else tip.type.shape
    nodes = grouping.graph.nodes
    assert tip.node is not None
    first = grouping.place[tip.node] + 1
    near = nodes[first : first + REACH]
    joined, outside = _grow(grouping, {*members, *blocks}, near, shape, share=False)
    joined = _needed(grouping, joined, {*members, *blocks})
    if len(joined) == len(members) + len(blocks):
        return members
    joined = _sides(grouping, joined, outside)
    return joined if _apart(grouping, joined) else members


def side_by_side(grouping: Grouping, graph: Graph) -> list[set[Node]]:
    """Sets of free elementwise nodes that one kernel computes, where they have several exits."""
    found: list[set[Node]] = []
    taken = set(grouping.taken)
    for place, node in enumerate(graph.nodes):
        shape = node.results[0].type.shape
        if node in taken or not isinstance(node.op, ELEMENTWISE) or not shape:
            continue
        near = graph.nodes[place + 1 : place + 1 + REACH]
        joined, outside = _grow(grouping, {node}, near, shape, share=True)
        joined = _needed(grouping, joined, set())
        if not joined:
            continue
        joined = _sides(grouping, joined, outside)
        if len(grouping.exits(joined)) > 1 and _apart(grouping, joined):
            found.append(joined)
            taken |= joined
            grouping.taken |= joined
    return found


def _grow(
    grouping: Grouping, start: set[Node], nodes: Sequence[Node], shape: tuple[Dim, ...], share: bool
) -> tuple[set[Node], set[Value]]:
    """What joins, going through nodes in order, and the values that depend on a member from outside.

    Args:
        shape: of the nodes that join
        share: whether a node joins also for an operand that a member has
    """
    members = set(start)
    outside: set[Value] = set()
    read = {o for n in members for o in n.operands} if share else set[Value]()
    for node in nodes:
        if node in members:
            continue
        depends = any(o.node in members or o in outside for o in node.operands)
        if not depends and not any(o in read and o.type.shape == shape for o in node.operands):
            continue
        free = node not in grouping.taken and len(members) < grouping.limit
        clean = not any(o in outside for o in node.operands)
        if free and clean and (_fits(node, shape) or (share and _joins(node, members, shape))):
            members.add(node)
            if share:
                read.update(node.operands)
        elif depends:
            outside.update(node.results)
    return members, outside


def _fits(node: Node, shape: tuple[Dim, ...]) -> bool:
    return isinstance(node.op, ELEMENTWISE) and node.results[0].type.shape == shape


def _joins(node: Node, members: set[Node], shape: tuple[Dim, ...]) -> bool:
    """Whether the node puts members' results beside each other in its rows."""
    return (
        isinstance(node.op, Concat)
        and node.op.axis == len(shape) - 1
        and len(node.operands) <= MOST_BLOCKS
        and all(o.node in members and o.type.shape == shape for o in node.operands)
    )


def _needed(grouping: Grouping, members: set[Node], kept: set[Node]) -> set[Node]:
    """The members without those that only other kernels read, which take them in."""
    left = set(members)
    for node in reversed(grouping.ordered(members)):
        users = [u for r in node.results for u in grouping.uses.get(r, ())]
        alone = not any(u in left for u in users)
        if node not in kept and alone and all(u is not None and isinstance(u.op, _FUSED) for u in users):
            left.discard(node)
    return left


def _sides(grouping: Grouping, members: set[Node], outside: set[Value]) -> set[Node]:
    """With the elementwise nodes and slices that members alone read."""
    found = set(members)
    places = [grouping.place[n] for n in members]
    start, last = max(0, min(places) - REACH), max(places)
    starts = {o.node for n in members if isinstance(n.op, ELEMENTWISE) for o in n.operands}
    for node in reversed(grouping.graph.nodes[start:last]):
        if node in found or node not in starts or node in grouping.taken or len(found) >= grouping.limit:
            continue
        results = node.results
        users = [u for r in results for u in grouping.uses.get(r, ())]
        alone = isinstance(node.op, (*ELEMENTWISE, Slice)) and all(u in found for u in users)
        if alone and not any(r in outside for r in results):
            found.add(node)
            starts.update(o.node for o in node.operands)
    return found


def _apart(grouping: Grouping, members: set[Node]) -> bool:
    """Whether no way leads from a member through other groups of several exits back to one."""
    several = {node: group for group in grouping.found if group.several for node in group.nodes}
    if not several:
        return True
    last = max(grouping.place[n] for n in members)
    stack = [u for n in members for r in n.results for u in grouping.uses.get(r, ()) if u not in members]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        if node in members:
            return False
        ones = several[node].nodes if node in several else (node,)
        seen.update(ones)
        if grouping.place[ones[0]] > last:
            continue
        for one in ones:
            stack += [u for r in one.results for u in grouping.uses.get(r, ())]
    return True
