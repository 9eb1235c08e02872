"""A node over many steps at once: the same op with a further axis in front, where it has such a form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Node, Value, make
from ..ir.op import Op
from ..ir.ops.contract import DotGeneral
from ..ir.ops.cumulative import Cumulative
from ..ir.ops.index import Gather
from ..ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from ..ir.ops.nn import Linear, LogSoftmax, Softmax
from ..ir.ops.reduce import ArgReduce, Reduction
from ..ir.origin import origins_of
from .rules.base import ELEMENTWISE

__all__ = ["Stacks", "at_all_steps", "batches", "over_steps", "repeated"]

Form = Callable[[Node, Sequence[Value], Sequence[bool], Dim], Value]
"""Node, new operands, which of them have the further axis (one at least), its length: the result, with the axis."""


def over_steps(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    """The node's result at every step, along a new axis 0; see `batches` for which nodes have one.

    Args:
        operands: those with all steps in front, and those that are the same at each
        moved:    which are which
    """
    form = _form(node.op)
    assert form is not None, node
    return form(node, operands, moved, length)


def batches(node: Node, moved: Sequence[bool]) -> bool:
    """Whether the node has a form over many steps, given which operands change from step to step."""
    if len(node.results) != 1 or node.regions or not any(moved):
        return False
    op = node.op
    if isinstance(op, Linear):
        return not any(moved[1:])
    if isinstance(op, Gather):
        return op.axis == 0 and not moved[0]
    if isinstance(op, Pad):
        return not moved[1]
    return _form(op) is not None


def repeated(value: Value, length: Dim) -> Value:
    """The value at each of `length` steps."""
    shape = value.type.shape
    return b.broadcast_in_dim(value, (length, *shape), tuple(range(1, len(shape) + 1)))


def _form(op: Op) -> Form | None:
    if isinstance(op, ELEMENTWISE):
        return _elementwise
    return next((form for kind, form in _FORMS if isinstance(op, kind)), None)


def _elementwise(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    given = [x if m else repeated(x, length) for x, m in zip(operands, moved, strict=True)]
    return make(node.op, *given)[0]


def _up(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(k + 1 for k in axes)


def _reduction(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, Reduction)
    return make(replace(node.op, axes=_up(node.op.axes)), *operands)[0]


def _along_axis(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    op = node.op
    assert isinstance(op, (ArgReduce, Softmax, LogSoftmax, Cumulative))
    rank = operands[0].type.rank - 1
    return make(replace(op, axis=op.axis % rank + 1), *operands)[0]


def _concat(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, Concat)
    given = [x if m else repeated(x, length) for x, m in zip(operands, moved, strict=True)]
    return make(Concat(node.op.axis + 1), *given)[0]


def _broadcast(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, BroadcastInDim)
    return make(BroadcastInDim((length, *node.op.shape), (0, *_up(node.op.axes))), *operands)[0]


def _reshape(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, Reshape)
    return make(Reshape((length, *node.op.shape)), *operands)[0]


def _permute(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, Permute)
    return make(Permute((0, *_up(node.op.axes))), *operands)[0]


def _reverse(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    assert isinstance(node.op, Reverse)
    return make(Reverse(_up(node.op.axes)), *operands)[0]


def _slice(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    op = node.op
    assert isinstance(op, Slice)
    return make(Slice((0, *op.starts), (length, *op.limits), (1, *op.strides)), *operands)[0]


def _pad(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    op = node.op
    assert isinstance(op, Pad)
    return make(Pad((0, *op.low), (0, *op.high), (0, *op.interior)), *operands)[0]


def _same(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    return make(node.op, *operands)[0]


def _dot(node: Node, operands: Sequence[Value], moved: Sequence[bool], length: Dim) -> Value:
    """Steps are rows of one large product where one operand stays, else a further batch axis."""
    op = node.op
    assert isinstance(op, DotGeneral)
    x, y = operands
    up_x, up_y = (_up if m else tuple for m in moved)
    form = replace(
        op,
        lhs_contract=up_x(op.lhs_contract), rhs_contract=up_y(op.rhs_contract),
        lhs_batch=up_x(op.lhs_batch), rhs_batch=up_y(op.rhs_batch),
    )  # fmt: skip
    if all(moved):
        form = replace(form, lhs_batch=(0, *form.lhs_batch), rhs_batch=(0, *form.rhs_batch))
        return make(form, x, y)[0]
    found = make(form, x, y)[0]
    # the result is [batch, x's free axes, y's free axes]; the steps are the first free axis of the one that moved
    at = len(op.lhs_batch)
    if moved[1]:
        at += len(form.free_axes(x.type.rank, y.type.rank)[0])
    rank = found.type.rank
    return found if not at else b.permute(found, (at, *(k for k in range(rank) if k != at)))


_FORMS: tuple[tuple[type[Op] | tuple[type[Op], ...], Form], ...] = (
    (Reduction, _reduction),
    ((ArgReduce, Softmax, LogSoftmax, Cumulative), _along_axis),
    (Concat, _concat),
    (BroadcastInDim, _broadcast),
    (Reshape, _reshape),
    (Permute, _permute),
    (Reverse, _reverse),
    (Slice, _slice),
    (Pad, _pad),
    ((Linear, Gather), _same),
    (DotGeneral, _dot),
)


Stacks = dict[Value, tuple[Value, bool]]
"""For a body's value the outer one, and whether it has all steps in front or is the same at each."""


def at_all_steps(nodes: Iterable[Node], known: Stacks, length: Dim) -> Stacks:
    """The nodes outside of their loop: once where nothing changes from step to step, else at all steps at once."""
    found = dict(known)
    for node in nodes:
        operands = [found[o][0] for o in node.operands]
        moved = [found[o][1] for o in node.operands]
        with origins_of(node.origins):
            if any(moved):
                results = [over_steps(node, operands, moved, length)]
            else:
                names = [r.name for r in node.results]
                results = list(make(node.op, *operands, regions=node.regions, names=names))
        for old, new in zip(node.results, results, strict=True):
            new.name = new.name or old.name
            found[old] = (new, any(moved))
    return found
