"""Folds over trees, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dims import Dim, bounds, dim_text, evaluate_dim
from ..errors import InputError
from ..op import Cost, Level, Op, Runner, register, traffic
from ..types import Array, TensorType, i64
from .common import need
from .control import match_types

if TYPE_CHECKING:
    from ..graph import Graph

__all__ = ["TreeFold", "levels_of"]


@register
@dataclass(frozen=True)
class TreeFold(Op):
    """The states of all nodes of trees, each from those of its children: leaves first, level by level.

    Equation: s[n] = body(x[n], s[children[n, 0]], ..., consts), with init where children[n, k] < 0
    Shapes:   children i64[N, K], xs T[N, S]..., inits T'[S']..., consts -> T'[N, S']...
              body, over `width` nodes at once: (T[width, S]..., T'[width, K, S']..., consts) -> T'[width, S']...
    Args:     xs, states: how many operands are of each kind, the rest are consts; width: how many nodes of a level go
              through the body together; what is left of a level is filled up with nodes whose states are not used
    Gradient: level by level from the roots, the body computed again
    Numerics: the body must not mix its nodes: row i of its results comes from row i of its operands
    Raises:   TypeInferenceError where types do not fit; InputError where a child is no node, or a node is below itself
    Source:   K. S. Tai, R. Socher, C. D. Manning, Tree-structured LSTMs, 2015; M. Looks et al., dynamic batching, 2017
    """

    mnemonic = "tree_fold"
    level = Level.CONTROL
    num_regions = 1
    xs: int
    states: int
    width: Dim

    def infer(
        self, children: TensorType, *operands: TensorType, regions: tuple[Graph, ...]
    ) -> tuple[TensorType, ...]:
        (body,) = regions
        every = (children, *operands)
        need(
            self,
            children.dtype == i64 and children.rank == 2,
            f"children are {children}, expected i64[N,K]",
            *every,
        )
        need(
            self,
            self.states >= 1 and self.xs >= 0 and len(operands) >= self.xs + self.states,
            f"{len(operands)} operands, expected at least {self.xs} xs and {max(1, self.states)} states",
            *every,
        )
        nodes, arity = children.shape
        least = bounds(nodes)[0]
        need(self, least >= 1, f"{dim_text(nodes)} nodes may be {least}, expected at least 1", *every)
        need(
            self,
            isinstance(arity, int) and arity >= 1,
            f"a node has {dim_text(arity)} children, expected an integer of at least 1",
            *every,
        )
        need(
            self, bounds(self.width)[0] >= 1, f"width is {dim_text(self.width)}, expected at least 1", *every
        )
        rows: list[TensorType] = []
        for x in operands[: self.xs]:
            need(
                self,
                x.rank >= 1 and x.shape[0] == nodes,
                f"{x} has no row for each of {dim_text(nodes)} nodes",
                *every,
            )
            rows.append(x.with_shape((self.width, *x.shape[1:])))
        states = operands[self.xs : self.xs + self.states]
        kids = [s.with_shape((self.width, arity, *s.shape)) for s in states]
        given = (*rows, *kids, *operands[self.xs + self.states :])
        match_types(self, "body input", [v.type for v in body.inputs], given)
        after = [s.with_shape((self.width, *s.shape)) for s in states]
        match_types(self, "state", after, [v.type for v in body.outputs])
        return tuple(s.with_shape((nodes, *s.shape)) for s in states)

    def evaluate(
        self,
        children: Array,
        *operands: Array,
        types: tuple[TensorType, ...],
        regions: tuple[Graph, ...],
        run: Runner,
        env: dict[str, int],
        **_: object,
    ) -> tuple[Array, ...]:
        width = evaluate_dim(self.width, env)
        xs, consts = operands[: self.xs], operands[self.xs + self.states :]
        inits = operands[self.xs : self.xs + self.states]
        states = [np.zeros(t.static_shape(), t.dtype.numpy) for t in types]
        level = levels_of(children)
        absent, below = children < 0, np.maximum(children, 0)
        for depth in range(int(level.max(initial=-1)) + 1):
            (members,) = np.nonzero(level == depth)
            for start in range(0, len(members), width):
                part = members[start : start + width]
                rows = np.resize(part, width)  # filled up with nodes of the same level
                kids = [
                    np.where(_wide(absent[rows], s), init, s[below[rows]])
                    for s, init in zip(states, inits, strict=True)
                ]
                given = (
                    *(x[rows] for x in xs),
                    *(np.ascontiguousarray(k, dtype=s.dtype) for k, s in zip(kids, states, strict=True)),
                )
                for state, found in zip(states, run(regions[0], (*given, *consts)), strict=True):
                    state[part] = found[: len(part)]
        return tuple(states)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        return Cost(0, traffic(operands, results))


def _wide(mask: Array, state: Array) -> Array:
    return mask.reshape(*mask.shape, *(1,) * (state.ndim - 1))


def levels_of(children: Array, name: str = "children", where: Sequence[str] = ()) -> Array:
    """The level of each node: 0 for leaves, else one more than the highest of its children.

    Args:
        children: integers [N, K]; those below 0 are absent
        name:     of the table, for a message
        where:    the lines of the fold, for a message

    Raises:
        InputError: a child is no node, or a node is below itself; it names the node
    """
    nodes = len(children)
    wrong = np.argwhere(children >= nodes)
    if len(wrong):
        n, k = wrong[0].tolist()
        found = f"child {k} of node {n} is {int(children[n, k])}, there are {nodes} nodes"
        raise InputError(f"{name}: {found}", where=where)
    kids: list[list[int]] = [[k for k in row if k >= 0] for row in children.tolist()]
    above: list[list[int]] = [[] for _ in range(nodes)]
    for n, row in enumerate(kids):
        for k in row:
            above[k].append(n)
    left, level = [len(row) for row in kids], [0] * nodes
    ready = [n for n in range(nodes) if not left[n]]
    for n in ready:  # which grows: each node stands behind its children
        for parent in above[n]:
            level[parent] = max(level[parent], level[n] + 1)
            left[parent] -= 1
            if not left[parent]:
                ready.append(parent)
    if len(ready) < nodes:
        node = _on_cycle(kids, left)
        raise InputError(f"{name}: node {node} is below itself", where=where, hint="a tree has no cycle")
    return np.array(level, np.int64)


def _on_cycle(kids: Sequence[Sequence[int]], left: Sequence[int]) -> int:
    """A node on a cycle, found downwards from one that is on or above it: each has a child with children left."""
    node = next(n for n, count in enumerate(left) if count)
    seen: set[int] = set()
    while node not in seen:
        seen.add(node)
        node = next(k for k in kids[node] if left[k])
    return node
