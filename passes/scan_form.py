"""A scan taken apart by the kinds of its operands, changed, and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.graph import Graph, Node, Value, make
from ..ir.op import Op
from ..ir.ops.constant import Constant, Iota
from ..ir.ops.control import Scan
from ..ir.ops.move import BroadcastInDim

__all__ = ["VIRTUAL", "ScanForm", "cloned"]

VIRTUAL: tuple[type[Op], ...] = (Constant, Iota, BroadcastInDim)
"""Ops that are cheaper to compute again at each reader than to keep."""


@dataclass
class ScanForm:
    """The parts of a scan; lists are meant to be changed.

    Attributes:
        op:     length and direction; its counts are made anew
        inits, carries, nexts: a carry's operand, the body's input, and what the body returns for it
        rows, xs:      an operand over all steps, and the body's input
        outer, consts: an operand that is the same at each step, and the body's input
        ys:     what the body returns for each step
        nodes:  of the body
    """

    op: Scan
    inits: list[Value]
    carries: list[Value]
    nexts: list[Value]
    rows: list[Value]
    xs: list[Value]
    outer: list[Value]
    consts: list[Value]
    ys: list[Value]
    nodes: tuple[Node, ...]

    @staticmethod
    def of(node: Node, operands: Sequence[Value]) -> ScanForm:
        op, (body,) = node.op, node.regions
        assert isinstance(op, Scan)
        first, last = op.carries, op.carries + op.xs
        given, inner = list(operands), list(body.inputs)
        return ScanForm(
            op, given[:first], inner[:first], list(body.outputs[:first]), given[first:last], inner[first:last],
            given[last:], inner[last:], list(body.outputs[first:]), body.nodes,
        )  # fmt: skip

    @property
    def outputs(self) -> list[Value]:
        return [*self.nexts, *self.ys]

    def exchange(self, nodes: Iterable[Node], stands: Mapping[Value, Value]) -> dict[Value, Value]:
        """Make the body of these nodes, on other values; gives what stands for every value."""
        mapping = cloned(nodes, stands)
        self.nexts = [mapping.get(v, v) for v in self.nexts]
        self.ys = [mapping.get(v, v) for v in self.ys]
        self.nodes = Graph("", [], self.outputs).nodes
        return mapping

    def make(self, names: Sequence[str] = ()) -> tuple[list[Value], list[Value]]:
        """The scan's last carries and its ys; consts that nothing reads are left out."""
        read = {o for n in Graph("", [], self.outputs).nodes for o in n.operands} | set(self.outputs)
        consts = [(o, v) for o, v in zip(self.outer, self.consts, strict=True) if v in read]
        rows = [(o, v) for o, v in zip(self.rows, self.xs, strict=True) if v in read]
        body = Graph("body", [*self.carries, *(v for _, v in rows), *(v for _, v in consts)], self.outputs)
        op = replace(self.op, carries=len(self.carries), xs=len(rows))
        found = make(
            op, *self.inits, *(o for o, _ in rows), *(o for o, _ in consts), regions=(body,), names=names
        )
        return list(found[: len(self.carries)]), list(found[len(self.carries) :])


def cloned(nodes: Iterable[Node], stands: Mapping[Value, Value]) -> dict[Value, Value]:
    """The nodes again on other values; what stands for every value then. A node that nothing changes stays."""
    mapping = dict(stands)
    for node in nodes:
        operands = tuple(mapping.get(o, o) for o in node.operands)
        if operands == node.operands:
            continue
        names = [r.name for r in node.results]
        results = make(node.op, *operands, regions=node.regions, names=names, origins=node.origins)
        mapping.update(zip(node.results, results, strict=True))
    return mapping
