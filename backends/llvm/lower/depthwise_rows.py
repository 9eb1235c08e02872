"""Depthwise convolution of plain memory into plain memory: lanes run along the rows of one channel.

A vector of neighbouring columns goes down the image. Each row that comes in is loaded once, shifted by each place of the
window, and used in the sums of all results that it belongs to; those that are not complete are carried to the next row. No copy
with a rim is made: columns outside are masked, rows outside are left out of the sums. It saves the turns into blocks and back as well,
which cost more than the convolution. What the next vector of columns will read is fetched meanwhile: the machine's own prefetch
does not see it coming, since lines of one column lie a row apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....ir.graph import Node
from ....ir.ops.window import Conv
from ....ir.types import f32
from .. import kernel_ir as k
from .loops import nest
from .lowering import Lowering, Tail
from .memory import KernelScope
from .pull import Pull

__all__ = ["depthwise_rows", "serves_rows"]

_LINE = 16
"""Columns of a line of memory."""
_EARLY = 4
"""Rows that the next vector of columns is fetched ahead."""
_FAR = 2048
"""Elements of a channel from which on that is done: smaller ones stay in the first cache."""

Sums = list["k.Expr | None"]
"""The sums of results that are not complete, the next one first; None where nothing has been added."""


@dataclass(frozen=True)
class _Rows:
    """Which rows of the image come in for which rows of results.

    Args:
        step, dilation, low: of the convolution's first axis
        window:  rows of the window
        size:    rows of the image
        results: rows of results
    """

    step: int
    dilation: int
    low: int
    window: int
    size: int
    results: int

    @property
    def reach(self) -> int:
        return (self.window - 1) * self.dilation

    @property
    def carried(self) -> int:
        """Results that have begun when one is complete."""
        return self.reach // self.step

    def taps(self, back: int) -> list[tuple[int, int]]:
        """The row that lies `back` rows before the last one of a result: which results after that one it belongs to, and
        as which row of the window."""
        places = ((ahead, self.reach - back - ahead * self.step) for ahead in range(self.carried + 1))
        return [(ahead, at // self.dilation) for ahead, at in places if at >= 0 and at % self.dilation == 0]

    @property
    def inner(self) -> tuple[int, int]:
        """The results whose new rows all lie within the image: the first, and behind the last."""
        first = max(0, -(-(self.step - 1 + self.low - self.reach) // self.step))
        behind = (self.size - 1 + self.low - self.reach) // self.step + 1
        return first, min(self.results, behind)


def serves_rows(node: Node) -> bool:
    """Whether the convolution is of this form: two axes of known size, rows of a vector and more, few rows at the rims."""
    op, (x, w) = node.op, node.operands
    assert isinstance(op, Conv)
    sizes = [d for d in (*x.type.shape[2:], *w.type.shape[2:]) if isinstance(d, int)]
    if len(sizes) != 4 or op.strides[1] > 2 or sizes[1] < 16 * op.strides[1]:
        return False
    rows = _rows(node)
    first, behind = rows.inner
    return rows.carried < 8 and behind - first >= 4 and first + rows.results - behind <= 8


def _rows(node: Node) -> _Rows:
    op, (x, w) = node.op, node.operands
    high, window, results = x.type.shape[2], w.type.shape[2], node.results[0].type.shape[2]
    assert isinstance(op, Conv) and isinstance(high, int) and isinstance(window, int)
    assert isinstance(results, int)
    return _Rows(op.strides[0], op.rhs_dilation[0], op.padding[0][0], window, high, results)


def depthwise_rows(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """For each image and channel: a vector of columns, and in it the rows."""
    op, (x, w), (tail,) = node.op, node.operands, tails
    assert isinstance(op, Conv)
    shape = node.results[0].type.shape
    wide, out_wide = x.type.shape[3], shape[3]
    window = [d for d in w.type.shape[2:] if isinstance(d, int)]
    assert isinstance(wide, int) and isinstance(out_wide, int)
    lowering.held(x)
    scope = KernelScope()
    pull = lowering.pull(scope)
    n, c, j, zero = k.Var("n"), k.Var("c"), k.Var("j"), k.as_index(0)
    rows = _rows(node)

    head: list[k.Stmt] = []
    factors: list[list[k.Expr]] = []
    for a in range(window[0]):
        factors.append([k.Var(f"w{a}_{b}", f32) for b in range(window[1])])
        for b, factor in enumerate(factors[-1]):
            assert isinstance(factor, k.Var)
            head.append(k.Let(factor, pull.read(w, (c, zero, k.as_index(a), k.as_index(b)))))

    columns: list[tuple[k.Expr, k.Expr | None]] = []
    for b in range(window[1]):
        at = b * op.rhs_dilation[1] - op.padding[1][0]
        column = pull.affine(j, op.strides[1], at)
        tests = [column >= 0] if at < 0 else []
        tests += [column < wide] if (out_wide - 1) * op.strides[1] + at >= wide else []
        columns.append((column, pull.all_of(tests)))

    def add(reader: Pull, row: k.Expr, back: int, sums: Sums) -> None:
        """Add one row of the image to the sums that it belongs to."""
        places = [reader.read(x, (n, c, row, column), inside) for column, inside in columns]
        for ahead, a in rows.taps(back):
            for place, factor in zip(places, factors[a], strict=True):
                acc = sums[ahead]
                sums[ahead] = place * factor if acc is None else k.Fma(place, factor, acc)

    def finish(y: k.Expr, acc: k.Expr | None) -> list[k.Stmt]:
        """Store a complete result."""
        total = k.Var("acc", f32)
        reader = lowering.pull(scope)
        index = (n, c, y, j)
        reader.give(node.results[0], index, total)
        store = scope.output(tail.memory, shape).store(index, reader.read(tail.value, index))
        return [k.Let(total, k.zero(f32) if acc is None else acc), store]

    def result(at: int, sums: Sums) -> tuple[list[k.Stmt], Sums]:
        """The statements of one result at a known row, whose new rows may lie outside; none above the first."""
        for back in reversed(range(rows.step)):
            row = at * rows.step + rows.reach - rows.low - back
            if 0 <= row < rows.size:
                kept = [*sums]
                add(pull, k.as_index(row), back, sums)
                sums = [
                    acc if at + n >= 0 else old for n, (acc, old) in enumerate(zip(sums, kept, strict=True))
                ]
        return (finish(k.as_index(at), sums[0]) if at >= 0 else []), [*sums[1:], None]

    def fetches(y: k.Expr) -> list[k.Stmt]:
        """The next columns of rows that come in some rows later."""
        if rows.size * wide < _FAR:
            return []
        ahead = [
            pull.affine(y, rows.step, rows.reach - rows.low - back + _EARLY) for back in range(rows.step)
        ]
        lines = [pull.affine(j, op.strides[1], _LINE * (op.strides[1] + n)) for n in range(op.strides[1])]
        places = [pull.read(x, (n, c, row, line)) for row in ahead for line in lines]
        return [k.Fetch(place) for place in places if isinstance(place, k.Load)]

    first, behind = rows.inner
    sums: Sums = [None] * (rows.carried + 1)
    body: list[k.Stmt] = []
    for at in range(-rows.carried, first):
        statements, sums = result(at, sums)
        body += statements
    turn, y = k.Var("turn"), k.Var("y")
    reader = lowering.pull(scope)
    begun = [k.Var(f"sum{n}", f32) for n in range(rows.carried)]
    inner: Sums = [*begun, None]
    for back in reversed(range(rows.step)):
        row = pull.affine(y, rows.step, rows.reach - rows.low - back)
        add(reader, row, back, inner)
    updates = [k.zero(f32) if acc is None else acc for acc in inner[1:]]
    inits = [k.zero(f32) if acc is None else acc for acc in sums[:-1]]
    carries = [k.Carry(*three) for three in zip(begun, inits, updates, strict=True)]
    statements = (k.Let(y, turn + first if first else turn), *fetches(y), *finish(y, inner[0]))
    body.append(k.For(turn, behind - first, statements, carries=tuple(carries)))
    sums = [*begun, None]
    for at in range(behind, rows.results):
        statements, sums = result(at, sums)
        body += statements

    over_columns = k.For(j, out_wide, tuple(body), "vector")
    loops = nest([*head, over_columns], [(n, shape[0]), (c, shape[1])])
    lowering.launch(scope, "depthwise", loops, node.origins)
