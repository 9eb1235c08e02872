"""A random ONNX model under construction: the values that there are, and ways to add nodes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["BOOL", "FLOAT", "INT", "Builder", "Known"]

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MOST = 3000
"""Elements of a value, at the sizes that shapes are planned with."""


@dataclass
class Known:
    """A value of the model.

    Args:
        shape: at the planned size of the open axis
        exact: whether it has the bits of the model's inputs, so that discontinuous ops may read it
    """

    name: str
    shape: tuple[int, ...]
    kind: int = FLOAT
    exact: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass
class Builder:
    """A model under construction."""

    rng: random.Random
    is_open: bool
    values: list[Known] = field(default_factory=list[Known])
    nodes: list[Any] = field(default_factory=list[Any])
    stored: list[Any] = field(default_factory=list[Any])
    count: int = 0

    @property
    def first(self) -> int:
        """The first axis that ops may change."""
        return 1 if self.is_open else 0

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def pick(self, test: Callable[[Known], bool] = lambda v: True) -> Known:
        """A value, late ones more often."""
        found = [v for v in self.values if v.kind == FLOAT and test(v)]
        if not found:
            raise LookupError
        return found[max(self.rng.randrange(len(found)) for _ in range(2))]

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        draw = np.random.default_rng(self.rng.randrange(1 << 30))
        return self.constant((draw.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = self.fresh()
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self,
        op: str,
        inputs: list[str],
        shape: tuple[int, ...],
        kind: int = FLOAT,
        exact: bool = False,
        **attributes: Any,
    ) -> Known:
        if int(np.prod(shape)) > MOST or len(shape) > 5:
            raise LookupError
        value = Known(self.fresh(), tuple(shape), kind, exact)
        self.nodes.append(
            helper.make_node(op, inputs, [value.name], name=f"n{len(self.nodes)}", **attributes)
        )
        self.values.append(value)
        return value

    def axis(self, x: Known) -> int:
        """An axis that may be changed."""
        if x.rank <= self.first:
            raise LookupError
        return self.rng.randrange(self.first, x.rank)
