"""merge-scans, unroll by a factor of any length, its cap, and what auto chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError
from nervure.ir.interpret import evaluate_program
from nervure.ir.program import Program
from nervure.passes.manager import Pipeline, run_pipeline
from nervure.passes.merge_scans import MergeScans

RNG = np.random.default_rng(9)
W = RNG.normal(size=(3, 3))


def run(passes: str, f: Any, spec: str, sizes: tuple[int, ...]) -> Program:
    program = nv.trace(f, spec, "f64[3,3]")
    found = run_pipeline(program, Pipeline.parse(passes)).program
    for size in sizes:
        x = RNG.normal(size=(size, 2, 3))
        for a, b in zip(evaluate_program(found, [x, W]), evaluate_program(program, [x, W]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    return found


def scans(program: Program) -> list[Any]:
    return [n for n in program.main.nodes if n.op.mnemonic == "scan"]


def one(reverse: bool = False, unroll: int = 1) -> Any:
    def f(x: Any, w: Any) -> Any:
        return nv.scan(lambda c, r: (nn.tanh(c @ w + r), c * r), x.sum(0), x, reverse=reverse, unroll=unroll)

    return f


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("factor", [2, 3])
def test_a_loop_of_any_length_is_unrolled_by_a_factor(factor: int, reverse: bool) -> None:
    passes = f"unroll{{max=0,factor={factor}}}"
    for spec, sizes in (("f64[T:0..40,2,3]", (0, 1, 2, 3, 6, 7)), ("f64[6,2,3]", (6,)), ("f64[7,2,3]", (7,))):
        found = scans(run(passes, one(reverse), spec, sizes))
        assert len(found[0].regions[0].nodes) > factor * 4
        assert len(found) == (1 if spec == "f64[6,2,3]" else 2)


def test_a_scan_says_itself_how_far_it_is_unrolled() -> None:
    (found, rest) = scans(run("unroll{max=1,factor=0}", one(unroll=4), "f64[T,2,3]", (1, 4, 9)))
    assert found.op.unroll == rest.op.unroll == 1
    assert not scans(run("unroll{max=1,factor=0}", one(unroll=9), "f64[9,2,3]", (9,)))


def test_what_would_exceed_the_cap_names_the_line_and_the_numbers() -> None:
    program = nv.trace(one(), "f64[5000,2,3]", "f64[3,3]")
    with pytest.raises(InputError) as caught:
        run_pipeline(program, Pipeline.parse("unroll{max=5000,cap=1000}"))
    assert caught.value.message == "unroll: 5000 steps of 4 nodes are 20000 nodes, beyond the cap of 1000"
    assert "tests/passes/test_loops.py" in str(caught.value)


def test_auto_writes_out_short_loops_of_maps_and_leaves_the_others() -> None:
    passes = "unroll{max=1,factor=0,auto=true}"
    assert len(scans(run(passes, one(), "f64[4,2,3]", (4,)))) == 1

    def horner(x: Any, w: Any) -> Any:
        del w
        return nv.scan(lambda c, r: (c * 0.5 + r, None), x[0], x)[0]

    assert not scans(run(passes, horner, "f64[5,2,3]", (5,)))
    assert scans(run(passes, horner, "f64[500,2,3]", (500,)))
    assert scans(run("unroll{max=1,factor=0,auto=true,budget=1}", horner, "f64[5,2,3]", (5,)))


@pytest.mark.long
def test_a_forced_full_unroll_of_1024_steps_compiles_within_ten_seconds() -> None:
    import time

    model, spec = nn.LSTM(64, 256), "f32[1024,1,64]"
    program = run_pipeline(
        nv.trace(model, spec), Pipeline.parse("decompose,unroll{max=1024}"), verify=False
    ).program
    start = time.process_time()
    run = nv.compile(program, cache=False)
    assert time.process_time() - start < 10
    x = RNG.normal(size=(1024, 1, 64)).astype("f4")
    for a, b in zip(run(x), nv.compile(model, spec)(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_that_are_written_out_are_computed_where_they_are_joined(reverse: bool) -> None:
    def f(x: Any, w: Any) -> Any:
        return nv.scan(lambda c, r: (nn.tanh(c @ w + r), (c * r, r)), x[0], x, reverse=reverse)

    program = run_pipeline(nv.trace(f, "f64[12,2,3]", "f64[3,3]"), Pipeline.parse("unroll{max=12}")).program
    x = RNG.normal(size=(12, 2, 3))
    for a, b in zip(nv.compile(program)(x, W), evaluate_program(program, [x, W]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_loops_over_the_same_rows_are_one() -> None:
    def f(x: Any, w: Any) -> Any:
        a, _ = nv.scan(lambda c, r: (nn.tanh(c @ w + r), None), x[0], x)
        b, ys = nv.scan(lambda c, r: (c + r * r, c), x[1], x)
        c, _ = nv.scan(lambda c, r: (c + r, None), a, x)
        d, _ = nv.scan(lambda c, r: (c + r, None), x[0], x, reverse=True)
        return a, b, ys, c, d

    found = scans(run("merge-scans", f, "f64[T:2..9,2,3]", (2, 5)))
    assert [n.op.carries for n in found] == [2, 1, 1], (
        "the third waits for the first, the last goes the other way"
    )


def test_a_loop_that_is_written_twice_is_run_once() -> None:
    def f(x: Any, w: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            new = nn.tanh(c @ w + r)
            return new, new

        return nv.scan(step, x[0], x)[0], nv.scan(step, x[0], x)[1] * 2

    (found,) = scans(run("cse,merge-scans,simplify-scans,cse,dce", f, "f64[T:1..9,2,3]", (1, 5)))
    assert found.op.carries == 1
    assert sum(n.op.mnemonic == "dot_general" for n in found.regions[0].nodes) == 1


def test_loops_that_share_nothing_stay_apart_unless_asked_for() -> None:
    def f(x: Any, w: Any) -> Any:
        return nv.scan(lambda c, r: (c + r, None), x[0], x * 2)[0], nv.scan(
            lambda c, r: (c * r, None), x[1], x
        )[0]

    assert len(scans(run("merge-scans", f, "f64[5,2,3]", (5,)))) == 2
    program = nv.trace(f, "f64[5,2,3]", "f64[3,3]")
    assert len(scans(run_pipeline(program, Pipeline((MergeScans(shared=False),))).program)) == 1


@pytest.mark.parametrize(
    ("passes", "said"),
    [
        ("unroll{factor=-2}", "unroll: factor is -2, expected at least 0"),
        ("unroll{max=-1}", "unroll: max is -1, expected at least 0\n  in the pipeline's 'unroll{max=-1}'"),
        ("reroll{min=1}", "reroll: min is 1, expected at least 2 steps\n  in the pipeline's 'reroll{min=1}'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(passes: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Pipeline.parse(passes)
