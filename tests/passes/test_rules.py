"""Each rule of the table: it fires on its example, adds no node, and keeps values, to the bit where it says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import Accuracy
from nervure.ir.ops.elementwise import Rem
from nervure.ir.ops.nn import Relu
from nervure.ir.text import parse_type
from nervure.ir.verify import verify_graph
from nervure.passes.base import Remarks
from nervure.passes.canonicalize import Canonicalize, improve
from nervure.passes.rules import RULES

Example = Callable[..., Value]


def wide(x: Value, *shape: int) -> Value:
    return b.broadcast_in_dim(x, (*shape, *x.type.shape), range(len(shape), len(shape) + x.type.rank))


def const(x: Value, number: float) -> Value:
    return b.full_like(x, number)


def cut(x: Value, start: int, stop: int) -> Value:
    rest = x.type.shape[1:]
    return b.slice_(x, (start, *(0 for _ in rest)), (stop, *rest))


def clamped(lo: Value, x: Value, hi: Value) -> Value:
    return b.clamp(wide(lo, 2), wide(x, 2), wide(hi, 2))


F, F2, F3 = "f32[5]", "f32[3,4]", "f32[2,3,4]"
N, U, P = "i32[5]", "u8[5]", "bool[5]"

EXAMPLES: dict[str, tuple[list[str], Example]] = {
    "merge-permutes": ([F3], lambda x: b.permute(b.permute(x, (1, 0, 2)), (2, 1, 0))),
    "permute-only-ones": (["f32[3,1,4]"], lambda x: b.permute(x, (1, 0, 2))),
    "merge-reshapes": ([F3], lambda x: b.reshape(b.reshape(x, (6, 4)), (24,))),
    "merge-slices": (["f32[9,2]"], lambda x: b.slice_(cut(x, 2, 8), (1, 0), (5, 2), (2, 1))),
    "slice-of-concat": ([F2, "f32[2,4]"], lambda x, y: cut(b.concat([x, y], 0), 3, 5)),
    "slice-of-permute": ([F3], lambda x: b.slice_(b.permute(x, (2, 0, 1)), (1, 0, 0), (3, 2, 1), (1, 1, 1))),
    "slice-of-unit-reshape": (["f32[6,1,4]"], lambda x: cut(b.reshape(x, (6, 4, 1)), 1, 3)),
    "concat-without-empty": ([F2, "f32[0,4]"], lambda x, y: b.concat([x, y, x], 0)),
    "concat-of-neighbours": (["f32[6,2]"], lambda x: b.concat([cut(x, 1, 3), cut(x, 3, 4)], 0)),
    "merge-pads": (
        [F2, "f32[]"],
        lambda x, v: b.pad(b.pad(x, v, (1, 0), (0, 2), (1, 0)), v, (2, 1), (0, 0)),
    ),
    "merge-reverses": ([F3], lambda x: b.reverse(b.reverse(x, (0, 2)), (1, 2))),
    "reverse-of-short": (["f32[3,1,4]"], lambda x: b.reverse(x, (0, 1))),
    "merge-broadcasts": ([F], lambda x: wide(wide(x, 2), 3)),
    "broadcast-of-reshape": ([F], lambda x: b.broadcast_in_dim(b.reshape(x, (1, 5)), (3, 5), (0, 1))),
    "reshape-of-broadcast": ([F], lambda x: b.reshape(wide(x, 2), (2, 1, 5))),
    "permute-of-broadcast": ([F2], lambda x: b.permute(wide(x, 2), (2, 0, 1))),
    "slice-of-broadcast": ([F], lambda x: cut(wide(x, 4), 1, 3)),
    "reverse-of-broadcast": ([F2], lambda x: b.reverse(wide(x, 2), (0, 1))),
    "broadcast-last-unary": ([F], lambda x: b.neg(wide(x, 2))),
    "broadcast-last-binary": ([F, F], lambda x, y: b.add(wide(x, 2), wide(y, 2))),
    "broadcast-last-compare": ([F, F], lambda x, y: b.lt(wide(x, 2), wide(y, 2))),
    "broadcast-last-predicate": ([F], lambda x: b.is_nan(wide(x, 2))),
    "broadcast-last-select": ([P, F, F], lambda c, x, y: b.select(wide(c, 2), wide(x, 2), wide(y, 2))),
    "broadcast-last-clamp": ([F, F, F], clamped),
    "broadcast-last-cast": ([F], lambda x: b.cast(wide(x, 2), parse_type("i32[]").dtype)),
    "broadcast-last-step": ([F], lambda x: b.step(wide(x, 2), 0.5)),
    "broadcast-last-fma": ([F, F, F], lambda x, y, z: b.fma(wide(x, 2), wide(y, 2), wide(z, 2))),
    "broadcast-last-bitcast": ([F], lambda x: b.bitcast(wide(x, 2), parse_type("i32[]").dtype)),
    "broadcast-last-relu": ([F], lambda x: make_one(Relu(), wide(x, 2))),
    "extreme-of-broadcast-reduce_max": ([F], lambda x: b.reduce_max(wide(x, 2, 3), (0,))),
    "extreme-of-broadcast-reduce_min": ([F], lambda x: b.reduce_min(wide(x, 2), (0,))),
    "extreme-of-broadcast-reduce_any": ([P], lambda x: b.reduce_any(wide(x, 2), (0,))),
    "extreme-of-broadcast-reduce_all": ([P], lambda x: b.reduce_all(wide(x, 2), (0,))),
    "sum-of-broadcast": ([U], lambda x: b.reduce_sum(wide(x, 3, 100), (0, 1))),
    "merge-reductions-reduce_max": ([F3], lambda x: b.reduce_max(b.reduce_max(x, (1,)), (1,))),
    "merge-reductions-reduce_min": ([F3], lambda x: b.reduce_min(b.reduce_min(x, (0,)), (0,))),
    "merge-reductions-reduce_any": (["bool[2,3]"], lambda x: b.reduce_any(b.reduce_any(x, (1,)), (0,))),
    "merge-reductions-reduce_all": (["bool[2,3]"], lambda x: b.reduce_all(b.reduce_all(x, (1,)), (0,))),
    "reduce-ones-reduce_max": (["f32[3,1]"], lambda x: b.reduce_max(x, (1,))),
    "reduce-ones-reduce_min": (["f32[3,1]"], lambda x: b.reduce_min(x, (1,))),
    "reduce-ones-reduce_any": (["bool[3,1]"], lambda x: b.reduce_any(x, (1,))),
    "reduce-ones-reduce_all": (["bool[3,1]"], lambda x: b.reduce_all(x, (1,))),
    "reduce-ones-reduce_sum": (["i32[3,1]"], lambda x: b.reduce_sum(x, (1,))),
    "reduce-of-reshape": ([F2], lambda x: b.reduce_sum(b.reshape(x, (3, 1, 4)), (2,))),
    "reduce-of-permute-reduce_max": ([F3], lambda x: b.reduce_max(b.permute(x, (2, 0, 1)), (0,))),
    "reduce-of-permute-reduce_min": ([F3], lambda x: b.reduce_min(b.permute(x, (1, 0, 2)), (0, 1))),
    "reduce-of-permute-reduce_any": (["bool[2,3]"], lambda x: b.reduce_any(b.permute(x, (1, 0)), (0,))),
    "reduce-of-permute-reduce_all": (["bool[2,3]"], lambda x: b.reduce_all(b.permute(x, (1, 0)), (1,))),
    "sum-of-permute": ([F3], lambda x: b.reduce_sum(b.permute(x, (2, 0, 1)), (0,))),
    "double-neg": ([F], lambda x: b.neg(b.neg(x))),
    "double-abs": ([F], lambda x: b.abs(b.abs(x))),
    "double-floor": ([F], lambda x: b.floor(b.floor(x))),
    "double-ceil": ([F], lambda x: b.ceil(b.ceil(x))),
    "double-round_even": ([F], lambda x: b.round_even(b.round_even(x))),
    "double-sign": ([F], lambda x: b.sign(b.sign(x))),
    "double-relu": ([F], lambda x: make_one(Relu(), make_one(Relu(), x))),
    "abs-neg": ([F], lambda x: b.abs(b.neg(x))),
    "mul-one": ([F], lambda x: b.mul(x, const(x, 1))),
    "div-one": ([F], lambda x: b.div(x, const(x, 1))),
    "mul-minus-one": ([F], lambda x: b.mul(x, const(x, -1))),
    "sub-zero": ([F], lambda x: b.sub(x, const(x, 0))),
    "add-zero": ([F], lambda x: b.add(x, const(x, -0.0))),
    "constant-right-add": ([F], lambda x: b.add(const(x, 3), x)),
    "constant-right-mul": ([F], lambda x: b.mul(const(x, 3), x)),
    "constant-right-min": ([F], lambda x: b.min(const(x, 3), x)),
    "constant-right-max": ([F], lambda x: b.max(const(x, 3), x)),
    "constant-right-and": ([N], lambda x: b.and_(const(x, 3), x)),
    "constant-right-or": ([N], lambda x: b.or_(const(x, 3), x)),
    "constant-right-xor": ([N], lambda x: b.xor(const(x, 3), x)),
    "add-neg": ([F, F], lambda x, y: b.add(x, b.neg(y))),
    "sub-neg": ([F, F], lambda x, y: b.sub(x, b.neg(y))),
    "mul-both-negative": ([F, F], lambda x, y: b.mul(b.neg(x), b.neg(y))),
    "div-both-negative": ([F, F], lambda x, y: b.div(b.neg(x), b.neg(y))),
    "div-power-of-two": ([F], lambda x: b.div(x, const(x, -8))),
    "pow-one": ([F], lambda x: b.pow(x, const(x, 1))),
    "pow-two": ([F], lambda x: b.pow(x, const(x, 2))),
    "same-min": ([F], lambda x: b.min(x, x)),
    "same-max": ([F], lambda x: b.max(x, x)),
    "same-and": ([N], lambda x: b.and_(x, x)),
    "same-or": ([N], lambda x: b.or_(x, x)),
    "int-mul-zero": ([N], lambda x: b.mul(x, const(x, 0))),
    "and-zero": ([N], lambda x: b.and_(x, const(x, 0))),
    "and-ones": ([U], lambda x: b.and_(x, const(x, 255))),
    "or-zero": ([P], lambda x: b.or_(x, const(x, False))),
    "or-ones": ([N], lambda x: b.or_(x, const(x, -1))),
    "xor-zero": ([N], lambda x: b.xor(x, const(x, 0))),
    "shl-zero": ([N], lambda x: b.shl(x, const(x, 0))),
    "shr-zero": ([N], lambda x: b.shr(x, const(x, 0))),
    "rem-one": ([N], lambda x: make_one(Rem(), x, const(x, 1))),
    "int-sub-equal": ([N], lambda x: b.sub(x, x)),
    "xor-equal": ([N], lambda x: b.xor(x, x)),
    "int-eq-equal": ([N], lambda x: b.eq(x, x)),
    "int-le-equal": ([N], lambda x: b.le(x, x)),
    "int-ge-equal": ([N], lambda x: b.ge(x, x)),
    "int-ne-equal": ([N], lambda x: b.ne(x, x)),
    "int-lt-equal": ([N], lambda x: b.lt(x, x)),
    "int-gt-equal": ([N], lambda x: b.gt(x, x)),
    "gather-constants-add": ([U], lambda x: b.add(b.add(x, const(x, 200)), const(x, 100))),
    "gather-constants-mul": ([U], lambda x: b.mul(b.mul(x, const(x, 20)), const(x, 30))),
    "gather-constants-and": ([U], lambda x: b.and_(b.and_(x, const(x, 7)), const(x, 28))),
    "gather-constants-or": ([U], lambda x: b.or_(b.or_(x, const(x, 7)), const(x, 28))),
    "gather-constants-xor": ([U], lambda x: b.xor(b.xor(x, const(x, 7)), const(x, 28))),
    "double-not": ([P], lambda x: b.not_(b.not_(x))),
    "not-of-compare": ([F, F], lambda x, y: b.not_(b.eq(x, y))),
    "known-condition": ([F, F], lambda x, y: b.select(b.full(parse_type(P), True), x, y)),
    "select-of-not": ([P, F, F], lambda c, x, y: b.select(b.not_(c), x, y)),
    "select-of-truths": ([P], lambda c: b.select(c, const(c, False), const(c, True))),
    "select-in-select": ([P, F, F], lambda c, x, y: b.select(c, b.select(c, x, y), x)),
    "cast-chain": (
        ["i8[5]"],
        lambda x: b.cast(b.cast(x, parse_type("f32[]").dtype), parse_type("i64[]").dtype),
    ),
}

SPECIAL = np.array([-0.0, 0.0, np.nan, np.inf, -np.inf, 1.5, -2.5, 1e-45, 3e38, -7.0], dtype=np.float32)


def arrays_for(inputs: list[Value], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for v in inputs:
        shape, dtype = v.type.static_shape(), v.type.dtype
        if dtype.is_float:
            plain = rng.standard_normal(shape).astype(dtype.numpy)
            special = rng.choice(SPECIAL, size=shape).astype(dtype.numpy)
            found.append(np.where(rng.random(shape) < 0.5, special, plain) if seed else plain)
        elif dtype.kind == "bool":
            found.append(rng.random(shape) < 0.5)
        else:
            info = np.iinfo(dtype.numpy)
            found.append(rng.integers(info.min, info.max, size=shape, endpoint=True, dtype=dtype.numpy))
    return found


def same_bits(a: np.ndarray, c: np.ndarray) -> bool:
    if a.dtype != c.dtype or a.shape != c.shape:
        return False
    nan = a != a
    return bool(np.array_equal(nan, c != c)) and a[~nan].tobytes() == c[~nan].tobytes()


def work(graph: Graph) -> int:
    """Nodes that compute or move something; constants and broadcasts are pulled into their readers."""
    return sum(n.op.mnemonic not in ("constant", "iota", "broadcast_in_dim") for n in graph.nodes)


def test_every_rule_has_a_name_of_its_own_and_an_example():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_fires_on_its_example_and_keeps_its_values(name: str):
    types, example = EXAMPLES[name]
    inputs = [Value(parse_type(t), name=f"x{k}") for k, t in enumerate(types)]
    graph = Graph("f", inputs, [example(*inputs)])
    remarks = Remarks()
    after = Canonicalize().run(graph, remarks)
    verify_graph(after)
    assert name in remarks.rewrites, remarks.rewrites
    assert work(after) <= work(graph)
    assert Canonicalize().run(after, Remarks()) is after
    (rule,) = (r for r in RULES if r.name == name)
    for seed in range(4):
        arrays = arrays_for(inputs, seed)
        (before,), _ = evaluate_graph(graph, arrays)
        (now,), _ = evaluate_graph(after, arrays)
        if rule.accuracy is Accuracy.EXACT:
            assert same_bits(before, now), (arrays, before, now)
        else:
            np.testing.assert_allclose(now, before, rtol=1e-5)


def unchanged(types: list[str], example: Example) -> bool:
    inputs = [Value(parse_type(t)) for t in types]
    graph = Graph("f", inputs, [example(*inputs)])
    return Canonicalize().run(graph, Remarks()) is graph


def test_rewrites_that_floats_forbid_are_not_made():
    assert unchanged([F], lambda x: b.add(x, const(x, 0)))
    assert unchanged([F], lambda x: b.sub(x, const(x, -0.0)))
    assert unchanged([F], lambda x: b.mul(x, const(x, 0)))
    assert unchanged([F], lambda x: b.sub(x, x))
    assert unchanged([F], lambda x: b.eq(x, x))
    assert unchanged([F, F], lambda x, y: b.not_(b.lt(x, y)))
    assert unchanged([F], lambda x: b.add(b.add(x, const(x, 1)), const(x, 2)))
    assert unchanged([F], lambda x: b.div(x, const(x, 3)))
    assert unchanged(["f32[3,1]"], lambda x: b.reduce_sum(x, (1,)))
    assert unchanged([F], lambda x: b.reduce_sum(wide(x, 3), (0,)))


def test_casts_that_lose_something_stay():
    def through(middle: str, end: str) -> Example:
        return lambda x: b.cast(b.cast(x, parse_type(f"{middle}[]").dtype), parse_type(f"{end}[]").dtype)

    assert unchanged(["f32[5]"], through("f16", "f32"))
    assert unchanged(["i32[5]"], through("f32", "i32"))
    assert unchanged(["i16[5]"], through("f32", "i8"))
    assert unchanged(["i8[5]"], through("u32", "i64"))
    assert unchanged(["bf16[5]"], through("f16", "f32"))
    assert not unchanged(["f16[5]"], through("f64", "f32"))


def test_reductions_over_what_may_be_empty_stay():
    assert unchanged([P], lambda x: b.reduce_any(b.broadcast_in_dim(x, (0, 5), (1,)), (0,)))


def test_a_rule_sees_the_new_operands_of_a_node():
    x = Value(parse_type(F))
    inner = b.neg(b.neg(x))
    node = b.abs(inner).node
    assert node is not None
    improved = improve(node, (b.neg(x),), Remarks())
    assert improved is not None and improved.node is not None and improved.node.operands == (x,)


def test_constants_go_right_once_and_the_set_terminates():
    x = Value(parse_type("i32[5]"))
    y = x
    for k in range(200):
        y = b.add(const(x, k), y)
    remarks = Remarks()
    after = Canonicalize().run(Graph("f", [x], [y]), remarks)
    assert remarks.notes == []
    (result,), _ = evaluate_graph(after, [np.arange(5, dtype=np.int32)])
    np.testing.assert_array_equal(result, np.arange(5) + sum(range(200)))
