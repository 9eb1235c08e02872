"""A `fuse` region with several results as one kernel: sums of one product, or maps of one shape, and a store for each result.

Behind a product whose result is cut into blocks of columns, the gates of a recurrent cell, the tile of each block is
computed before the epilogue, which sees one column of all of them. What does not fit here becomes a kernel a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....ir.graph import Graph, Node, Value
from ....ir.ops.contract import DotGeneral
from ....ir.ops.move import Concat
from ....passes.fuse_several import blocks_of
from .. import kernel_ir as k
from .elementwise import ELEMENTWISE
from .map_loops import longest_loops
from .memory import Tail
from .pull import MAPS
from .softmax import softmax

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["one_kernel"]


def one_kernel(lowering: Lowering, node: Node, body: Graph) -> None:
    """Compute all results of a region by one kernel, where it is more than a barrier and its tail and has such a form."""
    if len(body.outputs) > 1 or node.results[0] in lowering.also:
        several(lowering, node, body)
    else:
        softmax(lowering, node, body)


def several(lowering: Lowering, node: Node, body: Graph) -> None:
    """Compute all results of a region by one kernel; nothing is written where that is not possible."""
    pairs = list(zip(node.results, body.outputs, strict=True))
    tails = [Tail(o, lowering.new_memory(o), lowering.also.get(r, ())) for r, o in pairs]
    lowering.storing = tuple(t.value for t in tails)
    if any(t.memory.layout is not None for t in tails) or not _written(lowering, node, body, tails):
        return
    lowering.memory.update((t.value, t.memory) for t in tails)
    for result in node.results:
        lowering.copied.update((result, m) for m in lowering.also.pop(result, ()))


def _written(lowering: Lowering, node: Node, body: Graph, tails: Sequence[Tail]) -> bool:
    from .contract import product_of

    roots = [n for n in body.nodes if isinstance(n.op, DotGeneral)]
    others = [n for n in body.nodes if n.op.mnemonic not in MAPS]
    if not others:
        return _maps(lowering, node, tails)
    if others != roots or len(roots) > 1:
        return False
    (root,) = roots
    blocks = _blocks_behind(root, body)
    shape, parts = root.results[0].type.shape, 1
    if blocks:
        total, width = shape[-1], blocks[0].results[0].type.shape[-1]
        assert isinstance(total, int) and isinstance(width, int)
        shape, parts = (*shape[:-1], width), total // width
    if any(t.value.type.shape != shape for t in tails):
        return False
    return product_of(lowering, root, tails, parts)


def _blocks_behind(root: Node, body: Graph) -> list[Node]:
    """The slices that cut a product, or what is behind it place by place, into blocks of columns."""
    uses = body.uses()
    tip = root.results[0]
    while True:
        blocks = blocks_of(tip, uses.get(tip, ()))
        if blocks:
            return blocks
        users = uses.get(tip, [])
        first = users[0] if users else None
        if first is None or any(u is not first for u in users) or first.op.mnemonic not in ELEMENTWISE:
            return []
        tip = first.results[0]


def _maps(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> bool:
    """One loop nest for maps of one shape, and for concats of such along the last axis, stored piece by piece."""
    pieces: list[tuple[Tail, list[Value]]] = []
    for tail in tails:
        maker = tail.value.node
        joins = maker is not None and isinstance(maker.op, Concat)
        pieces.append((tail, list(maker.operands) if maker is not None and joins else [tail.value]))
    shape = pieces[0][1][0].type.shape
    if not shape or any(v.type.shape != shape for _, values in pieces for v in values):
        return False
    width = shape[-1]
    joined = any(len(values) > 1 for _, values in pieces)
    scope, loops, found = longest_loops(
        lowering, [v for _, values in pieces for v in values], shape, column=joined
    )
    rest = iter(found)
    elements = [[next(rest) for _ in values] for _, values in pieces]
    # all that is read is read before anything is written: a result may lie where an operand does
    held = [[k.Var(f"r{n}_{m}", e.dtype) for m, e in enumerate(each)] for n, each in enumerate(elements)]
    body: list[k.Stmt] = [
        k.Let(v, e) for vs, es in zip(held, elements, strict=True) for v, e in zip(vs, es, strict=True)
    ]
    for (tail, values), each in zip(pieces, held, strict=True):
        *rows, column = loops.vars
        for memory in (tail.memory, *tail.more):
            target = scope.output(memory, [*loops.extents[:-1], loops.extents[-1] * len(values)])
            body += [
                target.store((*rows, column + width * n if n else column), v) for n, v in enumerate(each)
            ]
    lowering.launch(scope, "maps", loops.around(body), node.origins)
    return True
