"""Which contraction or reduction can compute a value as what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.graph import Node, Value
from .elementwise import ELEMENTWISE
from .pull import MAPS
from .weights_plan import exchanges, is_tiled

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["tail_root", "turned"]


def tail_root(lowering: Lowering, value: Value) -> Node | None:
    """The contraction or reduction whose kernel can compute the value as its tail, or None.

    The path from it to the value is elementwise and keeps the index; nothing else reads what lies on the path. Behind a derivative
    by weights that Winograd's transforms compute, channels may be exchanged once on the path.
    """
    roots: dict[Node, None] = {}
    turned: dict[Node, None] = {}
    inner_uses: dict[Value, int] = {}
    stack, seen = [value], {value}
    while stack:
        current = stack.pop()
        node = current.node
        if node is None or lowering.memory_of(current) is not None:
            continue
        if node.op.mnemonic in MAPS:
            follow = node.op.mnemonic in ELEMENTWISE
            for operand in map(lowering.resolve, node.operands):
                if not follow:
                    if lowering.has_barrier(operand):
                        if not exchanges(node):
                            return None
                        turned[node] = None
                    continue
                inner_uses[operand] = inner_uses.get(operand, 0) + 1
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        else:
            if len(node.results) != 1 or node.op.mnemonic not in lowering.tailed or current is value:
                return None
            roots[node] = None
    if len(roots) + len(turned) != 1:
        return None
    (root,) = (*roots, *turned)
    result = root.results[0]
    alone = result is value or lowering.uses.get(result, 0) == inner_uses.get(result, 0)
    if not alone or result.type.shape != value.type.shape:
        return None
    return _behind(lowering, root) if turned else root


def _behind(lowering: Lowering, exchange: Node) -> Node | None:
    """The derivative by weights that leads to an exchange of its channels."""
    source = lowering.resolve(exchange.operands[0])
    if lowering.uses.get(source, 0) != 1 or source.node is None or turned(lowering, source):
        return None
    root = tail_root(lowering, source) if source.node.op.mnemonic in MAPS else source.node
    return root if root is not None and is_tiled(root, lowering.target, lowering.resolve) else None


def turned(lowering: Lowering, value: Value) -> bool:
    """Whether channels are exchanged between a derivative by weights and its tail: the weights have output channels first."""
    stack, seen = [value], {value}
    while stack:
        current = stack.pop()
        node = current.node
        if node is None or lowering.memory_of(current) is not None:
            continue
        operands = list(map(lowering.resolve, node.operands))
        if exchanges(node) and lowering.has_barrier(operands[0]):
            return True
        if node.op.mnemonic in ELEMENTWISE:
            new = [o for o in operands if o not in seen]
            seen.update(new)
            stack += new
    return False
