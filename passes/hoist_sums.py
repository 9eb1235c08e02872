"""Carries that only add up: what is summed over the steps, as one product or sum over all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir import build as b
from ..ir.graph import Node, Value, make
from ..ir.ops.constant import Constant
from ..ir.ops.contract import DotGeneral
from ..ir.ops.elementwise import Add, Mul, Neg
from ..ir.ops.move import BroadcastInDim, Permute, Reshape
from ..ir.ops.reduce import ReduceSum
from .batching import Stacks

__all__ = ["Term", "is_sum", "sum_over_steps"]


@dataclass(frozen=True)
class Term:
    """Something that is added at each step.

    Args:
        root:  the result of a product or a sum, or a row of xs
        moves: what is done to it that might as well be done to the sum: permutes, reshapes, factors
        fixed: values that the moves read beside it, the same at each step
    """

    root: Value
    moves: tuple[tuple[Node, int], ...]
    fixed: tuple[Value, ...]

    @property
    def reads(self) -> tuple[Value, ...]:
        """What the sum reads at each step."""
        return (self.root,) if self.root.node is None else self.root.node.operands


def is_sum(
    carry: Value,
    after: Value,
    users: Mapping[Value, Sequence[Node]],
    xs: Collection[Value],
    same: Collection[Value],
) -> list[Term] | None:
    """The terms, where `after` is the carry plus products and sums that do not read it; None for anything else.

    A product is worth it where an operand of it changes from step to step on either side.
    """
    terms: list[Term] = []
    open_, found = [after], 0
    while open_:
        value = open_.pop()
        if value is carry:
            found += 1
            continue
        node = value.node
        alone = value is after or len(users.get(value, ())) == 1
        if node is not None and isinstance(node.op, Add) and alone:
            open_ += reversed(node.operands)
            continue
        term = _term(value, xs, same)
        if term is None or any(o in same for o in term.reads):
            return None
        terms.append(term)
    return terms if found == 1 and terms else None


def _term(value: Value, xs: Collection[Value], same: Collection[Value]) -> Term | None:
    moves: list[tuple[Node, int]] = []
    fixed: list[Value] = []
    while (node := value.node) is not None:
        changing = [k for k, o in enumerate(node.operands) if o not in same]
        linear = isinstance(node.op, (Permute, Reshape, Neg)) or (
            isinstance(node.op, Mul) and len(changing) == 1
        )
        if not linear or not changing:
            break
        moves.append((node, changing[0]))
        fixed += (o for o in node.operands if o in same)
        value = node.operands[changing[0]]
    if value not in xs if node is None else not isinstance(node.op, (DotGeneral, ReduceSum)):
        return None
    return Term(value, tuple(reversed(moves)), tuple(fixed))


def sum_over_steps(init: Value, terms: Sequence[Term], stacks: Stacks) -> Value:
    """The carry behind the last step."""
    total: Value | None = None if _is_zero(init) else init
    for term in terms:
        value = _summed(term.root, [stacks[o][0] for o in term.reads])
        for move, at in term.moves:
            given = [value if k == at else stacks[o][0] for k, o in enumerate(move.operands)]
            value = make(move.op, *given, origins=move.origins)[0]
        total = value if total is None else b.add(total, value)
    assert total is not None
    return total


def _summed(root: Value, given: Sequence[Value]) -> Value:
    """The sum of a value over all steps, from what it is made of at all steps."""
    if root.node is None:
        return b.reduce_sum(given[0], (0,))
    op, origins = root.node.op, root.node.origins
    if isinstance(op, ReduceSum):
        return make(replace(op, axes=(0, *_up(op.axes))), *given, origins=origins)[0]
    assert isinstance(op, DotGeneral)
    product = replace(
        op, lhs_contract=(0, *_up(op.lhs_contract)), rhs_contract=(0, *_up(op.rhs_contract)),
        lhs_batch=_up(op.lhs_batch), rhs_batch=_up(op.rhs_batch),
    )  # fmt: skip
    return make(product, *given, origins=origins)[0]


def _up(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(k + 1 for k in axes)


def _is_zero(value: Value) -> bool:
    node = value.node
    while node is not None and isinstance(node.op, BroadcastInDim):
        node = node.operands[0].node
    return node is not None and isinstance(node.op, Constant) and not node.op.value.array.any()
