"""Scans, branches and loops as native loops: any length from one object, weights packed once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.program import Loop, kernels_of

RNG = np.random.default_rng(17)


def lstm(hidden: int = 16, size: int = 8, batch: int = 2) -> Any:
    """A plain LSTM over [T, batch, size] with weights of its own."""
    rng = np.random.default_rng(3)
    w_ih = nn.Parameter(rng.normal(size=(4 * hidden, size)).astype("f4") / 4, name="w_ih")
    w_hh = nn.Parameter(rng.normal(size=(4 * hidden, hidden)).astype("f4") / 4, name="w_hh")
    bias = nn.Parameter(rng.normal(size=4 * hidden).astype("f4"), name="bias")

    def f(x: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            h, c = carry
            gates = row @ w_ih.T + h @ w_hh.T + bias
            i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * nn.tanh(g)
            h = nn.sigmoid(o) * nn.tanh(c)
            return (h, c), h

        zero = np.zeros((batch, hidden), "f4")
        (h, c), ys = nv.scan(step, (zero, zero), x)
        return ys, h, c

    return f


def agree(f: Any, specs: tuple[str, ...], *calls: tuple[Any, ...], rtol: float = 1e-12) -> Any:
    """The executable, after llvm gave what the reference gives without any pass, at each level."""
    wanted = nv.compile(f, *specs, backend="reference", opt=0)
    run = None
    for level in (0, 2):
        run = nv.compile(f, *specs, opt=level)
        for inputs in calls:
            found, expected = run(*inputs), wanted(*inputs)
            for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    return run


@pytest.mark.parametrize("reverse", [False, True])
def test_one_object_runs_every_length_zero_included(reverse: bool) -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, row: (c * 0.5 + row, c * row), x.sum(0), x, reverse=reverse)

    run = agree(f, ("f64[T:0..64,3]",), *((RNG.normal(size=(n, 3)),) for n in (0, 1, 2, 7, 64)))
    assert any(isinstance(s, Loop) for s in run.assembled.program.run)


def test_carries_may_change_places_stay_or_become_something_from_outside() -> None:
    def f(x: Any, k: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            a, b, c, *_ = carry
            return (b, a + row, c, k, row), (a, k, row, a)

        return nv.scan(body, (x[0], x[1], x[2], x[0], x[1]), x)

    agree(f, ("f64[T:3..9,4]", "f64[4]"), *((RNG.normal(size=(n, 4)), RNG.normal(size=4)) for n in (3, 4, 9)))


def test_scans_nest_over_rows_of_rows() -> None:
    def f(x: Any, w: Any) -> Any:
        def outer(carry: Any, rows: Any) -> Any:
            total, last = nv.scan(lambda c, r: (nn.tanh(c @ w + r), c.sum()), carry, rows, reverse=True)
            return total, (last, total)

        return nv.scan(outer, np.zeros(5), x)

    calls = ((RNG.normal(size=(n, m, 5)), RNG.normal(size=(5, 5))) for n, m in ((1, 1), (3, 4), (2, 5)))
    agree(f, ("f64[T,S,5]", "f64[5,5]"), *calls, rtol=1e-11)


def test_memory_that_a_body_makes_is_not_taken_for_made_after_it() -> None:
    def f(x: Any) -> Any:
        ones = nn.full_like(x, 2.0) if hasattr(nn, "full_like") else x * 0 + 2.0
        total, _ = nv.scan(lambda c, r: (c + (ones * r).sum(), None), np.float64(0), x[:, 0])
        return total, ones + x

    agree(f, ("f64[T:0..9,3]",), (RNG.normal(size=(0, 3)),), (RNG.normal(size=(4, 3)),))


def test_weights_of_a_body_are_packed_once_by_prepare() -> None:
    run = nv.compile(lstm(), "f32[T,2,8]")
    program = run.assembled.program
    assert sum("pack" in k.name for k in kernels_of(program.prepare)) == 2
    assert not any("pack" in k.name for k in kernels_of(program.run))


def test_weights_of_each_step_are_not_packed_as_if_they_were_those_of_all() -> None:
    layers = nn.Parameter(RNG.normal(size=(4, 5, 5)), name="layers")
    agree(
        lambda x: nv.scan(lambda c, w: (nn.tanh(c @ w), None), x, layers)[0],
        ("f64[B,5]",),
        (RNG.normal(size=(2, 5)),),
    )


def test_an_lstm_of_1024_steps_compiles_within_a_second_and_is_no_larger_than_one_of_256() -> None:
    nv.compile(lstm(), "f32[4,2,8]", cache=False)  # what is imported on first use
    sizes: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for length in (256, 1024):
        start = time.process_time()
        run = nv.compile(lstm(), f"f32[{length},2,8]", cache=False)
        seconds[length] = time.process_time() - start
        sizes[length] = len(run.object)
        x = RNG.normal(size=(length, 2, 8)).astype("f4")
        wanted = nv.compile(lstm(), f"f32[{length},2,8]", backend="reference")(x)
        for a, b in zip(run(x), wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    assert seconds[1024] < 1.0, seconds
    assert sizes[1024] <= 1.03 * sizes[256], (
        sizes
    )  # the last rows of a product may need a tile of another height


def test_a_call_is_the_same_to_the_bit_twice_and_a_prefix_gives_the_prefix() -> None:
    run = nv.compile(lstm(), "f32[T,2,8]")
    x = RNG.normal(size=(9, 2, 8)).astype("f4")
    ys, *_ = run(x)
    again, *_ = run(x)
    short, *_ = run(x[:5])
    assert ys.tobytes() == again.tobytes()
    np.testing.assert_allclose(ys[:5], short, rtol=1e-5, atol=1e-6)
