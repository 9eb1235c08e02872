# long file: one planted fault a rewrite
"""Wrong rewrites to be planted one at a time, each with a piece of program that it spoils and the names to be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import nervure.passes.canonicalize as canonicalize
import nervure.passes.cse as cse
import nervure.passes.decompose as decompose
import nervure.passes.fold_affine as fold_affine
import nervure.passes.fold_batchnorm as fold_batchnorm
import nervure.passes.fold_constants as fold_constants
import nervure.passes.fuse_region as fuse_region
import nervure.passes.inline as inline
import nervure.passes.sink_transposes as sink_transposes
import nervure.passes.split_prepare as split_prepare
import nervure.passes.unroll as unroll
from nervure.ir import build as b
from nervure.ir.graph import Graph, Node, Value, make, make_one, rebuild
from nervure.ir.ops.move import Permute
from nervure.ir.ops.nn import BatchNorm, Linear, Relu, Softmax
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32
from nervure.passes.rules.base import producer

__all__ = ["PIPELINE", "PLANTS", "Plant", "Weights", "network"]

PIPELINE = (
    "check-windows,inline,canonicalize,fold-constants,cse,dce,fold-batchnorm,fold-affine,sink-transposes,"
    "decompose{keep=relu},unroll{max=1024},canonicalize,fold-constants,cse,dce,split-prepare,fuse,dce,order"
)
"""What a program goes through before LLVM."""

Patch = pytest.MonkeyPatch
Operands = tuple[Value, ...]


class Weights:
    """Entries of a store under construction."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.entries: list[Entry] = []

    def __call__(self, *shape: int, positive: bool = False) -> Value:
        """A read of a new entry."""
        data = self.rng.standard_normal(shape).astype(np.float32)
        entry = Entry(
            f"w{len(self.entries)}",
            TensorType(f32, shape),
            "param",
            True,
            np.abs(data) + 0.5 if positive else data,
        )
        self.entries.append(entry)
        return Value(entry.type, entry=entry.name)


Piece = Callable[[Value, Weights], Value]


def network(piece: Piece) -> tuple[Program, list[Any]]:
    """A network of about forty nodes with the piece, from f32[4,6] to f32[4,6], in its middle."""
    w = Weights()
    x = h = Value(TensorType(f32, (4, 6)), name="x")
    for k in range(2):
        with origins_of((Origin("net.py", 3 + k),)):
            h = block(h, w, f"before{k}")
    with origins_of((Origin("net.py", 5),)):
        h = piece(h, w)
    with origins_of((Origin("net.py", 7),)):
        y = make_one(Linear(), h, w(6, 6), w(6), name="middle")
        y = block(make_one(Relu(), y), w, "after")
    with origins_of((Origin("net.py", 8),)):
        y = b.add(y, b.erf(b.mul(y, b.broadcast_in_dim(w(6), (4, 6), (1,)))))
        top = b.reduce_max(y, (1,))
        shares = make_one(Softmax(1), y, name="shares")
    program = Program("net", [Graph("forward", [x], [shares, top])], Store(w.entries))
    return program, [np.random.default_rng(5).standard_normal((4, 6)).astype(np.float32)]


def block(x: Value, w: Weights, name: str) -> Value:
    """A gated layer less its mean."""
    h = make_one(Linear(), x, w(6, 6), w(6), name=name)
    h = b.add(b.tanh(h), b.mul(x, b.sigmoid(h)))
    mean = b.div(b.reduce_sum(h, (1,)), b.full(TensorType(f32, (4,)), 6.0))
    return b.sub(h, b.broadcast_in_dim(mean, (4, 6), (0,)))


@dataclass(frozen=True)
class Plant:
    """One fault.

    Args:
        name:     what is done wrongly
        pass_:    the pass that does it
        rewrite:  the name of the rewrite
        plant:    puts the fault in
        piece:    what it spoils
    """

    name: str
    pass_: str
    rewrite: str
    plant: Callable[[Patch], None]
    piece: Piece

    @property
    def blame(self) -> tuple[str, str, str]:
        return ("pass", self.pass_, self.rewrite)


# how faults get in
def wrong_rule(name: str, apply: Callable[[Node, Operands], Value | None]) -> Callable[[Patch], None]:
    """A rule of the table with another function."""

    def plant(patch: Patch) -> None:
        assert any(r.name == name for r in canonicalize.RULES), name
        rules = tuple(replace(r, apply=apply) if r.name == name else r for r in canonicalize.RULES)

        def rules_for(kind: Any) -> Any:
            return tuple(
                r for r in rules if issubclass(kind, r.op) and r.accuracy.value <= kind.accuracy.value
            )

        patch.setattr(canonicalize, "rules_for", rules_for)

    return plant


def instead(where: Any, name: str, function: Any) -> Callable[[Patch], None]:
    """Another function of a module or class; it gets the one that was there first."""

    def plant(patch: Patch) -> None:
        kept = getattr(where, name)
        patch.setattr(where, name, lambda *args, **more: function(kept, *args, **more))

    return plant


def changed(name: str, change: Callable[[Value], Value]) -> Callable[[Patch], None]:
    """A rule whose result is changed."""
    (rule,) = (r for r in canonicalize.RULES if r.name == name)

    def apply(node: Node, operands: Operands) -> Value | None:
        found = rule.apply(node, operands)
        return None if found is None else change(found)

    return wrong_rule(name, apply)


def swapped(found: Value) -> Value:
    """The op of the value on its operands in the other order."""
    assert found.node is not None
    return make_one(found.node.op, *reversed(found.node.operands))


def inner_of(node: Node, operands: Operands, op: str) -> Node | None:
    made = operands[0].node
    return made if made is not None and made.op.mnemonic == op else None


def number(x: Value, value: float) -> Value:
    return b.full(x.type, value)


def widened(y: Value, shape: tuple[int, ...] = (4, 6)) -> Value:
    """A value brought to f32[4,6] by its sum over all axes but what fits."""
    return b.broadcast_in_dim(b.reduce_sum(y, range(y.type.rank)), shape, ())


# the faults
def wrong_permutes(node: Node, operands: Operands) -> Value | None:
    inner = producer(operands[0], Permute)
    if inner is None:
        return None
    p, q = inner.op.axes, node.op.axes  # type: ignore[attr-defined]
    return b.permute(inner.operands[0], tuple(q[a] for a in p))


def three_permutes(x: Value, w: Weights) -> Value:
    cube = b.reshape(x, (2, 2, 2, 3))
    y = b.permute(b.permute(cube, (1, 2, 0, 3)), (0, 2, 1, 3))
    return b.reshape(y, (4, 6))


def wrong_slices(node: Node, operands: Operands) -> Value | None:
    inner = inner_of(node, operands, "slice")
    if inner is None:
        return None
    starts = inner.op.starts  # type: ignore[attr-defined]
    limits = tuple(s + d for s, d in zip(starts, node.results[0].type.shape, strict=True))
    return b.slice_(inner.operands[0], starts, limits)


def two_slices(x: Value, w: Weights) -> Value:
    y = b.slice_(b.slice_(x, (0, 1), (4, 6)), (0, 2), (4, 5))
    return b.concat([y, y], 1)


def wrong_neighbours(node: Node, operands: Operands) -> Value | None:
    parts = [o.node for o in operands]
    if any(p is None or p.op.mnemonic != "slice" for p in parts):
        return None
    shape = node.results[0].type.shape
    source = parts[0].operands[0]  # type: ignore[union-attr]
    ends = source.type.shape
    return b.slice_(source, tuple(e - s for e, s in zip(ends, shape, strict=True)), ends)


def neighbours(x: Value, w: Weights) -> Value:
    y = b.concat([b.slice_(x, (0, 0), (4, 2)), b.slice_(x, (0, 2), (4, 4))], 1)
    return b.concat([y, b.slice_(x, (0, 1), (4, 3))], 1)


def wrong_part(node: Node, operands: Operands) -> Value | None:
    inner = inner_of(node, operands, "concat")
    if inner is None or inner.operands[0].type != node.results[0].type:
        return None
    return inner.operands[0]


def part_of_concat(x: Value, w: Weights) -> Value:
    return b.slice_(b.concat([b.tanh(x), b.exp(x)], 0), (4, 0), (8, 6))


def wrong_pads(node: Node, operands: Operands) -> Value | None:
    inner = inner_of(node, operands, "pad")
    if inner is None:
        return None
    low, high = (
        tuple(p + q for p, q in zip(getattr(node.op, side), getattr(inner.op, side), strict=True))
        for side in ("low", "high")
    )
    return b.pad(inner.operands[0], operands[1], high, low, (0, 0))


def two_pads(x: Value, w: Weights) -> Value:
    zero = b.constant(0.0, f32)
    y = b.pad(x, zero, (0, 2), (0, 0), (0, 0))
    y = b.pad(y, zero, (0, 1), (0, 0), (0, 0))
    return b.slice_(y, (0, 2), (4, 8))


def wrong_reverses(node: Node, operands: Operands) -> Value | None:
    inner = inner_of(node, operands, "reverse")
    return None if inner is None else b.reverse(inner.operands[0], (0, 1))


def other_branch(node: Node, operands: Operands) -> Value | None:
    condition, x, y = operands
    inner = x.node
    if inner is None or inner.op.mnemonic != "select" or inner.operands[0] is not condition:
        return None
    return b.select(condition, inner.operands[2], y)


def nested_selects(x: Value, w: Weights) -> Value:
    positive = b.gt(x, number(x, 0.0))
    return b.select(positive, b.select(positive, b.exp(x), b.tanh(x)), x)


def not_swapped(node: Node, operands: Operands) -> Value | None:
    inner = operands[0].node
    if inner is None or inner.op.mnemonic != "not":
        return None
    return b.select(inner.operands[0], operands[1], operands[2])


def wrong_reduction(node: Node, operands: Operands) -> Value | None:
    inner = producer(operands[0], Permute)
    return None if inner is None else make_one(node.op, inner.operands[0])


def squared(x: Value) -> Value:
    """f32[6,6]."""
    return b.matmul(b.permute(x, (1, 0)), b.exp(x))


def max_of_permute(x: Value, w: Weights) -> Value:
    top = b.reduce_max(b.permute(squared(x), (1, 0)), (0,))
    return b.add(x, b.broadcast_in_dim(top, (4, 6), (1,)))


def wrong_axes(node: Node, operands: Operands) -> Value | None:
    inner = inner_of(node, operands, "broadcast_in_dim")
    if inner is None:
        return None
    return b.broadcast_in_dim(inner.operands[0], node.results[0].type.shape, inner.op.axes)  # type: ignore[attr-defined]


def two_broadcasts(x: Value, w: Weights) -> Value:
    wide = b.broadcast_in_dim(b.broadcast_in_dim(b.tanh(w(6)), (6, 6), (1,)), (4, 6, 6), (1, 2))
    y = b.mul(wide, b.broadcast_in_dim(x, (4, 6, 6), (0, 1)))
    return b.reduce_sum(y, (1,))


def fold_square(kept: Any, op: Any, x: Value) -> Value | None:
    return x if [x.type.shape[a] for a in op.axes] == list(x.type.shape) else None


def dot_of_permute(x: Value, w: Weights) -> Value:
    y = b.mul(b.broadcast_in_dim(b.reduce_max(x, (0,)), (6, 6), (0,)), w(6, 6))
    return b.matmul(x, b.matmul(y, b.permute(b.tanh(y), (1, 0))))


def unpermuted(kept: Any, permutation: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return kept(permutation, axes) if len(permutation) != 2 or permutation[0] == 0 else tuple(axes)


def constants(x: Value, w: Weights) -> Value:
    a = b.constant(np.array([1, 2, 3, 4, 5, 6], np.float32))
    c = b.constant(np.array([3, 1, 2, 7, 5, 4], np.float32))
    return b.mul(x, b.broadcast_in_dim(b.sub(a, c), (4, 6), (1,)))


def folded_backwards(kept: Any, array: Any, result: Value) -> Value:
    return kept(array[::-1] if array.ndim else array, result)


def merging(key: Callable[[Node, Operands], Any]) -> Callable[[Patch], None]:
    """Common subexpressions by another key."""

    def merge(kept: Any, graph: Graph, remarks: Any) -> Graph:
        known: dict[Any, tuple[Value, ...]] = {}

        def rewrite(node: Node, operands: Operands) -> Sequence[Value] | None:
            found = known.get(key(node, operands))
            if found is not None and found[0].type == node.results[0].type and remarks.allow("cse"):
                return found
            results = (
                node.results if operands == node.operands else make(node.op, *operands, regions=node.regions)
            )
            known[key(node, operands)] = results
            return None if operands == node.operands else results

        return rebuild(graph, rewrite)

    return instead(cse, "_merge", merge)


def two_halves(x: Value, w: Weights) -> Value:
    return b.concat([b.slice_(x, (0, 3), (4, 6)), b.slice_(x, (0, 0), (4, 3))], 1)


def with_batch_norm(x: Value, w: Weights) -> Value:
    y = make_one(Linear(), x, w(6, 6), w(6))
    return make_one(BatchNorm(), y, w(6), w(6), w(6), w(6, positive=True))


def without_shift(kept: Any, node: Node, layer: Any, statistics: Sequence[Value]) -> Value:
    weight, shift, mean, var = statistics
    return kept(node, layer, (weight, b.neg(shift), mean, var))


def without_root(kept: Any, node: Node, layer: Any, statistics: Sequence[Value]) -> Value:
    weight, shift, mean, var = statistics
    return kept(node, layer, (weight, shift, mean, b.mul(var, var)))


def minus_weights(x: Value, w: Weights) -> Value:
    return b.sub(x, b.broadcast_in_dim(w(6), (4, 6), (1,)))


def added_features(kept: Any, self: Any, count: Any) -> Value:
    return b.abs(kept(self, count))


def calls(x: Value, w: Weights) -> Value:
    p, q = Value(x.type, name="p"), Value(x.type, name="q")
    (y,) = b.remat(Graph("", [p, q], [b.sub(p, b.exp(q))]), [x, b.tanh(x)])
    return y


def swapped_call(kept: Any, body: Graph, operands: Sequence[Value]) -> Any:
    return kept(body, list(reversed(operands)))


def loop(x: Value, w: Weights) -> Value:
    row = TensorType(f32, (6,))
    c, r = Value(row, name="c"), Value(row, name="r")
    after = b.tanh(b.add(c, b.mul(r, number(r, 0.5))))
    start = b.reduce_max(x, (0,))
    last, every = b.scan(Graph("", [c, r], [after, b.exp(after)]), [start], [x], [], length=4)
    return b.add(every, b.broadcast_in_dim(last, (4, 6), (1,)))


def next_row(kept: Any, x: Value, t: int) -> Value:
    return kept(x, (t + 1) % int(str(x.type.shape[0])))


def softmax_inside(x: Value, w: Weights) -> Value:
    return make_one(Softmax(1), x)


def softmax_of_columns(x: Value, w: Weights) -> Value:
    return make_one(Softmax(0), x)


def along_0(kept: Any, node: Node, operands: Sequence[Value]) -> Any:
    if isinstance(node.op, Softmax) and node.op.axis == 0:
        return kept(make_one(Softmax(1), *operands).node, operands)
    return kept(node, operands)


def of_weights(x: Value, w: Weights) -> Value:
    scale = b.exp(b.mul(w(6), w(6)))
    return b.mul(x, b.broadcast_in_dim(scale, (4, 6), (1,)))


def prepared_wrongly(kept: Any, program: Program, names: Any, values: Sequence[Value]) -> Graph:
    return kept(program, names, [b.add(v, v) for v in values])


def chain(x: Value, w: Weights) -> Value:
    e = b.exp(b.mul(x, x))
    return b.div(b.sub(e, x), b.add(e, number(x, 1.0)))


def fused_swapped(kept: Any, group: Any, mapping: Any) -> tuple[Value, ...]:
    node = kept(group, mapping)[0].node
    operands = list(node.operands)
    for j, k in combinations(range(len(operands)), 2):
        if operands[j].type == operands[k].type:
            operands[j], operands[k] = operands[k], operands[j]
            break
    return make(node.op, *operands, regions=node.regions)


def two_inputs(x: Value, w: Weights) -> Value:
    return b.sub(b.exp(b.cumsum(x, 1)), b.tanh(b.cumsum(x, 0)))


def unary(value: Callable[[Value], Value]) -> Piece:
    return lambda x, w: value(x)


PLANTS = (
    Plant("x + -y as y - x", "canonicalize", "add-neg", changed("add-neg", swapped),
          unary(lambda x: b.add(b.exp(x), b.neg(b.tanh(x))))),
    Plant("x - -y as x - y", "canonicalize", "sub-neg",
          wrong_rule("sub-neg", lambda n, o: b.sub(o[0], o[1].node.operands[0]) if o[1].node and o[1].node.op.mnemonic == "neg" else None),
          unary(lambda x: b.sub(b.exp(x), b.neg(b.tanh(x))))),
    Plant("x / 4 as x * 4", "canonicalize", "div-power-of-two",
          wrong_rule("div-power-of-two", lambda n, o: b.mul(*o) if o[1].node and o[1].node.op.mnemonic == "broadcast_in_dim" and o[1].node.operands[0].node and float(o[1].node.operands[0].node.op.value.array) == 4 else None),
          unary(lambda x: b.div(x, number(x, 4.0)))),
    Plant("x ^ 2 as x + x", "canonicalize", "pow-two", changed("pow-two", lambda v: b.add(v.node.operands[0], v.node.operands[0])),  # type: ignore[union-attr]
          unary(lambda x: b.pow(b.exp(x), number(x, 2.0)))),
    Plant("x * -1 as x", "canonicalize", "mul-minus-one", changed("mul-minus-one", lambda v: v.node.operands[0]),  # type: ignore[union-attr]
          unary(lambda x: b.mul(x, number(x, -1.0)))),
    Plant("|-x| as x", "canonicalize", "abs-neg", changed("abs-neg", lambda v: v.node.operands[0]),  # type: ignore[union-attr]
          unary(lambda x: b.abs(b.neg(x)))),
    Plant("permutes composed the wrong way", "canonicalize", "merge-permutes",
          wrong_rule("merge-permutes", wrong_permutes), three_permutes),
    Plant("a slice's offset forgotten", "canonicalize", "merge-slices", wrong_rule("merge-slices", wrong_slices), two_slices),
    Plant("neighbours from the wrong end", "canonicalize", "concat-of-neighbours",
          wrong_rule("concat-of-neighbours", wrong_neighbours), neighbours),
    Plant("the first part whatever the slice", "canonicalize", "slice-of-concat",
          wrong_rule("slice-of-concat", wrong_part), part_of_concat),
    Plant("low and high of a pad exchanged", "canonicalize", "merge-pads", wrong_rule("merge-pads", wrong_pads), two_pads),
    Plant("all axes reversed", "canonicalize", "merge-reverses", wrong_rule("merge-reverses", wrong_reverses),
          unary(lambda x: b.reverse(b.reverse(x, (0,)), (0, 1)))),
    Plant("the other branch of an inner select", "canonicalize", "select-in-select",
          wrong_rule("select-in-select", other_branch), nested_selects),
    Plant("branches that stay for a not", "canonicalize", "select-of-not", wrong_rule("select-of-not", not_swapped),
          unary(lambda x: b.select(b.not_(b.gt(x, number(x, 0.0))), b.exp(x), x))),
    Plant("a reduction's axis not permuted", "canonicalize", "reduce-of-permute-reduce_max",
          wrong_rule("reduce-of-permute-reduce_max", wrong_reduction), max_of_permute),
    Plant("broadcast along the inner axes", "canonicalize", "merge-broadcasts",
          wrong_rule("merge-broadcasts", wrong_axes), two_broadcasts),
    Plant("square permutes dropped", "canonicalize", "fold-permute", instead(Permute, "fold", fold_square), dot_of_permute),
    Plant("folded constants backwards", "fold-constants", "fold-constants",
          instead(fold_constants, "_constant", folded_backwards), constants),
    Plant("attributes not compared", "cse", "cse", merging(lambda n, o: (type(n.op), o) if o else n), two_halves),
    Plant("operands compared as a set", "cse", "cse", merging(lambda n, o: (n.op, frozenset(o)) if o else n),
          unary(lambda x: b.mul(b.sub(x, b.exp(x)), b.tanh(b.sub(b.exp(x), x))))),
    Plant("a batch norm's bias negated", "fold-batchnorm", "fold-batchnorm",
          instead(fold_batchnorm, "_folded", without_shift), with_batch_norm),
    Plant("a batch norm without the root", "fold-batchnorm", "fold-batchnorm",
          instead(fold_batchnorm, "_folded", without_root), with_batch_norm),
    Plant("a shift's sign lost", "fold-affine", "fold-affine",
          instead(fold_affine._Repeated, "features", added_features), minus_weights),
    Plant("a product's axes not permuted", "sink-transposes", "sink-transposes",
          instead(sink_transposes, "_through", unpermuted), dot_of_permute),
    Plant("a call's operands exchanged", "inline", "inline", instead(inline, "inline", swapped_call), calls),
    Plant("a loop's rows moved by one", "unroll", "unroll", instead(unroll, "_row", next_row), loop),
    Plant("softmax along the wrong axis", "decompose", "decompose-softmax",
          instead(decompose, "decomposed", along_0), softmax_of_columns),
    Plant("weights prepared twice as large", "split-prepare", "split-prepare",
          instead(split_prepare, "_prepare", prepared_wrongly), of_weights),
    Plant("a group's operands exchanged", "fuse", "fuse", instead(fuse_region, "_fused", fused_swapped), two_inputs),
)  # fmt: skip
