"""What a kernel does, for profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....ir.dims import Dim
from ....ir.graph import Node, Value
from ....passes.fuse_label import label

__all__ = ["described"]


def described(
    computed: Sequence[Value], stored: Sequence[Value], order: Mapping[Node, int]
) -> tuple[str, Dim]:
    """The ops of a kernel in words, and the bytes of the values that never reach memory because it does all of them.

    Args:
        computed: the values that it computes; nothing for one that reads and writes what is there
        stored:   those that it is made for
        order:    of the nodes in their graph
    """
    if not computed:
        return "", 0
    saved: Dim = 0
    for value in computed:
        if value not in stored:
            saved = saved + value.type.size * value.type.dtype.bytes * 2
    nodes = dict.fromkeys(v.node for v in (*computed, *stored) if v.node is not None)
    return label(sorted(nodes, key=lambda node: order.get(node, 0))), saved
