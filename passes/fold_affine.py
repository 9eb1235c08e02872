"""Fold what is affine before a linear or convolution layer into its weights: preprocessing, and linear layers in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value, make_one, rebuild
from ..ir.op import Op
from ..ir.ops.elementwise import Add, Div, Mul, Sub
from ..ir.ops.move import BroadcastInDim, Reshape
from ..ir.ops.nn import Linear
from ..ir.ops.window import Conv
from .base import Pass, Remarks
from .decompose import until_stable
from .regions import map_regions

__all__ = ["FoldAffine"]

Refuse = Callable[[str], None]


@dataclass(frozen=True)
class FoldAffine(Pass):
    """linear(x s + t, w) + c = linear(x, w s) + (c + w t); linear(linear(x, v), w) = linear(x, w v).

    Reassociates. s and t are one number a feature of a linear layer, one a channel of a convolution, and depend on
    the store alone; split-prepare moves what is made of them to `prepare`. Left alone are weights that the program
    updates, values that others read too, element types of 16 bits, a product of two linear layers that would be
    larger than both, a shift before a convolution that pads: its zeros come after the shift; and the bias of a convolution before.

    Numerics: as if each input were rounded a few times more, since x s + t is no longer near 0 before it is summed:
              an error of some eps |x s| where x s + t alone had eps |x s + t|. It shows where inputs that are exact,
              such as years, lie far from 0 for their width: -O1 keeps the layers apart
    """

    name: ClassVar[str] = "fold-affine"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        updated = {name for name, _ in graph.updates}
        seen: set[str] = set()

        def step(g: Graph) -> Graph:
            uses = {value: len(users) for value, users in g.uses().items()}
            fixed = _fixed_values(g, updated)

            def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
                if operands != node.operands or not isinstance(node.op, (Linear, Conv, Add)):
                    return None

                def refuse(reason: str) -> None:
                    where = f" at {node.origins[0]}" if node.origins else ""
                    text = f"fold-affine: refused{where}: {reason}"
                    if text not in seen:
                        seen.add(text)
                        remarks.note(text)

                found = _Fold(node, uses, fixed, refuse).result()
                return [found()] if found is not None and remarks.allow("fold-affine") else None

            return rebuild(g, rewrite)

        return map_regions(graph, lambda g: until_stable(g, step))


def _fixed_values(graph: Graph, updated: set[str]) -> set[Value]:
    """Values that depend on constants and on entries which the program does not update."""
    found = {read for read in graph.reads() if read.entry not in updated}
    for node in graph.nodes:
        if not node.regions and all(o in found for o in node.operands):
            found.update(node.results)
    return found


@dataclass(frozen=True)
class _Repeated:
    """What repeats for each sample.

    Args:
        source: what is repeated
        axes:   of a sample, those that the source has
        shape:  of a sample
        change: what is made of each number: itself, its negative, its reciprocal
    """

    source: Value
    axes: tuple[int, ...]
    shape: tuple[Dim, ...]
    change: Callable[[Value], Value]

    def features(self, count: Dim) -> Value:
        """One number for each element of a sample."""
        return b.reshape(self.change(b.broadcast_in_dim(self.source, self.shape, self.axes)), (count,))

    @property
    def is_per_channel(self) -> bool:
        """Whether it is the same within each channel of a sample [C, ...]."""
        wide = [axis for axis, d in zip(self.axes, self.source.type.shape, strict=True) if d != 1]
        return wide in ([], [0])

    def channels(self) -> Value:
        """One number for each channel."""
        kept = b.reshape(self.source, tuple(d for d in self.source.type.shape if d != 1))
        return self.change(b.broadcast_in_dim(kept, self.shape[:1], (0,) if kept.type.rank else ()))


@dataclass(frozen=True)
class _Affine:
    """x s + t as it stands before a layer; s or t is None where there is none."""

    x: Value
    scale: _Repeated | None
    shift: _Repeated | None


class _Fold:
    """One layer, and what stands before it."""

    def __init__(self, node: Node, uses: dict[Value, int], fixed: set[Value], refuse: Refuse) -> None:
        self.node = node
        self.uses = uses
        self.fixed = fixed
        self.refuse = refuse

    def result(self) -> Callable[[], Value] | None:
        """How to make the folded layer; None where there is nothing to fold, or a reason against it."""
        if isinstance(self.node.op, Add):
            return self._biases()
        x = self.node.operands[0]
        if x.node is None or x.type.rank < 2 or not all(isinstance(d, int) for d in x.type.shape[1:]):
            return None
        if isinstance(self.node.op, Conv):
            return self._conv(x)
        if isinstance(x.node.op, Linear):
            return self._collapse(x.node)
        if isinstance(x.node.op, Reshape):
            inner = x.node.operands[0]
            same_batch = inner.type.rank >= 2 and inner.type.shape[0] == x.type.shape[0]
            return self._linear(inner, x) if same_batch and inner.node is not None else None
        return self._linear(x, x)

    def _allowed(self, *chain: Value) -> bool:
        """Whether the layer's weights may change and nothing else reads the values between."""
        if self.node.results[0].type.dtype.bits == 16:
            self.refuse(f"scaled weights would round to {self.node.results[0].type.dtype}")
            return False
        if any(w not in self.fixed for w in self.node.operands[1:]):
            self.refuse("the program updates the layer's weights, or computes them from its inputs")
            return False
        for value in chain:
            if self.uses.get(value, 0) != 1 and value.node is not None:
                self.refuse(f"{value.node.op.mnemonic} has {self.uses.get(value, 0)} users")
                return False
        return True

    def _linear(self, inner: Value, x: Value) -> Callable[[], Value] | None:
        """The layer on x, which is `inner` or its elements under another shape."""
        if x.type.rank != 2:
            return None
        found = self._affine(inner)
        chain = (inner, x) if x is not inner else (x,)
        if found is None or not self._allowed(*chain):
            return None

        def make() -> Value:
            w, features = self.node.operands[1], x.type.shape[1]
            start = found.x if x is inner else b.reshape(found.x, x.type.shape)
            bias = self.node.operands[2] if len(self.node.operands) == 3 else None
            if found.shift is not None:
                shift = b.reshape(found.shift.features(features), (1, features))
                moved = b.reshape(make_one(Linear(), shift, w), (w.type.shape[0],))
                bias = moved if bias is None else b.add(bias, moved)
            if found.scale is not None:
                w = b.mul(w, b.broadcast_in_dim(found.scale.features(features), w.type.shape, (1,)))
            return make_one(Linear(), start, w, *(() if bias is None else (bias,)))

        return make

    def _collapse(self, before: Node) -> Callable[[], Value] | None:
        """linear(linear(x, v) + c, w) + d = linear(x, w v) + (w c + d)."""
        x, v, *bias = before.operands
        w = self.node.operands[1]
        if any(o not in self.fixed for o in before.operands[1:]) or not self._allowed(before.results[0]):
            return None
        out, middle, width = w.type.shape[0], v.type.shape[0], v.type.shape[1]
        sizes = [d for d in (out, middle, width) if isinstance(d, int)]
        if len(sizes) == 3 and sizes[0] * sizes[2] > sizes[1] * (sizes[0] + sizes[2]):
            self.refuse(
                f"the product of both weights has {sizes[0] * sizes[2]} elements, more than the two have"
            )
            return None

        def make() -> Value:
            product = b.matmul(w, v)
            last = list(self.node.operands[2:])
            if bias:
                moved = b.reshape(make_one(Linear(), b.reshape(bias[0], (1, middle)), w), (out,))
                last = [b.add(moved, last[0])] if last else [moved]
            return make_one(Linear(), x, product, *last)

        return make

    def _conv(self, x: Value) -> Callable[[], Value] | None:
        op, w = self.node.op, self.node.operands[1]
        assert isinstance(op, Conv)
        found = self._affine(x)
        if found is None or not self._allowed(x):
            return None
        scale, shift = found.scale, found.shift
        if shift is not None and found.x.node is not None and isinstance(found.x.node.op, Conv):
            self.refuse("the shift is the bias of the convolution before, which adds it at no cost")
            return None
        if any(part is not None and not part.is_per_channel for part in (scale, shift)):
            self.refuse("the numbers differ within a channel")
            return None
        if shift is not None and any(p != (0, 0) for p in op.padding):
            self.refuse("the convolution pads with zeros after the shift")
            return None
        if shift is not None and any(d != 1 for d in op.lhs_dilation):
            self.refuse("the convolution spreads its input with zeros after the shift")
            return None

        def make() -> Value:
            kernel = w
            if scale is not None:
                kernel = b.mul(w, _as_kernel(scale.channels(), w))
            made = make_one(op, found.x, kernel)
            if shift is None:
                return made
            moved = b.reduce_sum(b.mul(w, _as_kernel(shift.channels(), w)), range(1, w.type.rank))
            return b.add(made, b.broadcast_in_dim(moved, made.type.shape, (1,)))

        return make

    def _biases(self) -> Callable[[], Value] | None:
        """conv + a + c = conv + (a + c), for the bias that a shift before the convolution became and its own."""
        outer = self._affine(self.node.results[0])
        inner = None if outer is None else self._affine(outer.x)
        if outer is None or inner is None or self.uses.get(outer.x, 0) != 1:
            return None
        x, first, second = inner.x, inner.shift, outer.shift
        if first is None or second is None or first.axes != (0,) or second.axes != (0,):
            return None
        if x.node is None or not isinstance(x.node.op, Conv):
            return None

        def make() -> Value:
            bias = b.add(first.channels(), second.channels())
            return b.add(x, b.broadcast_in_dim(bias, x.type.shape, (1,)))

        return make

    def _affine(self, value: Value) -> _Affine | None:
        """The value as x s or x + t, where s or t repeats for each sample and is fixed."""
        node = value.node
        if node is None or not isinstance(node.op, (Add, Sub, Mul, Div)) or not value.type.dtype.is_float:
            return None
        left, right = node.operands
        if isinstance(node.op, (Add, Mul)) and left in self.fixed:
            left, right = right, left
        part = self._repeated(right, node.op)
        if part is None or left in self.fixed:
            return None
        return _Affine(left, None, part) if isinstance(node.op, (Add, Sub)) else _Affine(left, part, None)

    def _repeated(self, value: Value, op: Op) -> _Repeated | None:
        """What the right operand of an affine op repeats for each sample, if it is fixed."""
        node = value.node
        if node is None or not isinstance(node.op, BroadcastInDim) or 0 in node.op.axes:
            return None
        if value not in self.fixed:
            return None
        change = b.neg if isinstance(op, Sub) else b.reciprocal if isinstance(op, Div) else _itself
        axes = tuple(axis - 1 for axis in node.op.axes)
        return _Repeated(node.operands[0], axes, value.type.shape[1:], change)


def _as_kernel(channels: Value, w: Value) -> Value:
    """One number an input channel, where a convolution's weights multiply that channel; groups have their own."""
    (count,), (out, width, *_) = channels.type.static_shape(), w.type.static_shape()
    groups = count // width
    blocks = b.broadcast_in_dim(b.reshape(channels, (groups, width)), (groups, out // groups, width), (0, 2))
    return b.broadcast_in_dim(b.reshape(blocks, (out, width)), w.type.shape, (0, 1))


def _itself(value: Value) -> Value:
    return value
