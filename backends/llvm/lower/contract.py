"""dot_general and conv as one contraction statement: sum over k of a(m, k) * b(k, n), then the tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....ir.dims import Dim, bounds, product
from ....ir.graph import Node
from ....ir.ops.common import accumulator
from ....ir.ops.contract import DotGeneral
from ....ir.ops.window import Conv
from ....ir.types import f32, f64, i64
from .. import kernel_ir as k
from ..dot_schedule import DotSchedule
from .blocked import in_layout
from .control import by_size
from .conv import direct
from .conv_across import across
from .conv_plan import ConvPlan, plan_conv
from .conv_weights import conv_weights
from .depthwise import depthwise
from .depthwise_rows import depthwise_rows, serves_rows
from .dot import Operand, dot_rows
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope
from .panels import panels_of
from .pull import Index, Pull
from .weights_plan import plan_weights
from .winograd import winograd
from .winograd_weights import winograd_weights

__all__ = ["convolution", "dot_general", "product_of"]

ZERO = k.const(0, i64)
_KINDS = {"direct": direct, "across": across, "winograd": winograd, "depthwise": depthwise}


def dot_general(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """One kernel for a product and its tail."""
    product_of(lowering, node, tails)


def product_of(lowering: Lowering, node: Node, tails: Sequence[Tail], parts: int = 1) -> bool:
    """The second operand's last free axis is n, the unit stride of the result; where it has none, the roles swap.

    With `parts`, equal blocks of the result's columns, the tails are as wide as a block and are read at a column of all of
    them; False, and nothing is written, where that is not possible.
    """
    op = node.op
    assert isinstance(op, DotGeneral)
    x, y = node.operands
    free_x, free_y = op.free_axes(x.type.rank, y.type.rank)
    scope = KernelScope()
    pull = lowering.pull(scope)
    batch = [k.LoopDim(k.Var(f"b{i}"), x.type.shape[a]) for i, a in enumerate(op.lhs_batch)]
    depth = [k.LoopDim(k.Var(f"k{i}"), x.type.shape[a]) for i, a in enumerate(op.lhs_contract)]
    left = [k.LoopDim(k.Var(f"m{i}"), x.type.shape[a]) for i, a in enumerate(free_x)]
    right = [k.LoopDim(k.Var(f"n{i}"), y.type.shape[a]) for i, a in enumerate(free_y)]
    at_x = _place(x.type.rank, (op.lhs_batch, batch), (op.lhs_contract, depth), (free_x, left))
    at_y = _place(y.type.rank, (op.rhs_batch, batch), (op.rhs_contract, depth), (free_y, right))
    index = tuple(d.var for d in (*batch, *left, *right))
    acc = accumulator(x.type.dtype, op.acc)
    if not batch and len(right) == 1 and depth and acc in (f32, f64) and parts == 1:
        sides = Operand(x, left, at_x), Operand(y, right, at_y)
        found = dot_rows(lowering, scope, pull, *sides, depth, acc, node.origins)
        if found is not None:
            rows, column, a, b, schedule = found
            place = (lowering, scope, pull, node, tails, index)
            _contract(*place, (), rows, column, depth, a, b, schedule=schedule)
            return True
    if not batch and len(right) == 1 and depth and acc in (f32, f64):
        if parts > 1:
            right[0] = k.LoopDim(right[0].var, tails[0].value.type.shape[-1])
        packed = panels_of(lowering, scope, node, y, acc, depth, right[0], at_y, parts)
        if packed is not None:
            a = pull.read(x, at_x).cast(acc)
            _contract(lowering, scope, pull, node, tails, index, (), left, right[0], depth, a, packed, parts)
            return True
    if parts > 1:
        return False
    a, b = pull.read(x, at_x).cast(acc), pull.read(y, at_y).cast(acc)
    if not depth and (left or right):
        depth = [k.LoopDim(k.Var("k"), 1)]
    if right:
        rows, column, around = left, right[-1], right[:-1]
    elif left:
        rows, column, around = right, left[-1], left[:-1]
        a, b = b, a
    else:
        if len(tails) > 1:
            return False
        _inner_product(lowering, scope, pull, node, tails, batch, depth, a * b)
        return True
    _contract(lowering, scope, pull, node, tails, index, (*batch, *around), rows, column, depth, a, b)
    return True


def _inner_product(
    lowering: Lowering,
    scope: KernelScope,
    pull: Pull,
    node: Node,
    tails: Sequence[Tail],
    batch: Sequence[k.LoopDim],
    depth: Sequence[k.LoopDim],
    product_: k.Expr,
) -> None:
    """Nothing is free: a sum of products for each index of the batch."""
    (tail,) = tails
    index = tuple(d.var for d in batch)
    total = k.Var("acc", product_.dtype)
    reduce = k.reduction("add", total, depth, product_) if depth else k.Let(total, product_)
    pull.give(node.results[0], index, total.cast(node.results[0].type.dtype))
    store = scope.output(tail.memory, tail.value.type.shape).store(index, pull.read(tail.value, index))
    statements = nest([reduce, store], [(d.var, d.extent) for d in batch])
    lowering.launch(scope, node.op.mnemonic, statements, node.origins)


def _place(rank: int, *groups: tuple[Sequence[int], Sequence[k.LoopDim]]) -> Index:
    at: list[k.Expr] = [ZERO] * rank
    for axes, dims in groups:
        for axis, dim in zip(axes, dims, strict=True):
            at[axis] = dim.var
    return tuple(at)


def convolution(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """Over blocks of channels where that serves; else as a product of matrices: m is the output channel of a group, n the
    output pixel, k the input channel and the place in the window."""
    op = node.op
    assert isinstance(op, Conv)
    weights = plan_weights(node, lowering.target, lowering.resolve)
    if weights is not None:
        (conv_weights if weights.share is None else winograd_weights)(lowering, node, tails, weights)
        return
    plan = plan_conv(node, lowering.target)
    source = lowering.memory_of(node.operands[0])
    plain = source is not None and source.layout is None and tails[0].memory.layout is None
    if plan is not None and plain and plan.kind == "depthwise" and serves_rows(node):
        depthwise_rows(lowering, node, tails)
        return
    if plan is not None and not (plain and _is_product(node)):
        _by_plan(lowering, node, tails, plan)
        return
    x, w = node.operands
    result = node.results[0]
    spatial = len(op.strides)
    scope = KernelScope()
    pull = lowering.pull(scope)
    out_channels = result.type.shape[1]
    assert isinstance(out_channels, int)
    each = out_channels // op.groups
    image = k.LoopDim(k.Var("b"), x.type.shape[0])
    group = k.LoopDim(k.Var("g"), op.groups)
    row = k.LoopDim(k.Var("m"), each)
    pixels = result.type.shape[2:]
    column = k.LoopDim(k.Var("n"), product(pixels))
    depth = [k.LoopDim(k.Var(f"k{i}"), w.type.shape[i + 1]) for i in range(spatial + 1)]
    at_pixel = pull.reshaped((column.var,), (column.extent,), pixels)  # type: ignore[arg-type]
    if spatial > 1:
        pull.flatten(at_pixel, pixels, column.var)
    tests: list[k.Expr] = []
    place: list[k.Expr] = []
    for i in range(spatial):
        low, high = op.padding[i]
        step, dilation = op.strides[i], op.rhs_dilation[i]
        window = pull.affine(depth[i + 1].var, dilation, 0)
        corner = pull.affine(at_pixel[i], step, 0)
        at = corner + window if w.type.shape[i + 2] != 1 else corner
        source, inside = pull.unpad(at, low, high, op.lhs_dilation[i] - 1, x.type.shape[i + 2])
        place.append(source)
        tests += inside
    many = op.groups > 1
    in_each = w.type.shape[1]
    channel = group.var * k.as_index(in_each) + depth[0].var if many else depth[0].var
    out = group.var * each + row.var if many else row.var
    acc = accumulator(x.type.dtype, None)
    a = pull.read(w, (out, *(d.var for d in depth))).cast(acc)
    inside = pull.all_of(tests)
    b = pull.read(x, (image.var, channel, *place), inside)
    if inside is not None and not isinstance(b, k.Load):
        b = k.select(inside, b, k.zero(b.dtype))  # only a load is 0 outside by itself; a splat is not
    b = b.cast(acc)
    index = (image.var, out, *at_pixel)
    batch = (image, group) if many else (image,)
    _contract(lowering, scope, pull, node, tails, index, batch, [row], column, depth, a, b)


def _by_plan(lowering: Lowering, node: Node, tails: Sequence[Tail], plan: ConvPlan) -> None:
    """Over blocks of channels; where open sizes decide between two kernels, by both, of which each call runs one."""
    if isinstance(plan.pays, int) or lowering.loops:  # threads share a loop's kernels, not its branches
        _KINDS[plan.kind](lowering, node, tails, plan)
        return
    assert isinstance(node.op, Conv)
    in_layout(
        lowering, node.operands[0], plan.in_block, plan.halo
    )  # a copy is made once, for both and other readers
    few = replace(plan, kind="direct", halo=node.op.padding)
    by_size(
        lowering,
        plan.pays,
        lambda: winograd(lowering, node, tails, plan),
        lambda: direct(lowering, node, tails, few),
    )


def _is_product(node: Node) -> bool:
    """Whether a convolution is weights times image as both lie: turning plain memory into blocks and back gains nothing then."""
    op, w = node.op, node.operands[1]
    assert isinstance(op, Conv)
    if not all(d == 1 for d in w.type.shape[2:]) or {*op.strides, *op.lhs_dilation} != {1}:
        return False
    image, result = (product(v.type.shape[1:]) for v in (node.operands[0], node.results[0]))
    few_weights = (
        bounds(image + result - w.type.size)[0] >= 0
    )  # they are read as they lie, by few places each
    return few_weights and op.groups == 1 and not any(low or high for low, high in op.padding)


def _contract(
    lowering: Lowering,
    scope: KernelScope,
    pull: Pull,
    node: Node,
    tails: Sequence[Tail],
    index: Index,
    batch: Sequence[k.LoopDim],
    rows: Sequence[k.LoopDim],
    column: k.LoopDim,
    depth: Sequence[k.LoopDim],
    a: k.Expr,
    b: k.Expr | k.Packed,
    parts: int = 1,
    schedule: DotSchedule | None = None,
) -> None:
    """The kernel: the statement with its tails as epilogue, which sees a column of each of `parts` blocks."""
    result = node.results[0]
    sums = [k.Var("acc", a.dtype) for _ in range(parts)]
    width = column.extent
    assert not isinstance(width, k.Expr)
    for g, v in enumerate(sums):
        column_of = pull.affine(index[-1], 1, g * width) if g else index[-1]
        pull.give(result, (*index[:-1], column_of), v.cast(result.type.dtype))
    if len(tails) == 1 and not tails[0].more:
        epilogue: list[k.Stmt] = [store_at(pull, scope, tails[0], index, pull.read(tails[0].value, index))]
    else:  # all that is read is read before anything is written: a result may lie where an operand does
        held = [k.Var(f"r{n}", t.value.type.dtype) for n, t in enumerate(tails)]
        epilogue = [k.Let(v, pull.read(t.value, index)) for v, t in zip(held, tails, strict=True)]
        for v, t in zip(held, tails, strict=True):
            epilogue.append(store_at(pull, scope, t, index, v))
            epilogue += [scope.output(m, t.value.type.shape).store(index, v) for m in t.more]
    statement = k.Contract(
        tuple(rows),
        column,
        tuple(depth),
        a,
        b,
        sums[0],
        tuple(epilogue),
        tuple(batch),
        parallel=True,
        parts=tuple(sums[1:]),
        schedule=schedule,
    )
    lowering.launch(scope, node.op.mnemonic, [statement], node.origins)


def store_at(pull: Pull, scope: KernelScope, tail: Tail, index: Index, element: k.Expr) -> k.Store:
    """The store of a tail, flat over the axes that the index has combined."""
    shape: tuple[Dim, ...] = tail.value.type.shape
    for group, (axes, combined) in pull.flat.items():
        kept = len(index) - len(group)
        if kept >= 0 and index[kept:] == group and shape[kept:] == axes:
            buffer = scope.output(tail.memory, (*shape[:kept], product(axes)))
            return buffer.store((*index[:kept], combined), element)
    return scope.output(tail.memory, shape).store(index, element)
