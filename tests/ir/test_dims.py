"""Dims: normal form, ranges, and agreement with integer arithmetic."""

from __future__ import annotations

import operator
import random

import pytest

from nervure.ir.dims import (
    Dim,
    bounds,
    ceildiv,
    dim_text,
    evaluate_dim,
    floordiv,
    free_symbols,
    maximum,
    minimum,
    mod,
    substitute,
    symbol,
)
from nervure.ir.errors import NervureError
from nervure.ir.text import parse_type

B, T = symbol("B", 1, 64), symbol("T", 2, 9)


def random_dim(rng: random.Random, depth: int) -> Dim:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([B, T, rng.randint(0, 9)])
    a, b = random_dim(rng, depth - 1), random_dim(rng, depth - 1)
    kind = rng.choice(["add", "sub", "mul", "floordiv", "ceildiv", "mod", "min", "max"])
    constant = rng.randint(1, 7)
    match kind:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "floordiv":
            return floordiv(a, constant)
        case "ceildiv":
            return ceildiv(a, constant)
        case "mod":
            return mod(a, constant)
        case "min":
            return minimum(a, b)
        case _:
            return maximum(a, b)


def test_equal_polynomials_are_equal_values():
    assert 2 * B - B == B
    assert (B + 1) * (B - 1) == B * B - 1
    assert hash(B * T) == hash(T * B)
    assert B - B == 0
    assert B != T


def test_floor_division_is_exact_where_each_term_divides():
    assert floordiv(64 * B, 64) == B
    assert floordiv(64 * B + 3, 64) == B
    assert floordiv(6 * B * T, 2 * T) == 3 * B
    assert dim_text(floordiv(B + 1, 2)) == "floordiv(B+1,2)"
    assert mod(4 * B, 2) == 0


def test_min_and_max_are_decided_by_ranges_where_they_can_be():
    assert minimum(B, 64) == B
    assert maximum(T, 1) == T
    assert dim_text(minimum(B, T)) == "min(B,T)"
    assert minimum(B, T) == minimum(T, B)


@pytest.mark.parametrize("seed", range(300))
def test_random_expressions_evaluate_lie_in_their_bounds_and_parse_back(seed: int):
    rng = random.Random(seed)
    dim = random_dim(rng, 4)
    lo, hi = bounds(dim)
    for _ in range(5):
        env = {"B": rng.randint(1, 64), "T": rng.randint(2, 9)}
        value = evaluate_dim(dim, env)
        assert lo <= value <= hi
        assert substitute(dim, dict(env)) == value
    if lo >= 0 and hi <= 2**40:
        symbols = {"B": B, "T": T}
        assert parse_type(f"f32[{dim_text(dim)}]", symbols).shape == (dim,)


def test_operators_agree_with_integers():
    for op in (operator.add, operator.sub, operator.mul):
        assert evaluate_dim(op(B, T), {"B": 7, "T": 3}) == op(7, 3)
    assert evaluate_dim(floordiv(B - 9, 4), {"B": 2}) == -2
    assert evaluate_dim(ceildiv(B, 4), {"B": 9}) == 3


def test_a_divisor_that_may_be_zero_is_refused():
    zero = symbol("Z", 0, 4)
    with pytest.raises(NervureError, match="dim Z may be 0 and cannot divide"):
        floordiv(B, zero)


def test_a_symbolic_dim_has_no_truth_value():
    assert isinstance(B, object)
    with pytest.raises(NervureError, match="no truth value"):
        bool(B)


def test_free_symbols_come_once_each_in_order():
    assert [s.name for s in free_symbols(floordiv(T + 1, 2) * B + B)] == ["B", "T"]


def test_bounds_see_that_a_quotient_times_its_divisor_is_nearly_the_dividend():
    assert bounds(B - 2 * floordiv(B - 1, 2)) == (1, 2)
    assert bounds(floordiv(3 * B - 3, 2) - floordiv(3 * B - 5, 2)) == (1, 1)
    assert bounds(3 * ceildiv(B, 3) - B) == (0, 2)
    assert bounds(B - 6 * floordiv(floordiv(B, 2), 3)) == (0, 5)
