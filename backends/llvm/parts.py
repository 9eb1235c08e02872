"""An epilogue over several sums, taken apart: what reads one of them alone runs as soon as that one is whole.

The activations of a recurrent cell's gates then stand between the products of its gates, and the processor computes them while the
next gate's weights come in; behind the last product all of them would wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .kernel_ir import Call, Expr, Let, Load, Stmt, Store, Var
from .walk import expr_children, rewrite

__all__ = ["by_part"]


def by_part(epilogue: Sequence[Stmt], sums: Sequence[Var]) -> tuple[dict[int, Expr], tuple[Stmt, ...]]:
    """For each sum, by its number, what is computed of it alone, and the epilogue over those values in place of the sums. A sum has none
    where nothing is called on it alone, or several things are, or where that needs a variable of the epilogue or what the epilogue has stored."""
    numbers = {id(v): n for n, v in enumerate(sums)}
    reads: dict[int, frozenset[int]] = {}  # by an expression's identity: the sums it is made of
    calls, bound, stored = set[int](), set[int](), set[int]()
    tops: dict[int, dict[int, Expr]] = {}  # for each sum the largest expressions of it alone

    def visit(e: Expr) -> frozenset[int]:
        if id(e) not in reads:
            parts = [visit(x) for x in expr_children(e)]
            own = frozenset([numbers[id(e)]]) if id(e) in numbers else frozenset[int]()
            reads[id(e)] = own.union(*parts)
            for among, is_one in (
                (calls, isinstance(e, Call)),
                (bound, isinstance(e, Load) and id(e.buffer) in stored),
            ):
                if is_one or any(id(x) in among for x in expr_children(e)):
                    among.add(id(e))
            if len(reads[id(e)]) > 1:
                for x in expr_children(e):
                    top(x)
        return reads[id(e)]

    def top(e: Expr) -> None:
        if len(reads[id(e)]) == 1:
            (only,) = reads[id(e)]
            tops.setdefault(only, {})[id(e)] = e

    for s in epilogue:
        if not isinstance(s, (Let, Store)):
            return {}, tuple(epilogue)
        others = () if isinstance(s, Let) else (*s.index, *(() if s.mask is None else (s.mask,)))
        for e in (s.value, *others):
            visit(e)
            top(e)
        if isinstance(s, Let):
            reads[id(s.var)] = reads[id(s.value)]
            bound.add(id(s.var))
        else:
            stored.add(id(s.buffer))
    found = {n: e for n, each in tops.items() if len(each) == 1 for e in each.values()}
    alone = {
        n: e
        for n, e in sorted(found.items())
        if id(e) in calls and id(e) not in bound and e.dtype == sums[n].dtype
    }
    if not alone:
        return {}, tuple(epilogue)
    values = {id(e): sums[n] for n, e in alone.items()}
    memo: dict[int, Expr] = {}

    def rest(e: Expr) -> Expr:
        return rewrite(e, lambda x: values.get(id(x)), memo)

    return alone, tuple(replace(s, value=rest(s.value)) for s in epilogue if isinstance(s, (Let, Store)))
