"""nv.scan: carries, closures, nesting, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TraceError

RNG = np.random.default_rng(8)
X = RNG.normal(size=(5, 3))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_running_sum_goes_either_way(reverse: bool, evaluate: Any) -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, row: (c + row, c * row), np.zeros(3), x, reverse=reverse)

    last, rows = evaluate(f, X)
    order = X[::-1] if reverse else X
    sums = np.cumsum(order, axis=0)
    before = np.concatenate([np.zeros((1, 3)), sums[:-1]])
    want = before * order
    np.testing.assert_allclose(last, X.sum(0), rtol=1e-12)
    np.testing.assert_allclose(rows, want[::-1] if reverse else want, rtol=1e-12, atol=1e-15)


def test_outer_values_and_parameters_become_operands(evaluate: Any) -> None:
    weight = nn.Parameter(np.arange(3.0), name="w")

    def f(x: Any, shift: Any) -> Any:
        scale = shift * 2
        return nv.scan(lambda c, row: (c + row * weight * scale + scale, None), x[0], x)[0]

    wanted = X[0] + (X * np.arange(3.0) * 6).sum(0) + 5 * 6
    np.testing.assert_allclose(evaluate(f, X, np.float64(3)), wanted, rtol=1e-12)
    (scan,) = [n for n in nv.trace(f, "f64[5,3]", "f64[]").main.nodes if n.op.mnemonic == "scan"]
    assert len(scan.operands) == 4
    assert not scan.regions[0].reads()


def test_scans_nest_and_reach_values_two_levels_out(evaluate: Any) -> None:
    def f(x: Any, k: Any) -> Any:
        def outer(total: Any, row: Any) -> Any:
            inner, _ = nv.scan(lambda c, e: (c + e * k, None), total * 0, row)
            return total + inner, inner

        return nv.scan(outer, np.float64(0), x)

    total, rows = evaluate(f, X, np.float64(2))
    np.testing.assert_allclose(rows, 2 * X.sum(1), rtol=1e-12)
    np.testing.assert_allclose(total, 2 * X.sum(), rtol=1e-12)


def test_carries_and_rows_may_be_nested_tuples_and_lists(evaluate: Any) -> None:
    def body(carry: Any, row: Any) -> Any:
        (a, [b]), (p, q) = carry, row
        return (a + p, [b * q]), {"none": None}["none"]

    def f(x: Any) -> Any:
        (a, [b]), nothing = nv.scan(body, (np.zeros(3), [np.ones(3)]), (x, x + 1))
        assert nothing is None
        return a, b

    a, b = evaluate(f, X)
    np.testing.assert_allclose(a, X.sum(0), rtol=1e-12)
    np.testing.assert_allclose(b, (X + 1).prod(0), rtol=1e-12)


def test_a_length_stands_in_for_rows(evaluate: Any) -> None:
    last, steps = evaluate(lambda x: nv.scan(lambda c, _: (c * 2, c), x, length=4), np.float64(1))
    assert last == 16
    assert steps.tolist() == [1, 2, 4, 8]


def test_a_symbolic_length_is_scanned() -> None:
    from nervure.ir.interpret import evaluate_program

    program = nv.trace(lambda x: nv.scan(lambda c, row: (c + row, c), np.zeros(2), x), "f64[T,2]")
    for steps in (1, 6):
        x = RNG.normal(size=(steps, 2))
        np.testing.assert_allclose(evaluate_program(program, [x])[0], x.sum(0), rtol=1e-12)


def test_a_carry_that_changes_its_type_is_named_with_both_lines() -> None:
    def f(x: Any) -> Any:
        start = x[0] * 0
        return nv.scan(
            lambda c, row: ((c + row).reshape(1, 3), None),
            start,
            x,
        )

    with pytest.raises(TraceError) as caught:
        nv.trace(f, "f64[5,3]")
    line = f.__code__.co_firstlineno
    here = "tests/frontend/test_scan.py"
    assert str(caught.value) == (
        "scan: carry 0 is f64[3] before the body and f64[1,3] after it\n"
        f"  before: f64[3]  at {here}:{line + 1}, in f\n"
        f"  after:  f64[1,3]  at {here}:{line + 3}, in <lambda>\n"
        f"  at {here}:{line + 2}, in f\n"
        "  hint: give init the type that the body returns"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nv.scan(lambda c, r: c, x[0], x),
            "scan: the body returns Tensor, expected a pair (carry, y)",
        ),
        (lambda x: nv.scan(lambda c, r: (c, c), x[0]), "scan: neither xs nor length is given"),
        (lambda x: nv.scan(lambda c, r: (c, c), x[0], (x, x.T)), "scan: lengths differ: 5 and 3"),
        (lambda x: nv.scan(lambda c, r: (c, c), x[0], x, length=4), "scan: lengths differ: 5 and 4"),
        (
            lambda x: nv.scan(lambda c, r: (c, c), x[0], x.sum()),
            "scan: xs 0 is f64[], which has no axis to go over",
        ),
        (
            lambda x: nv.scan(lambda c, r: ((c, c), c), x[0], x),
            "scan: the carry is f64[3] before the body and (f64[3], f64[3]) after it",
        ),
        (lambda x: nv.scan(lambda c, r: (c, c), 0.0, x), "scan: init is 0.0, expected a tensor"),
    ],
)
def test_a_scan_that_cannot_be_says_why(call: Any, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(call, "f64[5,3]")
    assert caught.value.message == message


def test_a_value_made_inside_a_body_cannot_leave_it() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        nv.scan(lambda c, row: (kept.append(c + row) or c, None), x[0], x)
        return kept[0]

    with pytest.raises(TraceError, match="a value made in the body of a scan is used outside of it"):
        nv.trace(f, "f64[5,3]")
