"""Derivatives of every op: by projection against central differences, in first and in second order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from strategies import Instance, arrays, instances, operands_of

from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import InputError, UnsupportedError
from nervure.ir.graph import Graph, Value, make, make_one
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import OPS, Level
from nervure.ir.ops.calls import Remat
from nervure.ir.ops.control import Fuse, Scan
from nervure.ir.ops.elementwise import Pow
from nervure.ir.ops.loops import If, While
from nervure.ir.ops.tree import TreeFold
from nervure.ir.origin import Origin, origins_of
from nervure.ir.types import Array, TensorType, f32, f64, i64
from nervure.ir.verify import verify_graph
from nervure.passes.autodiff import NOT_DIFFERENTIABLE, RULES, gradients, value_and_gradients

STEP = 1e-5
TOLERANCE = 2e-7


DECLARED = ("stop_gradient",)
"""Ops whose derivative is what they say, not the slope."""


def smooth_instances() -> list[Instance]:
    """Those in f64 of ops that have a derivative somewhere and results that are floats."""
    found: list[Instance] = []
    for name in sorted(OPS):
        for instance in instances(name):
            floats = [x for x in instance.types if x.dtype.is_float]
            endless = isinstance(instance.op, While) and instance.op.max_trip is None
            if name in DECLARED or not floats or any(x.dtype != f64 for x in floats) or endless:
                continue
            _, results = instance.apply()
            if any(r.type.dtype == f64 for r in results):
                found.append(instance)
    return found


def scalar(values: Sequence[Value], weights: Sequence[Value]) -> Value:
    """The sum over all elements of values times weights."""
    terms = [b.reduce_sum(b.mul(v, w), range(v.type.rank)) for v, w in zip(values, weights, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = b.add(total, term)
    return total


def derivative_error(
    loss: Value, leaves: Sequence[Value], known: dict[Value, Array], env: dict[str, int], seed: int
) -> tuple[float, list[Value], list[Value]]:
    """How far the derivative along a random direction is from the central difference, relative to the terms.

    Also the gradient's values, and the leaves that have one.
    """
    rng = np.random.default_rng(seed)
    floats = [v for v in leaves if v.type.dtype.is_float]
    found = gradients(loss, floats)
    taken = [(v, g) for v, g in zip(floats, found, strict=True) if g is not None]
    graph = Graph("f", leaves, [loss, *(g for _, g in taken)])
    verify_graph(graph)
    direction = {v: rng.normal(size=known[v].shape) for v in floats}

    def run(by: float) -> list[Array]:
        moved = [known[v] + by * direction[v] if v in direction else known[v] for v in leaves]
        return evaluate_graph(graph, moved, env=env)[0]

    slope = (run(STEP)[0] - run(-STEP)[0]) / (2 * STEP)
    value, *parts = run(0.0)
    terms = [direction[v] * part for (v, _), part in zip(taken, parts, strict=True)]
    total = float(sum(np.sum(x) for x in terms))
    size = 1 + abs(float(value)) + float(sum(np.sum(np.abs(x)) for x in terms))
    assert np.isfinite(total), "the gradient is not finite"
    return abs(total - float(slope)) / size, [g for _, g in taken], [v for v, _ in taken]


@pytest.mark.parametrize("instance", smooth_instances(), ids=str)
def test_the_gradient_is_the_slope_in_first_and_second_order(instance: Instance):
    operands, results = instance.apply()
    known = dict(zip(operands, arrays(instance), strict=True))
    outputs = [r for r in results if r.type.dtype.is_float]
    rng = np.random.default_rng(1)

    def weights(values: Sequence[Value]) -> list[Value]:
        made = [Value(v.type) for v in values]
        known.update({w: rng.normal(size=w.type.concrete(instance.env)) for w in made})
        return made

    first = weights(outputs)
    loss = scalar(outputs, first)
    env = instance.env
    error, grads, _ = derivative_error(loss, list(known), known, env, 2)
    assert error < TOLERANCE
    if not grads:
        assert instance.op.mnemonic in NOT_DIFFERENTIABLE
        return
    again = scalar(grads, weights(grads))
    if "H" in env and instance.op.mnemonic == "conv":  # the images are the windows of the weight's derivative
        with pytest.raises(UnsupportedError, match="needs a window of constant size"):
            gradients(again, operands)
        return
    error, _, _ = derivative_error(again, list(known), known, env, 3)
    assert error < TOLERANCE, "second order"


def test_every_op_has_a_rule_a_decomposition_or_a_reason():
    expanded = {op.mnemonic for op in (Fuse, Scan, If, While, TreeFold, Remat)}
    composites = {name for name, op in OPS.items() if op.level is Level.NN}
    assert not set(RULES) & set(NOT_DIFFERENTIABLE)
    assert set(OPS) == set(RULES) | set(NOT_DIFFERENTIABLE) | composites | expanded
    assert set(RULES) | set(NOT_DIFFERENTIABLE) <= set(OPS)


def test_every_op_with_a_rule_is_held_against_differences():
    held = {i.op.mnemonic for i in smooth_instances()}
    assert set(RULES) - held == set()
    assert {n for n, op in OPS.items() if op.level is not Level.CORE} - set(NOT_DIFFERENTIABLE) <= held


def gradient_at(op_loss: Value, x: Value, at: Array) -> Array:
    (g,) = gradients(op_loss, [x])
    assert g is not None
    return evaluate_graph(Graph("g", [x], [g]), [at])[0][0]


@pytest.mark.parametrize("function", [b.abs, lambda x: b.max(x, b.full_like(x, 0))])
def test_kinks_at_zero_have_the_derivative_in_the_middle(function):
    x = Value(TensorType(f64, (3,)))
    found = gradient_at(b.reduce_sum(function(x), (0,)), x, np.array([-1.0, 0.0, 1.0]))
    assert found[1] == (found[0] + found[2]) / 2


def test_relu_has_the_derivative_0_at_0():
    from nervure.ir.ops.nn import Relu

    x = Value(TensorType(f64, (3,)))
    found = gradient_at(b.reduce_sum(make_one(Relu(), x), (0,)), x, np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found, [0, 0, 1])


def test_reduce_max_shares_among_equals():
    x = Value(TensorType(f64, (4,)))
    found = gradient_at(b.reduce_max(x, (0,)), x, np.array([2.0, 1.0, 2.0, 0.0]))
    np.testing.assert_array_equal(found, [0.5, 0, 0.5, 0])


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize("symbolic", [False, True])
def test_reduce_prod_has_its_derivative_where_elements_are_0(zeros: int, symbolic: bool):
    n = symbol("N", 1, 9) if symbolic else 4
    x = Value(TensorType(f64, (n,)))
    at = np.array([2.0, 3.0, 5.0, 7.0])
    at[:zeros] = 0
    found = gradient_at(b.reduce_prod(x, (0,)), x, at) if not symbolic else None
    if found is None:
        (g,) = gradients(b.reduce_prod(x, (0,)), [x])
        assert g is not None
        found = evaluate_graph(Graph("g", [x], [g]), [at], env={"N": 4})[0][0]
    np.testing.assert_allclose(found, [np.prod(np.delete(at, k)) for k in range(4)], rtol=1e-12)


def test_the_branch_not_taken_leaves_no_nan():
    x = Value(TensorType(f64, (2,)))
    safe = b.gt(x, b.full_like(x, 0))
    inner = b.select(safe, x, b.full_like(x, 1))
    loss = b.reduce_sum(b.select(safe, b.log(inner), b.full_like(x, 0)), (0,))
    np.testing.assert_array_equal(gradient_at(loss, x, np.array([-1.0, 2.0])), [0, 0.5])


@pytest.mark.parametrize(("base", "exponent", "wanted"), [(0.0, 2.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_pow_has_a_finite_derivative_at_0(base: float, exponent: float, wanted: float):
    x, y = Value(TensorType(f64)), Value(TensorType(f64))
    dx, dy = gradients(make_one(Pow(), x, y), [x, y])
    assert dx is not None and dy is not None
    found = evaluate_graph(Graph("g", [x, y], [dx, dy]), [np.array(base), np.array(exponent)])[0]
    np.testing.assert_array_equal(found, [wanted, 0.0])


def test_the_square_root_has_an_infinite_derivative_at_0():
    x = Value(TensorType(f64))
    with np.errstate(divide="ignore"):
        assert gradient_at(b.sqrt(x), x, np.array(0.0)) == np.inf


def test_a_set_twice_at_one_place_pays_the_last_writer():
    indices = b.constant(np.array([1, 1, 0]), i64)
    x, u = Value(TensorType(f64, (3,))), Value(TensorType(f64, (3,)))
    loss = b.reduce_sum(b.scatter_elements(x, indices, u, 0, "set"), (0,))
    dx, du = gradients(loss, [x, u])
    assert dx is not None and du is not None
    found = evaluate_graph(Graph("g", [x, u], [dx, du]), [np.ones(3), np.ones(3)])[0]
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 1, 1]])


def test_a_chain_of_50000_nodes_differentiates():
    x = Value(TensorType(f64, (2,)))
    y = x
    for _ in range(50_000):
        y = b.neg(y)
    found = gradient_at(b.reduce_sum(y, (0,)), x, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [1, 1])


def test_a_derivative_by_an_inner_value_counts_all_paths_behind_it():
    x = Value(TensorType(f64))
    h = b.mul(x, x)
    loss = b.add(b.mul(h, x), h)
    dh, dx = gradients(loss, [h, x])
    assert dh is not None and dx is not None
    found = evaluate_graph(Graph("g", [x], [dh, dx]), [np.array(3.0)])[0]
    np.testing.assert_array_equal(found, [3 + 1, 3 * 9 + 2 * 3])


def test_an_operand_used_twice_by_a_region_gets_both_parts_once():
    row = TensorType(f64, (2,))
    p, q = Value(row), Value(row)
    body = Graph("", [p, q], [b.mul(p, q)])
    x = Value(row)
    loss = b.reduce_sum(make(Fuse("mul"), x, x, regions=(body,))[0], (0,))
    np.testing.assert_array_equal(gradient_at(loss, x, np.array([2.0, 3.0])), [4, 6])


def test_integers_and_values_without_influence_have_no_gradient():
    x, k, other = Value(TensorType(f64, (2,))), Value(TensorType(i64)), Value(TensorType(f64))
    found = gradients(
        b.reduce_sum(b.mul(x, b.broadcast_in_dim(b.cast(k, f64), (2,), ())), (0,)), [x, k, other]
    )
    assert found[0] is not None and found[1:] == [None, None]


def test_the_gradient_inherits_the_line_of_the_forward_node():
    x = Value(TensorType(f64))
    with origins_of((Origin("net.py", 4),)):
        y = b.sin(x)
    (g,) = gradients(y, [x])
    assert g is not None and g.node is not None
    assert g.node.origins == (Origin("net.py", 4),)


def test_an_output_that_is_no_scalar_needs_a_cotangent():
    x = Value(TensorType(f32, (3,)))
    with pytest.raises(InputError) as caught:
        gradients(b.neg(x), [x])
    assert str(caught.value) == (
        "gradients: the output is f32[3], expected a scalar of a float type\n"
        "  hint: reduce it to a scalar, or give a cotangent"
    )


def test_a_loop_without_a_bound_says_why_it_has_no_derivative():
    (instance,) = (i for i in instances("while") if i.op == While(2))
    operands = operands_of(instance)
    with origins_of((Origin("net.py", 8),)):
        _, final = make(instance.op, *operands, regions=instance.regions)
    with pytest.raises(UnsupportedError) as caught:
        gradients(b.reduce_sum(final, (0,)), operands)
    assert str(caught.value) == (
        "while: a loop without max_trip has no derivative\n"
        "  at net.py:8\n"
        "  hint: give the most turns: nv.while_loop(..., max_trip=100)"
    )


def test_value_and_gradients_returns_zeros_for_what_does_not_matter():
    x, y = Value(TensorType(f64, (2,))), Value(TensorType(f64, (3,)))
    graph = value_and_gradients(Graph("f", [x, y], [b.reduce_sum(b.mul(x, x), (0,))]))
    found, _ = evaluate_graph(graph, [np.array([1.0, 2.0]), np.ones(3)])
    np.testing.assert_array_equal(found[0], 5)
    np.testing.assert_array_equal(found[1], [2, 4])
    np.testing.assert_array_equal(found[2], np.zeros(3))
