"""Einsum as products of two operands at a time."""

from __future__ import annotations

from typing import NamedTuple

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.graph import Value
from ...ir.types import i64
from .node import OnnxNode
from .report import Refused
from .table import op


class Labelled(NamedTuple):
    """A value and the letter of each of its axes."""

    value: Value
    labels: str


@op("Einsum")
def einsum(n: OnnxNode) -> Value:
    equation = n.attr("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms, values = left.split(","), n.values()
    if len(terms) != len(values):
        raise Refused(f"equation {equation!r} has {len(terms)} operands, the node has {len(values)}")
    spread = max(
        (v.type.rank - len(t.replace("...", "")) for t, v in zip(terms, values, strict=True)), default=0
    )
    rest = "".join(chr(0x391 + k) for k in range(spread))
    found = [_labelled(equation, t, v, rest) for t, v in zip(terms, values, strict=True)]
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        right = "..." * ("..." in left) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    wanted = right.replace("...", rest)
    _check_sizes(n, found)
    total = _summed(found[0], wanted + "".join(f.labels for f in found[1:]))
    for k, other in enumerate(found[1:], start=1):
        kept = wanted + "".join(f.labels for f in found[k + 1 :])
        total = _product(_summed(total, kept + other.labels), _summed(other, kept + total.labels), kept)
    total = _summed(total, wanted)
    if sorted(total.labels) != sorted(wanted):
        raise Refused(f"equation {equation!r} names axes that no operand has")
    return b.permute(total.value, [total.labels.index(c) for c in wanted])


def _labelled(equation: str, term: str, value: Value, rest: str) -> Labelled:
    """An operand with one letter an axis; a letter that comes twice takes the diagonal."""
    count = value.type.rank - len(term.replace("...", ""))
    if "..." in term:
        term = term.replace("...", rest[len(rest) - count :] if count else "")
    elif count:
        raise Refused(f"equation {equation!r}: {term!r} does not fit {value.type}")
    while (double := next((c for c in term if term.count(c) > 1), None)) is not None:
        first, second = term.index(double), term.rindex(double)
        shape = value.type.shape
        same = b.eq(b.iota(i64, shape, first), b.iota(i64, shape, second))
        value = b.reduce_sum(b.select(same, value, b.full_like(value, 0)), (second,))
        term = term[:second] + term[second + 1 :]
    return Labelled(value, term)


def _check_sizes(n: OnnxNode, found: list[Labelled]) -> None:
    sizes: dict[str, Dim] = {}
    for value, labels in found:
        for c, d in zip(labels, value.type.shape, strict=True):
            n.equal(sizes.setdefault(c, d), d, f"axis {c}")


def _summed(x: Labelled, kept: str) -> Labelled:
    """Without the axes that nothing needs any more."""
    gone = tuple(k for k, c in enumerate(x.labels) if c not in kept)
    return Labelled(b.reduce_sum(x.value, gone), "".join(c for c in x.labels if c in kept))


def _product(x: Labelled, y: Labelled, kept: str) -> Labelled:
    both = [c for c in x.labels if c in y.labels]
    batch, summed = [c for c in both if c in kept], [c for c in both if c not in kept]

    def axes(labels: str, wanted: list[str]) -> list[int]:
        return [labels.index(c) for c in wanted]

    value = b.dot_general(
        x.value,
        y.value,
        axes(x.labels, summed),
        axes(y.labels, summed),
        axes(x.labels, batch),
        axes(y.labels, batch),
    )
    free = [c for c in x.labels if c not in both] + [c for c in y.labels if c not in both]
    return Labelled(value, "".join(batch + free))
