"""Elementwise ops that ONNX lacks: a threshold, the angle of a point, a sum rounded once."""

from __future__ import annotations

import math

import numpy as np

from ...ir.graph import Node
from ...ir.ops.pointwise import Step
from ...ir.types import DType, f16, f32, f64
from .elementwise import NARROW, Emitter, through
from .writer import Writer, result

__all__ = ["EMITTERS"]


def step(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Step)
    dtype = node.operands[0].type.dtype
    d = NARROW.get(dtype.name, dtype)
    (x,) = w.widened([w.tensor(node.operands[0])], dtype, d)
    zero = w.scalar(0, d)
    below = w.where(
        w.node("Less", [x, zero]), zero, w.where(_is(w, x, 0, d), w.scalar(node.op.at0, d), x, d), d
    )
    result(w, node, w.cast(w.where(w.node("Greater", [x, zero]), w.scalar(1, d), below, d), d, dtype))


def _is(w: Writer, x: str, value: float, d: DType) -> str:
    return w.node("Equal", [x, w.scalar(value, d)])


def atan2(w: Writer, xs: list[str], d: DType) -> str:
    """The angle within the first octant, turned by pi / 2, mirrored, and given y's sign; 0 has a sign too."""
    y, x = xs
    inf, zero, one, minus = (w.scalar(n, d) for n in (math.inf, 0, 1, -1))
    height, width = w.node("Abs", [y]), w.node("Abs", [x])
    steep = w.node("Greater", [height, width])
    small = w.where(steep, width, height, d)
    large = w.where(steep, height, width, d)
    # 0 / 0 is 0 here and inf / inf is 1
    extreme = w.node("Or", [_is(w, large, 0, d), _is(w, large, math.inf, d)])
    alike = w.node("And", [w.node("Equal", [small, large]), extreme])
    level = w.where(w.node("Equal", [large, inf]), one, zero, d)
    ratio = w.where(alike, level, w.node("Div", [small, w.where(alike, one, large, d)]), d)
    angle = w.node("Atan", [ratio])
    angle = w.where(steep, w.node("Sub", [w.scalar(math.pi / 2, d), angle]), angle, d)
    angle = w.where(_negative(w, x, d), w.node("Sub", [w.scalar(math.pi, d), angle]), angle, d)
    signed = w.node("Mul", [angle, w.where(_negative(w, y, d), minus, one, d)])
    nan = w.node("Or", [w.node("IsNaN", [x]), w.node("IsNaN", [y])])
    # a NaN of either operand is subtracted, not chosen: choosing would lose the sign of 0
    return w.node("Sub", [signed, w.where(nan, w.scalar(math.nan, d), zero, d)])


def _negative(w: Writer, x: str, d: DType) -> str:
    """Whether the sign is minus, that of -0 too."""
    side = w.where(_is(w, x, 0, d), w.node("Reciprocal", [x]), x, d)
    return w.node("Less", [side, w.scalar(0, d)])


def fma(w: Writer, node: Node) -> None:
    """The product is exact in the wider type. Rounding its sum again errs only where the rounded sum lies halfway between
    two numbers of the narrow type and something was lost: then the number on the side of the loss is taken.
    """
    d = node.results[0].type.dtype
    wide = f64 if d == f32 else f32
    x, y, z = w.widened([w.tensor(o) for o in node.operands], d, wide)
    product = w.node("Mul", [x, y])
    total = w.node("Add", [product, z])
    back = w.node("Sub", [total, product])
    lost = w.node("Sub", [product, w.node("Sub", [total, back])])
    error = w.node("Add", [lost, w.node("Sub", [z, back])])
    zero, one = w.scalar(0, wide), w.scalar(1, wide)
    # halfway between the largest number and infinity: less than that is the largest
    bits = {f32: 24, f16: 11}[d]
    edge = float(np.finfo(d.numpy).max) * (1 + 2.0**-bits / (2 - 2.0 ** (1 - bits)))
    inwards = w.node("Less", [w.node("Mul", [error, total]), zero])
    below = w.node("And", [_is(w, w.node("Abs", [total]), edge, wide), inwards])
    total = w.node("Mul", [total, w.where(below, w.scalar(1 - 2.0 ** -(bits + 5), wide), one, wide)])
    near = w.cast(w.cast(total, wide, d), d, wide)
    gap = w.node("Sub", [total, near])
    other = w.node("Add", [total, gap])
    halfway = w.node("Equal", [w.cast(w.cast(other, wide, d), d, wide), other])
    beyond = w.node("Greater", [w.node("Mul", [error, gap]), zero])
    finite = w.node("Less", [w.node("Abs", [gap]), w.scalar(math.inf, wide)])
    wrong = w.node("And", [w.node("And", [halfway, beyond]), finite])
    step_back = w.where(wrong, w.node("Mul", [gap, w.scalar(-2, wide)]), zero, wide)
    result(w, node, w.cast(w.node("Sub", [near, step_back]), wide, d))


EMITTERS: dict[str, Emitter] = {"step": step, "atan2": through(atan2), "fma": fma}
