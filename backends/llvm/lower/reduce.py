"""Reductions: loops over what stays, a `reduce` over what vanishes, then the tail."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim, bounds, ceildiv, product
from ....ir.graph import Node
from ....ir.ops.reduce import Accumulation, ArgReduce, Reduction
from ....ir.types import DType, i64
from .. import kernel_ir as k
from ..extents import rest_of
from ..layout import Layout
from .blocked import Blocks, layout_of
from .loops import nest
from .lowering import Lowering, Tail
from .map_loops import uses_any
from .memory import KernelScope
from .pull import Pull

__all__ = ["arg_reduction", "reduction"]

WIDTH = 256
"""Columns that are reduced together: a row of partial results in the first cache."""
MANY = 32
"""Rows from which on that pays."""

MONOIDS: dict[str, str] = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_any": "or",
    "reduce_all": "and",
}


def reduction(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """One of the six reductions, with its tail."""
    op = node.op
    assert isinstance(op, Reduction)
    (tail,) = tails
    x, dtype = node.operands[0], node.results[0].type.dtype
    acc = op.accumulator(dtype) if isinstance(op, Accumulation) else dtype
    layout = layout_of(lowering, x)
    if layout is not None and layout.block > 1 and min(op.axes) >= 2:
        _over_blocks(lowering, node, tail, layout, acc)
        return
    for merged in (True, False):
        scope = KernelScope()
        pull = lowering.pull(scope)
        space = Space(pull, x.type.shape, op.axes, merged)
        element = pull.read(x, space.index)
        if not merged or not uses_any(element, space.parts):
            break
    result = k.Var("r", acc)
    name = MONOIDS[op.mnemonic]
    reduce = k.Reduce((result,), k.monoid(name, acc), space.dims, (element.cast(acc),))  # type: ignore[arg-type]
    pull.give(node.results[0], space.kept, result.cast(dtype))
    stored = pull.read(tail.value, space.kept)
    store = scope.output(tail.memory, tail.value.type.shape).store(space.kept, stored)
    if space.wide and acc.is_float and acc.bits > 16:
        row = k.Buffer("sums", acc, (WIDTH,), align=64)
        lowering.launch(scope, op.mnemonic, _down(space, reduce, store, row), node.origins, (row,))
        return
    lowering.launch(scope, op.mnemonic, space.around([reduce, store]), node.origins)


def _over_blocks(lowering: Lowering, node: Node, tail: Tail, layout: Layout, acc: DType) -> None:
    """Places of a value in blocks: a channel a lane."""
    op, x, dtype = node.op, node.operands[0], node.results[0].type.dtype
    assert isinstance(op, Reduction)
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    blocks = Blocks(pull, layout, x.type.shape)
    loops = list(zip((blocks.image, blocks.block, *blocks.places), blocks.extents, strict=True))
    dims = [k.LoopDim(*loops[axis]) for axis in op.axes]
    result = k.Var("r", acc)
    element = pull.read(x, blocks.index, blocks.inside).cast(acc)
    reduce = k.Reduce((result,), k.monoid(MONOIDS[op.mnemonic], acc), tuple(dims), (element,))  # type: ignore[arg-type]
    kept = tuple(i for axis, i in enumerate(blocks.index) if axis not in op.axes)
    pull.give(node.results[0], kept, result.cast(dtype))
    stored = pull.read(tail.value, kept, blocks.inside)
    store = scope.output(tail.memory, tail.value.type.shape).store(kept, stored, blocks.inside)
    around = [loop for axis, loop in enumerate(loops) if axis not in op.axes]
    body = nest([reduce, store], [*around, (blocks.lane, layout.block)], vector=True)
    lowering.launch(scope, op.mnemonic, body, node.origins)


def _down(space: Space, reduce: k.Reduce, store: k.Store, row: k.Buffer) -> list[k.Stmt]:
    """Row by row into a row of partial results instead of one column after another: the same sums in the same order, and
    memory is read in long stretches."""
    (result,), (value,), monoid = reduce.results, reduce.values, reduce.monoid
    block, lane = k.Var("block"), k.Var("j")
    column, width = _var(space.index[-1]), space.shape[-1]
    at: k.Stmt = k.Let(column, block * WIDTH + lane)
    some = rest_of(width, block * WIDTH, WIDTH)
    clear = k.For(lane, some, (row.store((lane,), monoid.identity[0]),), "vector")
    left, right = monoid.left[0], monoid.right[0]
    step = (at, k.Let(left, row[lane]), k.Let(right, value), row.store((lane,), monoid.result[0]))
    fold: k.Stmt = k.For(lane, some, step, "vector")
    for dim in reversed(reduce.dims):
        fold = k.For(dim.var, dim.extent, (fold,))
    last = k.For(lane, some, (at, k.Let(result, row[lane]), store), "vector")
    around = [(_var(space.index[a]), space.shape[a]) for a in space.kept_axes[:-1]]
    return nest([clear, fold, last], [*around, (block, ceildiv(width, WIDTH))])


def arg_reduction(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """The position of an extreme."""
    op = node.op
    assert isinstance(op, ArgReduce)
    (tail,) = tails
    x = node.operands[0]
    scope = KernelScope()
    pull = lowering.pull(scope)
    space = Space(pull, x.type.shape, (op.axis,), merged=False)
    element = pull.read(x, space.index)
    best, where = k.Var("best", element.dtype), k.Var("where", i64)
    monoid = k.argmax(element.dtype) if op.mnemonic == "argmax" else k.argmin(element.dtype)
    reduce = k.Reduce((best, where), monoid, space.dims, (element, space.dims[0].var))
    store = scope.output(tail.memory, tail.value.type.shape).store(space.kept, where)
    lowering.launch(scope, op.mnemonic, space.around([reduce, store]), node.origins)


class Space:
    """The loops of a reduction: a variable for each kept axis, and reduced dims.

    Args:
        merged: whether neighbouring reduced axes at the end count as one dim, which is then long and of unit stride
    """

    def __init__(self, pull: Pull, shape: Sequence[Dim], axes: Sequence[int], merged: bool) -> None:
        self.shape = tuple(shape)
        self.axes = tuple(axes)
        self.vectorise = bool(shape) and len(shape) - 1 not in axes
        index: list[k.Expr] = [k.Var(f"{'r' if a in axes else 'i'}{a}") for a in range(len(shape))]
        self.parts: set[k.Expr] = set()
        last = len(shape)
        while last - 1 in axes:
            last -= 1
        tail = list(range(last, len(shape)))
        dims = [k.LoopDim(_var(index[a]), shape[a]) for a in axes if a < last or not merged or len(tail) < 2]
        if merged and len(tail) > 1:
            combined = k.Var("r")
            extents = tuple(shape[a] for a in tail)
            split = pull.reshaped((combined,), (product(extents),), extents)
            index[last:] = split
            self.parts = set(split) - {combined}
            pull.flatten(split, extents, combined)
            dims.append(k.LoopDim(combined, product(extents)))
        self.dims = tuple(dims)
        self.index = tuple(index)
        self.kept = tuple(i for a, i in enumerate(index) if a not in self.axes)

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        """The body inside loops over the kept axes; the last is a vector loop where x's last axis is kept."""
        loops = [(_var(self.index[a]), self.shape[a]) for a in self.kept_axes]
        return nest(body, loops, vector=self.vectorise)

    @property
    def kept_axes(self) -> list[int]:
        return [a for a in range(len(self.shape)) if a not in self.axes]

    @property
    def wide(self) -> bool:
        """Whether rows are long, and so many that one element of each is an element of many pages."""
        reduced = product(tuple(self.shape[a] for a in self.axes))
        width = self.shape[-1] if self.vectorise else 0
        return isinstance(width, int) and width >= WIDTH // 2 and bounds(reduced)[1] >= MANY


def _var(index: k.Expr) -> k.Var:
    assert isinstance(index, k.Var)
    return index
