"""What a group of nodes does, in words: ``conv+bias+relu+max_pool``."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Node, Value
from ..ir.ops.contract import DotGeneral
from ..ir.ops.elementwise import Add, Div, Log, Lt, Mul, Select
from ..ir.ops.move import BroadcastInDim
from ..ir.ops.reduce import Reduction
from ..ir.ops.window import Conv, WindowSum
from .rules.base import is_constant, is_full, producer

__all__ = ["label"]

MOST_WORDS = 8
_CLAMP = ["le", "ge", "select", "select"]
"""As `relu6` and `hardtanh` are written out: below the low end, above the high one, else as it is."""


def label(nodes: Sequence[Node]) -> str:
    """The words of the nodes in order.

    An addition of one number a channel is a bias, and a product with one is `linear`; relu, clamps, softmax and the mean of
    a window are found where they are written out. Long labels are cut in the middle.
    """
    if len([n for n in nodes if isinstance(n.op, Reduction)]) == 2:
        return "log_softmax" if any(isinstance(n.op, Log) for n in nodes) else "softmax"
    words: list[str] = []
    for k, node in enumerate(nodes):
        before = nodes[k - 1] if k else None
        if isinstance(node.op, Add) and _is_bias(node, before):
            if words[-1] == "matmul":
                words[-1] = "linear"
            else:
                words.append("bias")
        elif isinstance(node.op, DotGeneral):
            words.append("matmul")
        elif _relu_source(node) is not None and words[-1:] == ["lt"]:
            words[-1] = "relu"
        elif before is not None and isinstance(before.op, WindowSum) and _is_mean(node, before):
            words[-1] = "avg_pool"
        else:
            words.append(node.op.mnemonic)
        if words[-len(_CLAMP) :] == _CLAMP:
            words[-len(_CLAMP) :] = ["clamp"]
    if len(words) > MOST_WORDS:
        words = [*words[:4], f"{len(words) - 6} more", *words[-2:]]
    return "+".join(words)


def _is_bias(node: Node, before: Node | None) -> bool:
    """Whether the node adds to the product before it one number a channel."""
    if before is None or not isinstance(before.op, (Conv, DotGeneral)):
        return False
    product = before.results[0]
    channel = 1 if isinstance(before.op, Conv) else product.type.rank - 1
    others = [o for o in node.operands if o is not product]
    spread = producer(others[0], BroadcastInDim) if others else None
    return spread is not None and isinstance(spread.op, BroadcastInDim) and spread.op.axes == (channel,)


def _relu_source(node: Node) -> Value | None:
    """x, where the node is select(x < 0, 0, x)."""
    if not isinstance(node.op, Select):
        return None
    condition, zero, x = node.operands
    less = producer(condition, Lt)
    if less is None or less.operands[0] is not x or not is_full(less.operands[1], 0):
        return None
    return x if is_full(zero, 0) else None


def _is_mean(node: Node, pool: Node) -> bool:
    """Whether the node divides a window's sum by a constant."""
    return (
        isinstance(node.op, (Div, Mul))
        and node.operands[0] is pool.results[0]
        and is_constant(node.operands[1])
    )
