"""nv.cond and nv.while_loop: what runs, closures, derivatives, every backend, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TraceError

RNG = np.random.default_rng(8)
BACKENDS = ("reference", "llvm", "onnx")


def collatz(n: Any) -> Any:
    """How many steps to 1."""

    def turn(carry: Any) -> Any:
        k, steps = carry
        return nv.cond((k % 2) == 0, lambda k: k // 2, lambda k: 3 * k + 1, k), steps + 1

    return nv.while_loop(lambda c: c[0] != 1, turn, (n, n * 0))[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_runs_as_long_as_its_condition_holds(backend: str) -> None:
    run = nv.compile(collatz, "i64[]", backend=backend)
    assert [int(run(np.int64(n))) for n in (1, 2, 6, 7, 27)] == [0, 1, 8, 16, 111]


@pytest.mark.parametrize("backend", BACKENDS)
def test_outer_values_and_parameters_are_seen_in_both_branches(backend: str) -> None:
    weight = nn.Parameter(np.arange(3.0), name="w")

    def f(x: Any, up: Any) -> Any:
        twice = x * 2
        return nv.cond(up, lambda y: (y + weight, twice), lambda y: (twice - y, y * weight), x)

    run = nv.compile(f, "f64[3]", "bool[]", backend=backend)
    x, w = RNG.normal(size=3), np.arange(3.0)
    for up, wanted in ((True, (x + w, 2 * x)), (False, (x, x * w))):
        for a, b in zip(run(x, np.bool_(up)), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_python_truth_value_makes_no_branch() -> None:
    program = nv.trace(lambda x: nv.cond(True, lambda y: y + 1, lambda y: y.sum(), x), "f64[3]")
    assert [n.op.mnemonic for n in program.main.nodes if n.regions] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [0, 1, 4, 50])
def test_a_bounded_loop_has_the_derivative_of_the_turns_it_made(backend: str, n: int) -> None:
    def looped(x: Any, w: Any, n: Any) -> Any:
        def turn(c: Any) -> Any:
            return c[0] + 1, nv.cond(c[1].sum() > 0, lambda y: nn.tanh(y @ w), lambda y: y * y - w[0], c[1])

        return (nv.while_loop(lambda c: c[0] < n, turn, (n * 0, x), max_trip=6)[1] ** 2).sum()

    def written(x: Any, w: Any) -> Any:
        for _ in range(min(n, 6)):
            x = nn.where(x.sum() > 0, nn.tanh(x @ w), x * x - w[0])
        return (x**2).sum()

    x, w = RNG.normal(size=3), RNG.normal(size=(3, 3))
    found = nv.compile(nv.grad(looped, (0, 1)), "f64[3]", "f64[3,3]", "i64[]", backend=backend)(
        x, w, np.int64(n)
    )
    wanted = nv.compile(nv.grad(written, (0, 1)), "f64[3]", "f64[3,3]", backend="reference")(x, w)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_branches_that_differ_are_named_with_both_lines() -> None:
    def f(x: Any) -> Any:
        return nv.cond(
            x.sum() > 0,
            lambda y: y + 1,
            lambda y: y.sum(),
            x,
        )

    with pytest.raises(TraceError) as caught:
        nv.trace(f, "f64[5]")
    line = f.__code__.co_firstlineno
    here = "tests/frontend/test_branches.py"
    assert str(caught.value) == (
        "cond: result 0 is f64[5] of the first function and f64[] of the second\n"
        f"  first:  f64[5]  at {here}:{line + 3}, in <lambda>\n"
        f"  second: f64[]  at {here}:{line + 4}, in <lambda>\n"
        f"  at {here}:{line + 1}, in f\n"
        "  hint: make both the same type"
    )


def test_a_carry_of_a_loop_that_changes_its_type_is_named_with_both_lines() -> None:
    with pytest.raises(
        TraceError, match=r"while_loop: carry 0 is f64\[5\] before the body and f64\[\] after it"
    ) as caught:
        nv.trace(lambda x: nv.while_loop(lambda c: c.sum() < 3, lambda c: c.sum(), x), "f64[5]")
    text = str(caught.value)
    assert "before: f64[5]  given as x\n" in text and text.count("test_branches.py") >= 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nv.cond(x > 0, lambda: x, lambda: x), "cond: the condition is bool[5], expected bool[]"),
        (lambda x: nv.cond(x.sum(), lambda: x, lambda: x), "cond: the condition is f64[], expected bool[]"),
        (lambda x: nv.cond(x.sum() > 0, lambda: x, lambda: (x, x)), "cond: the first function returns f64[5], the second (f64[5], f64[5])"),
        (lambda x: nv.while_loop(lambda c: c > 0, lambda c: c, x), "while_loop: the condition is bool[5], expected bool[]"),
        (lambda x: nv.while_loop(lambda c: x.sum() > 0, lambda c: c, ()), "while_loop: the carry has no tensors, so that nothing can end the loop"),
    ],
)  # fmt: skip
def test_a_branch_that_cannot_be_says_why(call: Any, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(call, "f64[5]")
    assert caught.value.message == message
