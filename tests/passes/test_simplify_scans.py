"""simplify-scans and dce over loops and branches: what is left of them, and that the values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.base import find_backend
from nervure.ir.graph import Node
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.control import Scan
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(6)


def after(passes: str, f: Any, *specs: str, sizes: tuple[int, ...] = (1, 5)) -> Node:
    """The only loop or branch behind the passes, which leave the values as they were."""
    program = nv.trace(f, *specs)
    found = run_pipeline(program, Pipeline.parse(passes)).program
    for size in sizes:
        inputs = [
            np.asarray(
                RNG.normal(
                    size=[size if d == "T" else int(d) for d in s[s.index("[") + 1 : -1].split(",") if d]
                )
            )
            for s in specs
        ]
        for a, b in zip(evaluate_program(found, inputs), evaluate_program(program, inputs), strict=True):
            np.testing.assert_array_equal(a, b)
    (node,) = (n for n in found.main.nodes if n.regions)
    return node


def test_constants_from_outside_are_made_inside() -> None:
    node = after(
        "simplify-scans,dce",
        lambda x: nv.scan(lambda c, r: (c * np.full(3, 2.0) + r, None), x[0], x)[0],
        "f64[T,3]",
    )
    assert len(node.operands) == 2


def test_what_is_repeated_along_the_steps_is_a_const() -> None:
    def f(x: Any, y: Any) -> Any:
        def loss(x: Any) -> Any:
            return nv.scan(lambda c, r: (nn.tanh(c + r), nn.exp(c * r)), y, x)[1].sum()

        return nv.grad(loss)(x)

    program = run_pipeline(
        nv.trace(f, "f64[T,3]", "f64[3]"), Pipeline.parse("share-scans,canonicalize,dce")
    ).program
    found = run_pipeline(program, Pipeline.parse("simplify-scans,dce")).program
    rows = [[n.op.xs for n in p.main.nodes if n.regions] for p in (program, found)]
    assert rows[1][1] == rows[0][1] - 1, "the cotangents of ys are ones at each step"
    inputs = [RNG.normal(size=(4, 3)), RNG.normal(size=3)]
    np.testing.assert_array_equal(evaluate_program(found, inputs)[0], evaluate_program(program, inputs)[0])


def test_a_carry_that_stays_as_it_is_is_a_const() -> None:
    def f(x: Any, k: Any) -> Any:
        return nv.scan(lambda c, r: ((c[0] * c[1] + r, c[1]), None), (x[0], k), x)[0]

    node = after("simplify-scans", f, "f64[T,3]", "f64[3]")
    assert node.op.carries == 1


def test_carries_that_begin_equal_and_stay_equal_are_one() -> None:
    def f(x: Any, h: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            a, b, d = c
            return (nn.tanh(a + r), nn.tanh(b + r), nn.tanh(d - r)), (a, b, d)

        return nv.scan(step, (h, h, h), x)

    node = after("simplify-scans,cse,dce", f, "f64[T,3]", "f64[3]")
    assert node.op.carries == 2


def test_carries_that_only_begin_equal_stay_two() -> None:
    def f(x: Any, h: Any) -> Any:
        return nv.scan(lambda c, r: ((c[1], c[0] + r), None), (h, h), x)[0]

    assert after("simplify-scans,cse,dce", f, "f64[T,3]", "f64[3]").op.carries == 2


@pytest.mark.parametrize("reverse", [False, True])
def test_of_ys_of_which_the_last_step_is_read_only_that_is_kept(reverse: bool) -> None:
    def f(x: Any, w: Any) -> Any:
        _, (ys, zs) = nv.scan(lambda c, r: (nn.tanh(c @ w + r), (c @ w, c * 2)), x[0], x, reverse=reverse)
        place = 0 if reverse else -1
        return ys[place], zs[place] + 1

    node = after("canonicalize,simplify-scans,dce", f, "f64[5,2,3]", "f64[3,3]", sizes=(5,))
    assert len(node.results) == node.op.carries


def test_a_layer_whose_last_output_is_read_keeps_no_sequence() -> None:
    model = nn.LSTM(4, 6, batch_first=True)
    program = nv.trace(lambda x: model(x)[0][:, -1], "f32[2,9,4]")
    found = run_pipeline(
        program, Pipeline.parse("decompose,canonicalize,cse,simplify-scans,canonicalize,dce")
    ).program
    (node,) = (n for n in found.main.nodes if n.regions)
    assert len(node.results) == node.op.carries == 2
    x = RNG.normal(size=(2, 9, 4)).astype("f4")
    np.testing.assert_allclose(
        evaluate_program(found, [x])[0], evaluate_program(program, [x])[0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_machine_code_keeps_no_sequence_either(layer: Any) -> None:
    """The layers are taken apart late in its pipeline: the memory of a call is that of the inputs' part alone."""
    model = layer(4, 6, num_layers=2)
    program = nv.trace(lambda x: model(x)[0][-1], "f32[T,2,4]")
    found = run_pipeline(program, find_backend("llvm").pipeline(2)).program
    first, second = (n for n in found.main.nodes if isinstance(n.op, Scan))
    assert [len(n.results) - n.op.carries for n in (first, second)] == [1, 0]
    run = nv.compile(program)
    x = RNG.normal(size=(9, 2, 4)).astype("f4")
    np.testing.assert_allclose(run(x), evaluate_program(program, [x])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_last_step_of_two_directions_is_cut_out_before_they_are_joined(
    layer: Any, batch_first: bool
) -> None:
    model = layer(4, 6, bidirectional=True, batch_first=batch_first)

    def last(x: Any) -> Any:
        y = model(x)[0]
        return y[:, -1] if batch_first else y[-1]

    program = nv.trace(last, "f32[B,T,4]" if batch_first else "f32[T,B,4]")
    found = run_pipeline(program, find_backend("llvm").pipeline(2)).program
    forwards, backwards = (n for n in found.main.nodes if isinstance(n.op, Scan))
    assert len(forwards.results) == forwards.op.carries, "its last step is its carry"
    assert len(backwards.results) == backwards.op.carries + 1, "its first step is a row"
    assert not any("T" in str(n.results[0].type) for n in found.main.walk() if n.op.mnemonic == "concat")
    run = nv.compile(program)
    for steps in (1, 2, 9):
        x = RNG.normal(size=(3, steps, 4) if batch_first else (steps, 3, 4)).astype("f4")
        np.testing.assert_allclose(run(x), evaluate_program(program, [x])[0], rtol=1e-5, atol=1e-6)


def test_what_is_read_as_a_whole_too_is_joined_as_a_whole() -> None:
    model = nn.GRU(4, 6, bidirectional=True)

    def both(x: Any) -> Any:
        y = model(x)[0]
        return y, y[-1] * 2

    program = nv.trace(both, "f32[5,2,4]")
    found = run_pipeline(
        program, Pipeline.parse("decompose,canonicalize,cse,simplify-scans,canonicalize,cse,dce")
    )
    assert sum(n.op.mnemonic == "concat" for n in found.program.main.nodes) == 1
    x = RNG.normal(size=(5, 2, 4)).astype("f4")
    for a, b in zip(evaluate_program(found.program, [x]), evaluate_program(program, [x]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def loop(f: Callable[[Any], Any]) -> Node:
    return after("dce", f, "f64[T,3]")


def test_dce_drops_carries_that_nothing_depends_on() -> None:
    node = loop(
        lambda x: nv.scan(lambda c, r: ((c[0] + r, c[1] * r, c[2] + c[1]), c[1]), (x[0], x[0], x[0]), x)[0][0]
    )
    assert node.op.carries == 1
    assert len(node.results) == 1


def test_dce_keeps_carries_that_a_kept_one_reads() -> None:
    node = loop(
        lambda x: nv.scan(lambda c, r: ((c[0] + c[1], c[1] * r, c[2]), None), (x[0], x[0], x[0]), x)[0][0]
    )
    assert node.op.carries == 2


def test_dce_narrows_branches_and_loops_with_a_condition() -> None:
    def branch(x: Any) -> Any:
        a, b = x[0], x[-1]
        return nv.cond(x.sum() > 0, lambda: (a * 2, b), lambda: (a, a + b))[0]

    node = loop(branch)
    assert len(node.results) == 1
    assert len(node.operands) == 2

    def turns(x: Any) -> Any:
        def body(c: Any) -> Any:
            n, y, z, unused = c
            return n + 1, y * 0.5 + z, z, unused * y

        return nv.while_loop(lambda c: c[0] < 3, body, (x.sum() * 0, x[0], x[0], x[0]))[1]

    node = loop(turns)
    assert node.op.carries == 3
    assert len(node.operands) == 3
