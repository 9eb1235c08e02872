"""Recursive networks over trees: the state of a node from its own input and the states of its children."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ...ir import build as b
from ...ir.types import TensorType, f32
from .. import functional as F
from ..arguments import given, table, whole
from ..calls import called, wrong
from ..tensor import Tensor, as_tensor
from ..tree_fold import tree_fold
from .module import Module, uniform
from .recurrent import check_nonlinearity, shifted

__all__ = ["TreeLSTM", "TreeRNN"]


class Tree(Module):
    """What both have in common.

    Without `arity` the states of children are summed, however many there are and in whatever order; with it each of so
    many places has weights of its own.

    Shapes of calls: x [N, in], a row for each node of one tree or of several; children integers [N, K], the rows of a
    node's children, below 0 where there is none, K being the arity where there is one -> states [N, hidden]
    """

    gates: ClassVar[int] = 1
    forgets: ClassVar[bool] = False
    """Whether one of the gates is there for each child."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int | None,
        bias: bool,
        dtype: Any,
        rng: np.random.Generator | None,
    ) -> None:
        name = type(self).__name__
        input_size = whole(name, "input_size", input_size, 0)
        hidden_size = whole(name, "hidden_size", hidden_size)
        if arity is not None:
            arity = whole(name, "arity", arity, rest=", or None for a sum over children")
        self.input_size, self.hidden_size, self.arity = input_size, hidden_size, arity
        bound, many = 1 / math.sqrt(hidden_size), arity or 1
        rows = self.gates * hidden_size
        recurrent_rows = (self.gates + (many - 1 if self.forgets else 0)) * hidden_size
        self.weight_ih = uniform(bound, (rows, input_size), rng, dtype, of=type(self).__name__)
        self.weight_hh = uniform(
            bound, (recurrent_rows, hidden_size * many), rng, dtype, of=type(self).__name__
        )
        self.bias = uniform(bound, (rows,), rng, dtype, of=type(self).__name__) if bias else None

    def _inputs(self, x: Any, children: Any) -> tuple[Tensor, Any, Tensor]:
        """The inputs' part of all nodes, one product; the table; the state of a child that is not there."""
        name = type(self).__name__
        rows, kin = given(name, "x", x), table(name, "children", children)
        with called(name, x=rows, input_size=self.input_size, hidden_size=self.hidden_size):
            if rows.ndim != 2 or rows.shape[1] != self.input_size:
                raise wrong(name, f"expected x [N, in] with {self.input_size} features, a row for each node")
            if self.arity is not None and (kin.ndim != 2 or kin.shape[1] != self.arity):
                raise wrong(name, f"children are {kin.type}, expected {self.arity} columns")
            none = Tensor(b.full(TensorType(rows.dtype, (self.hidden_size,)), 0))
            return F.linear(rows, self.weight_ih, self.bias), kin, none

    def _seen(self, kids: Tensor) -> Tensor:
        """What a node sees of its children's states [W, K, hidden]: their sum, or all of them in a row."""
        if self.arity is None:
            return kids.sum(1)
        return kids.reshape(kids.shape[0], self.arity * self.hidden_size)

    def extra_repr(self) -> str:
        rest = "" if self.arity is None else f", arity={self.arity}"
        return f"{self.input_size}, {self.hidden_size}{rest}"


class TreeRNN(Tree):
    """The recursive network.

    Equation: h = f(w_ih x + bias + w_hh s), s the sum of the children's h, or with an arity all of them in a row
    Shapes:   x [N, in], children integers [N, K] -> h [N, hidden]; a node without children has s = 0
    Args:     arity: how many children a node has, each with weights of its own; None for a sum; nonlinearity: "tanh",
              "relu" or "sigmoid"; dtype, rng: as for `Linear`
    Source:   R. Socher et al., Parsing natural scenes and natural language with recursive neural networks, 2011
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int | None = None,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_nonlinearity("TreeRNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, arity, bias, dtype, rng)

    def __call__(self, x: Any, children: Any, *, width: int = 32) -> Tensor:
        own, kin, none = self._inputs(x, children)
        activation = {"tanh": F.tanh, "relu": F.relu, "sigmoid": F.sigmoid}[self.nonlinearity]

        def node(row: Tensor, kids: Tensor) -> Tensor:
            return activation(row + F.linear(self._seen(kids), self.weight_hh))

        return tree_fold(node, kin, own, none, width=width)


class TreeLSTM(Tree):
    """Long short-term memory over trees, with a forget gate for each child.

    Equation: i, o = sigmoid(w x + bias + u s), g = tanh(w x + bias + u s), f_k = sigmoid(w x + bias + u h_k);
              c = i g + sum over k of f_k c_k, h = o tanh(c); s is the sum of the children's h. With an arity K, s and h_k
              are all of the children's h in a row, and each f_k has weights u of its own
    Shapes:   x [N, in], children integers [N, K] -> h [N, hidden], c [N, hidden]; weight_ih [4 hidden, in] in the order
              i, f, g, o; weight_hh [4 hidden, hidden], or with an arity [(3 + K) hidden, K hidden] in the order
              i, f_1 ... f_K, g, o
    Args:     arity: how many children a node has, each with weights of its own (the N-ary form); None for the child-sum
              form; forget_bias: added to the forget gate's bias at first; dtype, rng: as for `Linear`
    Source:   K. S. Tai, R. Socher, C. Manning, Improved semantic representations from tree-structured LSTMs, 2015
    """

    gates = 4
    forgets = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int | None = None,
        bias: bool = True,
        *,
        forget_bias: float = 0.0,
        dtype: Any = f32,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, arity, bias, dtype, rng)
        shifted("TreeLSTM", self.bias, self.hidden_size, forget_bias)

    def __call__(self, x: Any, children: Any, *, width: int = 32) -> tuple[Tensor, Tensor]:
        own, kin, none = self._inputs(x, children)
        size = self.hidden_size

        def node(row: Tensor, kids: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            h, c = kids
            weight, count = as_tensor(self.weight_hh), c.shape[1]
            forget = slice(size, weight.shape[0] - 2 * size)
            seen = self._seen(h)
            if self.arity is None:
                each = F.linear(h, weight[forget])
            else:
                each = F.linear(seen, weight[forget]).reshape(c.shape[0], count, size)
            kept = F.sigmoid(row[:, size : 2 * size].reshape(c.shape[0], 1, size) + each) * c
            i = F.sigmoid(row[:, :size] + F.linear(seen, weight[:size]))
            g = F.tanh(row[:, 2 * size : 3 * size] + F.linear(seen, weight[forget.stop : forget.stop + size]))
            o = F.sigmoid(row[:, 3 * size :] + F.linear(seen, weight[forget.stop + size :]))
            memory = i * g + kept.sum(1)
            return o * F.tanh(memory), memory

        h, c = tree_fold(node, kin, own, (none, none), width=width)
        return h, c
