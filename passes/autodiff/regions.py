"""What the derivative of a body is: a part that runs with the body and keeps residuals, and one that reads them.

    split = Split(body, differentiable inputs, cotangents of the outputs, sweep)
    split.kept        values of the body that the derivative reads and that only the body's run knows
    split.backward(stands)   the cotangents, rebuilt on what stands for residuals, inputs and arriving cotangents

Residuals are what the derivative reads, less what costs nothing to make again (constants, broadcasts, views) and what
depends on given inputs alone, as loop-invariant operands are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ...ir.graph import Graph, Node, Value, make
from .reach import between

__all__ = ["Split", "Sweep", "cloned"]

Sweep = Callable[
    [Sequence[Node], Sequence[Value], Sequence["Value | None"], Sequence[Value]], list["Value | None"]
]
"""The engine's reverse sweep: nodes, heads, their cotangents, and by what."""

CHEAP = frozenset(("constant", "iota", "broadcast_in_dim", "reshape", "permute"))
"""Ops that are no work: their results are made again from what they read."""


class Split:
    """The derivative of a body by some of its inputs.

    Args:
        body:  a region
        by:    inputs that it is taken by
        seeds: a leaf for the cotangent of each output, None for none
        sweep: the engine's
        fixed: inputs that are the same whenever the body runs; what depends on them alone is made again
    """

    def __init__(
        self,
        body: Graph,
        by: Sequence[Value],
        seeds: Sequence[Value | None],
        sweep: Sweep,
        fixed: Iterable[Value] = (),
    ) -> None:
        self.body = body
        found = sweep(body.nodes, body.outputs, seeds, by)
        self.cotangents: dict[Value, Value | None] = dict(zip(by, found, strict=True))
        primal = {*body.inputs, *(r for n in body.nodes for r in n.results)}
        heads = [g for g in found if g is not None]
        self.nodes = between(heads, primal)
        read = [o for n in self.nodes for o in n.operands] + heads
        wanted = dict.fromkeys(v for v in read if v in primal)
        self.again, self.kept = _again(body, wanted, set(fixed))
        leaves = [v for v in wanted if v.node is None]
        leaves += [o for n in self.again for o in n.operands if o.node is None]
        self.inputs = list(dict.fromkeys(v for v in leaves if v.entry is None))
        """Inputs of the body that the derivative reads."""

    def backward(self, stands: Mapping[Value, Value]) -> dict[Value, Value]:
        """The cotangents that there are, by the input they belong to.

        Args:
            stands: a value for each of `kept` and `inputs` and each seed
        """
        mapping = cloned((*self.again, *self.nodes), stands)
        return {v: mapping.get(g, g) for v, g in self.cotangents.items() if g is not None}


def _again(body: Graph, wanted: Mapping[Value, None], fixed: set[Value]) -> tuple[list[Node], list[Value]]:
    """Nodes whose results are made again, in order, and values that have to be kept."""
    same = set(fixed)
    for node in body.nodes:
        if all(o in same for o in node.operands):
            same.update(node.results)
    needed = dict(wanted)
    again: list[Node] = []
    for node in reversed(body.nodes):
        asked = [r for r in node.results if r in needed]
        if asked and (node.op.mnemonic in CHEAP or node.results[0] in same):
            again.append(node)
            needed.update(dict.fromkeys(node.operands))
            for r in asked:
                del needed[r]
    return again[::-1], [v for v in needed if v.node is not None]


def cloned(nodes: Iterable[Node], stands: Mapping[Value, Value]) -> dict[Value, Value]:
    """The nodes again on other values; what stands for every value then."""
    mapping = dict(stands)
    for node in nodes:
        results = make(
            node.op,
            *(mapping.get(o, o) for o in node.operands),
            regions=node.regions,
            names=[r.name for r in node.results],
            origins=node.origins,
        )
        mapping.update(zip(node.results, results, strict=True))
    return mapping
