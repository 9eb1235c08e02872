"""Finds composites that exporters write out: silu, gelu, hard_swish and layer_norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import product
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.op import Op
from ..ir.ops.elementwise import (
    Add,
    Clamp,
    Div,
    Erf,
    Max,
    Min,
    Mul,
    Pow,
    Reciprocal,
    Rsqrt,
    Select,
    Sigmoid,
    Sqrt,
    Sub,
    Tanh,
)
from ..ir.ops.gates import SQRT_2_OVER_PI, TANH_CUBE, Gelu, HardSwish, Silu
from ..ir.ops.layer_norm import LayerNorm
from ..ir.ops.move import BroadcastInDim, Reshape
from ..ir.ops.nn import Relu
from ..ir.ops.reduce import ReduceSum
from .base import Pass, Remarks
from .regions import map_regions
from .rules.base import number_of, producer

__all__ = ["Recognize"]

CLOSE = 1e-3
"""How far a number may be, relatively, from that of the formula: exporters write 1.41421 and 0.7978."""


@dataclass(frozen=True)
class Recognize(Pass):
    """Put composites in the place of what they are written out as: x sigmoid(x), the products with erf and tanh that make
    gelu, the clipped lines that make hard_swish, and the means and roots that make a layer norm.

    The result moves by roundings. What other nodes read of the pieces stays.
    """

    name: ClassVar[str] = "recognize"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
            for op, name, find in FORMS:
                if isinstance(node.op, op):
                    value = find(node, operands)
                    if value is not None and remarks.allow(f"recognize-{name}"):
                        return [value]
            return None

        return map_regions(graph, lambda g: rebuild(g, rewrite))


Find = Callable[[Node, tuple[Value, ...]], "Value | None"]


def factors(values: tuple[Value, ...]) -> tuple[float, list[Value]]:
    """A product as a number and what else it is made of, through products, quotients by numbers and small powers."""
    number, rest, left = 1.0, list[Value](), list(values)
    while left:
        value = left.pop()
        known, node = number_of(value), value.node
        if known is not None:
            number *= float(known)
        elif node is not None and isinstance(node.op, Mul):
            left += node.operands
        elif node is not None and isinstance(node.op, Div) and number_of(node.operands[1]) is not None:
            divisor = float(number_of(node.operands[1]) or 0)
            if divisor == 0:
                return 0.0, []
            number /= divisor
            left.append(node.operands[0])
        elif node is not None and isinstance(node.op, Pow) and number_of(node.operands[1]) == 3:
            left += [node.operands[0]] * 3
        else:
            rest.append(value)
    return number, rest


def close(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= CLOSE * abs(wanted)


def plus(value: Value) -> tuple[float, Value] | None:
    """A sum of a number and something: both."""
    node = producer(value, Add)
    for k in (0, 1) if node is not None else ():
        assert node is not None
        known = number_of(node.operands[1 - k])
        if known is not None:
            return float(known), node.operands[k]
    return None


def _gated(node: Node, operands: tuple[Value, ...]) -> tuple[float, Value, Value] | None:
    """A product of a number, x, and a gate; the gate is what is no leaf of the other's computation."""
    number, rest = factors(_operands(node, operands))
    return (number, rest[0], rest[1]) if len(rest) == 2 else None


def _operands(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """The operands of a product; a quotient by a number is one."""
    if isinstance(node.op, Mul):
        return operands
    known = number_of(operands[1])
    if known is None or known == 0:
        return ()
    return (operands[0], b.full_like(operands[0], 1 / float(known)))


def silu(node: Node, operands: tuple[Value, ...]) -> Value | None:
    for x, gate in (operands, operands[::-1]):
        made = producer(gate, Sigmoid)
        if made is not None and made.operands[0] is x:
            return make_one(Silu(), x)
    return None


def gelu(node: Node, operands: tuple[Value, ...]) -> Value | None:
    """x (1 + erf(x / sqrt 2)) / 2, or with tanh, in whatever order the factors stand."""
    found = _gated(node, operands)
    if found is None or not close(found[0], 0.5):
        return None
    _, one, other = found
    for x, gate in ((one, other), (other, one)):
        summed = plus(gate)
        if summed is None or summed[0] != 1 or summed[1].node is None:
            continue
        inner = summed[1].node
        scale, rest = factors(inner.operands)
        if isinstance(inner.op, Erf) and rest == [x] and close(scale, math.sqrt(0.5)):
            return make_one(Gelu(), x)
        if isinstance(inner.op, Tanh) and close(scale, SQRT_2_OVER_PI) and _with_cube(rest, x):
            return make_one(Gelu("tanh"), x)
    return None


def _with_cube(rest: list[Value], x: Value) -> bool:
    """x + 0.044715 x^3, or x times (1 + 0.044715 x^2)."""
    if len(rest) == 1:
        node = producer(rest[0], Add)
        if node is None or x not in node.operands:
            return False
        cube = node.operands[1] if node.operands[0] is x else node.operands[0]
        scale, parts = factors((cube,))
        return parts == [x, x, x] and close(scale, TANH_CUBE)
    if len(rest) == 2 and x in rest:
        summed = plus(rest[1] if rest[0] is x else rest[0])
        if summed is None or summed[0] != 1:
            return False
        scale, parts = factors((summed[1],))
        return parts == [x, x] and close(scale, TANH_CUBE)
    return False


def hard_swish(node: Node, operands: tuple[Value, ...]) -> Value | None:
    """x times x + 3 within 0..6, divided by 6; or times x / 6 + 1 / 2 within 0..1."""
    found = _gated(node, operands)
    if found is None:
        return None
    number, one, other = found
    for x, gate in ((one, other), (other, one)):
        top, line = _clipped(gate)
        summed = None if line is None else plus(line)
        if summed is None or not close(number * top, 1):
            continue
        scale, rest = factors((summed[1],))
        if rest == [x] and close(scale * number, 1 / 6) and close(summed[0] * number, 0.5):
            return make_one(HardSwish(), x)
    return None


def _clipped(value: Value) -> tuple[float, Value | None]:
    """The upper end and what is clipped between 0 and it; none where the value is no such thing."""
    node = value.node
    if node is None:
        return 0.0, None
    if isinstance(node.op, Clamp):
        low, inner, high = node.operands
        top = number_of(high)
        return (float(top), inner) if number_of(low) == 0 and top is not None else (0.0, None)
    if isinstance(node.op, (Min, Max)):
        for k in (0, 1):
            bound = number_of(node.operands[1 - k])
            inside = _one_bound(node.operands[k])
            if bound is None or inside is None:
                continue
            upper, lower = (
                (float(bound), inside[1]) if isinstance(node.op, Min) else (inside[1], float(bound))
            )
            if isinstance(node.op, Min) == inside[2]:
                return (upper, inside[0]) if lower == 0 else (0.0, None)
    if isinstance(node.op, Select):
        return _selected(node)
    return 0.0, None


def _one_bound(value: Value) -> tuple[Value, float, bool] | None:
    """max(x, number), or min(x, number): x, the number, and whether it is a maximum."""
    node = value.node
    if node is None:
        return None
    if isinstance(node.op, Relu):
        return node.operands[0], 0.0, True
    if isinstance(node.op, (Min, Max)):
        for k in (0, 1):
            bound = number_of(node.operands[1 - k])
            if bound is not None:
                return node.operands[k], float(bound), isinstance(node.op, Max)
    return None


def _selected(node: Node) -> tuple[float, Value | None]:
    """select(x <= 0, 0, select(x >= top, top, x))."""
    _, low, rest = node.operands
    inner = producer(rest, Select)
    if inner is None or number_of(low) != 0:
        return 0.0, None
    top, x = number_of(inner.operands[1]), inner.operands[2]
    tests = [n.node for n in (node.operands[0], inner.operands[0])]
    fits = top is not None and all(
        t is not None and t.op.mnemonic in kinds and t.operands[0] is x and number_of(t.operands[1]) == bound
        for t, kinds, bound in zip(tests, (("lt", "le"), ("gt", "ge")), (0, top), strict=True)
    )
    return (float(top), x) if fits and top is not None else (0.0, None)


def layer_norm(node: Node, operands: tuple[Value, ...]) -> Value | None:
    """(x - mean) / sqrt(var + eps) * weight + bias."""
    for bias, scaled in (operands, operands[::-1]):
        product_ = producer(scaled, Mul)
        for k in (0, 1) if product_ is not None else ():
            assert product_ is not None
            found = _normal(product_.operands[k])
            if found is None:
                continue
            x, axis, eps = found
            weight, shift = (_last_axes(v, axis) for v in (product_.operands[1 - k], bias))
            if weight is not None and shift is not None:
                return make_one(LayerNorm(axis, eps), x, weight, shift)
    return None


def _normal(value: Value) -> tuple[Value, int, float] | None:
    """What is normalised, from which axis on, and eps."""
    node = value.node
    if node is None or not isinstance(node.op, (Div, Mul)):
        return None
    pairs = [node.operands] if isinstance(node.op, Div) else [node.operands, node.operands[::-1]]
    for centred, spread in pairs:
        root = _root(spread, inverted=isinstance(node.op, Mul))
        sub = producer(centred, Sub)
        if root is None or sub is None:
            continue
        summed = plus(root)
        mean = _mean(sub.operands[1])
        var = None if summed is None else _mean(summed[1])
        if (
            summed is None
            or mean is None
            or var is None
            or mean[1] != var[1]
            or mean[0] is not sub.operands[0]
        ):
            continue
        axis, rank = mean[1][0], sub.operands[0].type.rank
        if _squared(var[0], centred) and mean[1] == tuple(range(axis, rank)):
            return sub.operands[0], axis, summed[0]
    return None


def _root(value: Value, inverted: bool) -> Value | None:
    """What the square root is taken of; `inverted` where one over it is meant."""
    node = _behind(value)
    if node is None:
        return None
    if inverted and isinstance(node.op, Rsqrt):
        return node.operands[0]
    if inverted:
        over = node.op
        if isinstance(over, Div) and number_of(node.operands[0]) == 1:
            node = _behind(node.operands[1])
        elif isinstance(over, Reciprocal):
            node = _behind(node.operands[0])
        else:
            return None
    return node.operands[0] if node is not None and isinstance(node.op, Sqrt) else None


def _squared(value: Value, base: Value) -> bool:
    node = value.node
    if node is None:
        return False
    if isinstance(node.op, Mul):
        return all(o is base for o in node.operands)
    return isinstance(node.op, Pow) and node.operands[0] is base and number_of(node.operands[1]) == 2


def _behind(value: Value) -> Node | None:
    """The node that makes what a chain of broadcasts and reshapes repeats."""
    while value.node is not None and isinstance(value.node.op, (BroadcastInDim, Reshape)):
        value = value.node.operands[0]
    return value.node


def _mean(value: Value) -> tuple[Value, tuple[int, ...]] | None:
    """What the mean is taken of, and over which axes."""
    node = _behind(value)
    if node is None or not isinstance(node.op, (Div, Mul)):
        return None
    known, summed = number_of(node.operands[1]), _behind(node.operands[0])
    if known is None or summed is None or not isinstance(summed.op, ReduceSum):
        return None
    x, axes = summed.operands[0], summed.op.axes
    count = product(tuple(x.type.shape[a] for a in axes))
    share = float(known) if isinstance(node.op, Div) else 1 / float(known) if known != 0 else 0.0
    return (x, axes) if isinstance(count, int) and axes and abs(share - count) < 1e-6 * count else None


def _last_axes(value: Value, axis: int) -> Value | None:
    """A value that repeats something of the axes from `axis` on: that; None where it does not."""
    shape = value.type.shape[axis:]
    while value.node is not None and isinstance(value.node.op, BroadcastInDim):
        op, source = value.node.op, value.node.operands[0]
        if source.type.shape == shape and op.axes == tuple(range(axis, len(op.shape))):
            return source
        if source.type.rank != len(op.shape):
            return None
        value = source
    if value.node is not None and isinstance(value.node.op, Reshape):
        source = value.node.operands[0]
        leading = value.type.shape[: value.type.rank - len(shape)]
        if (
            source.type.shape == shape
            and all(d == 1 for d in leading)
            and value.type.shape[len(leading) :] == shape
        ):
            return source
    return None


FORMS: tuple[tuple[type[Op], str, Find], ...] = (
    (Mul, "silu", silu),
    (Mul, "gelu", gelu),
    (Div, "gelu", gelu),
    (Mul, "hard-swish", hard_swish),
    (Div, "hard-swish", hard_swish),
    (Add, "layer-norm", layer_norm),
)
"""The op of the last node, the name that is counted, and what looks for the form."""
