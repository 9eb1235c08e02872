"""Derivatives of running products where elements are 0, of sorting with equals, and where a formula has a hole."""

from __future__ import annotations

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_graph
from nervure.ir.ops.nn import LogSumExp
from nervure.ir.types import Array, TensorType, f16, f64
from nervure.passes.autodiff import gradients

LINES = ((2.0, 3.0, 5.0, 7.0), (2.0, 0.0, 5.0, 7.0), (0.0, 3.0, 0.0, 7.0), (2.0, 3.0, 0.0, 0.0), (0.0,) * 4)


def products_by_hand(x: Array, g: Array, exclusive: bool, reverse: bool) -> Array:
    """dx[k] = the sum over j of g[j] times the product of what y[j] is made of, without x[k]."""
    n = len(x)
    found = np.zeros(n)
    for j in range(n):
        part = range(j + exclusive, n) if reverse else range(j + 1 - exclusive)
        for k in part:
            found[k] += g[j] * np.prod([x[i] for i in part if i != k])
    return found


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("line", LINES)
def test_a_running_product_has_its_derivative_where_elements_are_0(
    line: tuple[float, ...], exclusive: bool, reverse: bool, symbolic: bool
):
    n = symbol("N", 1, 9) if symbolic else 4
    x, seed = Value(TensorType(f64, (n,))), Value(TensorType(f64, (n,)))
    (g,) = gradients([b.cumprod(x, 0, exclusive, reverse)], [x], [seed])
    assert g is not None
    at, weight = np.array(line), np.array([1.0, -2.0, 0.5, 3.0])
    env = {"N": 4} if symbolic else {}
    ((found,), _) = evaluate_graph(Graph("g", [x, seed], [g]), [at, weight], env=env)
    np.testing.assert_allclose(found, products_by_hand(at, weight, exclusive, reverse), rtol=1e-12)


@pytest.mark.parametrize("line", LINES)
def test_a_running_product_has_its_second_derivative_where_elements_are_0(line: tuple[float, ...]):
    x, weight = Value(TensorType(f64, (4,))), np.array([1.0, -2.0, 0.5, 3.0])
    total = b.reduce_sum(b.mul(b.cumprod(x, 0), b.constant(weight)), (0,))
    (first,) = gradients(total, [x])
    assert first is not None
    at, h = np.array(line), 1e-4
    for k in range(4):
        (second,) = gradients(b.reshape(b.slice_(first, (k,), (k + 1,)), ()), [x])
        assert second is not None
        ((found,), _) = evaluate_graph(Graph("g", [x], [second]), [at])
        step = h * np.eye(4)
        want = [
            (products_by_hand(at + s, weight, False, False) - products_by_hand(at - s, weight, False, False))[
                k
            ]
            / (2 * h)
            for s in step
        ]
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-9)


def test_a_sort_gives_each_of_equals_its_own_derivative():
    x, seed = Value(TensorType(f64, (5,))), Value(TensorType(f64, (5,)))
    (g,) = gradients([b.sort(x, 0)[0]], [x], [seed])
    assert g is not None
    at = np.array([2.0, 1.0, 2.0, 1.0, 2.0])
    ((found,), _) = evaluate_graph(Graph("g", [x, seed], [g]), [at, np.arange(5.0)])
    np.testing.assert_array_equal(found, [2, 0, 3, 1, 4])


def test_a_threshold_has_no_derivative_and_an_angle_has_0_at_the_origin():
    x, y = Value(TensorType(f64, (3,))), Value(TensorType(f64, (3,)))
    assert gradients(b.reduce_sum(b.step(x), (0,)), [x]) == [None]
    found = gradients(b.reduce_sum(b.atan2(y, x), (0,)), [y, x])
    assert all(g is not None for g in found)
    graph = Graph("g", [y, x], [g for g in found if g is not None])
    (dy, dx), _ = evaluate_graph(graph, [np.array([0.0, 3.0, 0.0]), np.array([0.0, 4.0, -2.0])])
    np.testing.assert_allclose(dy, [0, 4 / 25, -1 / 2])
    np.testing.assert_allclose(dx, [0, -3 / 25, 0])


def test_the_derivative_of_an_angle_does_not_overflow_where_squares_do():
    x, y = Value(TensorType(f16, ())), Value(TensorType(f16, ()))
    (g,) = gradients(b.atan2(y, x), [y])
    assert g is not None
    ((found,), _) = evaluate_graph(Graph("g", [y, x], [g]), [np.float16(300), np.float16(400)])
    np.testing.assert_allclose(float(found), 400 / 250000, rtol=4e-3)


def test_logsumexp_has_no_derivative_where_there_is_nothing_to_sum():
    x = Value(TensorType(f64, (2, 2)))
    (g,) = gradients(b.reduce_sum(make_one(LogSumExp((1,)), x), (0,)), [x])
    assert g is not None
    at = np.array([[-np.inf, -np.inf], [-np.inf, 3.0]])
    ((found,), _) = evaluate_graph(Graph("g", [x], [g]), [at])
    np.testing.assert_array_equal(found, [[0, 0], [0, 1]])
