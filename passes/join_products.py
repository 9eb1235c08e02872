"""Take a product over all steps back into its loop, where its result would only travel through memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import bounds
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.ops.contract import DotGeneral
from ..ir.ops.control import Scan
from ..ir.ops.elementwise import Add
from ..ir.ops.move import BroadcastInDim
from ..ir.origin import origins_of
from ..ir.types import f32
from .base import Pass, Remarks
from .scan_form import ScanForm

__all__ = ["JoinProducts"]

PEAK, NEAR, FAR, MEMORY = 270.0, 230.0, 127.0, 51.0
"""A core that the costs are of: operations on f32, and bytes from its second and third cache and from memory, a nanosecond."""
HIDDEN = 8
"""How many times as long it may take to read weights from beyond the second cache before a product waits for that."""
ROWS = 16
"""Rows of a step from which on a product's time is its arithmetic, wherever its weights lie."""
DEPTH = 1024
"""The longest sum that a product adds up in registers."""
WORTH = 0.03
"""The least part of a step's time that makes it worth another form."""


@dataclass(frozen=True)
class JoinProducts(Pass):
    """x[t] W + h R = [x[t], h] [W, R] in a scan, where x W was computed for all steps in front of it. Reassociates.

    The recurrent layer's form has the inputs' part as one product in front: best for few rows, since it reads W once. With many
    rows arithmetic takes all the time, and what the product in front writes for all steps comes back from memory. It is
    taken in where that saves 3 % of a step and its result exceeds the second cache.

    Args:
        near: bytes that the second cache holds
        far:  bytes beyond which a result of all steps goes to memory and comes back
    """

    name: ClassVar[str] = "join-products"
    near: int = 1 << 20
    far: int = 6 << 20

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        uses = {value: len(users) for value, users in graph.uses().items()}

        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            return _joined(node, operands, uses, self, remarks) if isinstance(node.op, Scan) else None

        return rebuild(graph, rewrite)


@dataclass(frozen=True)
class _Front:
    """x [T, N, K] times w, with or without a bias [G]."""

    x: Value
    w: Value
    axis: int
    bias: Value | None

    @staticmethod
    def of(value: Value) -> _Front | None:
        node, bias = value.node, None
        if node is not None and isinstance(node.op, Add):
            for one, other in (node.operands, node.operands[::-1]):
                spread = other.node
                if spread is not None and isinstance(spread.op, BroadcastInDim) and spread.op.axes == (2,):
                    node, bias = one.node, spread.operands[0]
                    break
        if node is None or not isinstance(node.op, DotGeneral):
            return None
        axis = _plain(node, 3)
        x, w = node.operands
        return None if axis is None else _Front(x, w, axis, bias)


def _plain(node: Node, rank: int) -> int | None:
    """The axis of w that a product x w of f32 sums over; None where it has another form."""
    op, (x, w) = node.op, node.operands
    assert isinstance(op, DotGeneral)
    plain = not op.lhs_batch and op.lhs_contract == (rank - 1,) and len(op.rhs_contract) == 1
    if (
        not plain
        or x.type.rank != rank
        or w.type.rank != 2
        or x.type.dtype != f32
        or op.acc not in (None, f32)
    ):
        return None
    return op.rhs_contract[0]


def _joined(
    node: Node, operands: Sequence[Value], uses: dict[Value, int], given: JoinProducts, remarks: Remarks
) -> list[Value] | None:
    """The scan's results with every product in front taken in that should be; None where none is."""
    form = ScanForm.of(node, operands)
    changed = False
    for row, old in zip(list(form.xs), list(form.rows), strict=True):
        front = _Front.of(old)
        before = node.operands[len(form.carries) + form.xs.index(row)]
        if front is None or uses.get(before, 0) != 1:
            continue
        found = _met(form, row)
        if found is None or not _pays(form, front, found[1], given, remarks):
            continue
        if not remarks.allow("join-products"):
            break
        _take_in(form, row, front, *found)
        changed = True
    if not changed:
        return None
    carries, ys = form.make([r.name for r in node.results])
    return [*carries, *ys]


def _met(form: ScanForm, row: Value) -> tuple[Node, Node] | None:
    """The sum of the row and a product with a matrix from outside, and that product, where nothing else reads either."""
    users: dict[Value, list[Node]] = {}
    for n in form.nodes:
        for operand in n.operands:
            users.setdefault(operand, []).append(n)
    if len(users.get(row, ())) != 1 or row in form.outputs:
        return None
    (sum_,) = users[row]
    if not isinstance(sum_.op, Add):
        return None
    (other,) = (o for o in sum_.operands if o is not row)
    dot = other.node
    if dot is None or not isinstance(dot.op, DotGeneral) or dot not in form.nodes:
        return None
    alone = len(users[other]) == 1 and other not in form.outputs
    return (sum_, dot) if alone and _plain(dot, 2) is not None and dot.operands[1] in form.consts else None


def _pays(form: ScanForm, front: _Front, dot: Node, given: JoinProducts, remarks: Remarks) -> bool:
    """Whether a step gains by it: nanoseconds on one core."""
    h, r = dot.operands
    read = sum(h in n.operands for n in form.nodes) + form.outputs.count(h)
    written_there = h in form.carries and read == 1  # beside what the next step puts next to it
    rows, depth, inner, columns = h.type.shape[0], h.type.shape[1], front.x.type.shape[2], r.type.size
    if not all(isinstance(d, int) for d in (rows, depth, inner)) or not isinstance(columns, int):
        return False
    assert isinstance(rows, int) and isinstance(depth, int) and isinstance(inner, int)
    if rows < ROWS or not depth or depth + inner > DEPTH:
        return False
    columns //= depth
    steps = bounds(form.op.length)[1]
    size = rows * columns * 4
    if steps * size <= given.near:
        return False
    through = FAR if steps * size <= given.far else MEMORY
    gain = 3 * size / through  # a write reads what it replaces
    copied = inner if written_there else depth + inner
    gain -= 2 * rows * copied * 4 / NEAR  # putting the rows side by side
    if (depth + inner) * columns * 4 > given.near:
        gain -= inner * columns * 4 / FAR / HIDDEN
    step = 2 * rows * columns * (depth + inner) / PEAK
    what = f"matmul of {inner} + {depth} by {columns} for {rows} rows"
    if gain < WORTH * step:
        remarks.note(f"join-products: {what}: refused: saves {gain:.0f} of {step:.0f} ns a step")
        return False
    remarks.note(f"join-products: {what}: one product in the loop, saves {gain:.0f} of {step:.0f} ns a step")
    return True


def _take_in(form: ScanForm, row: Value, front: _Front, sum_: Node, dot: Node) -> None:
    """Exchange the sum for one product of rows side by side."""
    h, r = dot.operands
    axis = _plain(dot, 2)
    assert axis is not None
    k = form.xs.index(row)
    inside = Value(front.x.type.with_shape(front.x.type.shape[1:]), name=front.x.name or "x")
    form.rows[k], form.xs[k] = front.x, inside
    outer = form.outer[form.consts.index(r)]
    with origins_of((*sum_.origins, *dot.origins)):
        w = front.w if front.axis == axis else b.permute(front.w, (1, 0))
        both = b.concat((w, outer), axis)
        weights = Value(both.type, name=r.name)
        form.outer.append(both)
        form.consts.append(weights)
        op = DotGeneral((1,), (axis,))
        total = make_one(op, b.concat((inside, h), 1), weights)
        if front.bias is not None:
            bias = Value(front.bias.type, name=front.bias.name or "bias")
            form.outer.append(front.bias)
            form.consts.append(bias)
            total = b.add(total, b.broadcast_in_dim(bias, total.type.shape, (1,)))
    form.exchange([n for n in form.nodes if n not in (sum_, dot)], {sum_.results[0]: total})
