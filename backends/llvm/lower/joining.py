"""A concat of many operands: each is computed at its place, or copied there, instead of a choice at each element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....ir.dims import Dim, product
from ....ir.graph import Node
from ....ir.ops.constant import Constant
from ....ir.ops.move import Concat
from .memory import Memory

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["joined", "places"]

VIEWS = frozenset(("reshape", "opt_barrier"))
"""Ops whose result is the operand's memory, where it has one."""


def places(lowering: Lowering, node: Node) -> list[Memory]:
    """Where a wide concat has its operands, in whole stretches of its memory; empty where they are not whole.

    What is computed for the concat alone, views apart, is computed there.
    """
    assert isinstance(node.op, Concat)
    (result,) = node.results
    shape, axis = result.type.shape, node.op.axis
    if any(d != 1 for d in shape[:axis]) or result in lowering.layouts:
        return []
    memory, row = lowering.new_memory(result), product(shape[axis + 1 :])
    start: Dim = 0
    found: list[Memory] = []
    for operand in node.operands:
        found.append(memory.part(start, operand.type.size, row))
        start = start + operand.type.size
        while operand.node is not None and operand.node.op.mnemonic in VIEWS:
            operand = operand.node.operands[0]
        if operand.node is not None and not isinstance(operand.node.op, Constant):
            lowering.wanted.setdefault(operand, found[-1])
    lowering.memory[result] = memory
    return found


def joined(lowering: Lowering, node: Node, places: Sequence[Memory]) -> None:
    """Copy to its place what is not there yet."""
    for operand, place in zip(node.operands, places, strict=True):
        if lowering.memory_of(operand) is not place:
            lowering.map_kernel(operand, place, source=operand)
