"""Derivatives of factorizations: g is the cotangent, l, w, v are results.

The formulas are those of I. Murray, Differentiation of the Cholesky decomposition, 2016, and of M. Giles, An extended
collection of matrix derivative results for forward and reverse mode algorithmic differentiation, 2008.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.graph import Node, Value
from ...ir.ops.linalg import TriangularSolve
from ...ir.types import i64
from .rule import Cotangents, Rule, attributes_of, only, scale, zeros_like

__all__ = ["RULES"]


def _turned(x: Value) -> Value:
    """The transposed matrices."""
    rank = x.type.rank
    return b.permute(x, (*range(rank - 2), rank - 1, rank - 2))


def _product(x: Value, y: Value) -> Value:
    """Matrix products over a batch."""
    rank = x.type.rank
    batch = tuple(range(rank - 2))
    return b.dot_general(x, y, (rank - 1,), (rank - 2,), batch, batch)


def _symmetric(x: Value) -> Value:
    return scale(b.add(x, _turned(x)), 0.5)


def _rows_and_columns(x: Value) -> tuple[Value, Value]:
    rank, shape = x.type.rank, x.type.shape
    return b.iota(i64, shape, rank - 2), b.iota(i64, shape, rank - 1)


def _triangle(x: Value, lower: bool) -> Value:
    row, column = _rows_and_columns(x)
    return b.select(b.ge(row, column) if lower else b.le(row, column), x, zeros_like(x))


def _cholesky(node: Node, g: Value) -> Cotangents:
    lower = node.results[0]
    row, column = _rows_and_columns(lower)
    inner = _product(_turned(lower), g)
    phi = b.select(b.eq(row, column), scale(inner, 0.5), _triangle(inner, True))
    left = b.triangular_solve(lower, phi, lower=True, transpose=True)
    both = b.triangular_solve(lower, _turned(left), lower=True, transpose=True)
    return (_symmetric(both),)


def _triangular_solve(node: Node, g: Value) -> Cotangents:
    op, a, x = attributes_of(node, TriangularSolve), node.operands[0], node.results[0]
    db = b.triangular_solve(a, g, lower=op.lower, transpose=not op.transpose)
    outer = _product(x, _turned(db)) if op.transpose else _product(db, _turned(x))
    return _triangle(b.neg(outer), op.lower), db


def _eigh(node: Node, cotangents: tuple[Value | None, ...]) -> Cotangents:
    (gw, gv), (w, v) = cotangents, node.results
    rank, shape = v.type.rank, v.type.shape
    batch = tuple(range(rank - 2))
    row, column = _rows_and_columns(v)
    inner = zeros_like(v)
    if gv is not None:
        gap = b.sub(
            b.broadcast_in_dim(w, shape, (*batch, rank - 1)), b.broadcast_in_dim(w, shape, (*batch, rank - 2))
        )
        equal = b.eq(gap, zeros_like(gap))
        safe = b.select(equal, b.full_like(gap, 1), gap)
        inner = b.select(equal, zeros_like(gap), b.div(_product(_turned(v), gv), safe))
    if gw is not None:
        inner = b.select(b.eq(row, column), b.broadcast_in_dim(gw, shape, (*batch, rank - 1)), inner)
    return (_symmetric(_product(_product(v, inner), _turned(v))),)


RULES: Mapping[str, Rule] = {
    # dx = sym(l^-T phi(l^T g) l^-1), phi the lower triangle with half the diagonal         Murray, (10)
    "cholesky": only(_cholesky),
    # db = a^-T g,  da = -tri(db x^T);  solved with a^T: db = a^-1 g,  da = -tri(x db^T)     Giles, 2.3.1
    "triangular_solve": only(_triangular_solve),
    # dx = sym(v (diag(gw) + f * (v^T gv)) v^T),  f[i, j] = 1 / (w[j] - w[i]), 0 for equals  Giles, 3.1
    "eigh": _eigh,
}
