"""reroll: steps that are written out become a scan again, and what is no repetition stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.interpret import evaluate_program
from nervure.ir.program import Program
from nervure.ir.text import print_program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(13)


def through(program: Program, passes: str) -> Program:
    return run_pipeline(program, Pipeline.parse(passes)).program


def scans(program: Program) -> list[Any]:
    return [n for n in program.main.nodes if n.op.mnemonic == "scan"]


def rnn(x: Any, w: Any, h: Any) -> Any:
    return nv.scan(lambda c, r: (nn.tanh(c @ w + r), c * r), h, x)


def backwards(x: Any, w: Any, h: Any) -> Any:
    return nv.scan(lambda c, r: (nn.relu(c @ w) + r, nn.exp(c) * 0.5), h, x, reverse=True)


def lstm(x: Any, w: Any, h: Any) -> Any:
    def step(carry: Any, r: Any) -> Any:
        h, c = carry
        gates = (
            h @ w + nn.concatenate([r] * 4, 1)
            if hasattr(nn, "concatenate")
            else h @ w + np.float64(1) + r.sum()
        )
        i, f, z, o = (nn.sigmoid(gates[:, 3 * k : 3 * k + 3]) for k in range(4))
        c = f * c + i * nn.tanh(z) + r
        h = o * nn.tanh(c)
        return (h, c), h

    return nv.scan(step, (h, h * 2), x)


def two_sequences(x: Any, w: Any, h: Any) -> Any:
    return nv.scan(lambda c, r: ((c[1] @ w + r[0], c[0] * r[1]), c[0]), (h, h + 1), (x, x * x))


@pytest.mark.parametrize("steps", [3, 7])
@pytest.mark.parametrize("f", [rnn, backwards, lstm, two_sequences])
def test_reroll_of_unroll_prints_as_it_was(f: Any, steps: int) -> None:
    width = 12 if f is lstm else 3
    specs = (f"f64[{steps},2,3]", f"f64[3,{width}]", "f64[2,3]")
    before = through(nv.trace(f, *specs), "canonicalize,cse,simplify-scans,cse,dce")
    unrolled = through(before, f"unroll{{max={steps}}},cse,dce")
    assert not scans(unrolled)
    after = through(unrolled, "reroll,dce")
    assert print_program(after) == print_program(before)
    inputs = [RNG.normal(size=(steps, 2, 3)), RNG.normal(size=(3, width)) / 3, RNG.normal(size=(2, 3))]
    for a, b in zip(evaluate_program(after, inputs), evaluate_program(unrolled, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def all_of_it(c: Any, r: Any) -> Any:
    return nn.tanh(c @ np.eye(3) + r), c


def half_of_it(c: Any, r: Any) -> Any:
    return nn.tanh(c @ np.eye(3) + r), nn.sigmoid(c @ np.eye(3)) * r


def behind(c: Any, r: Any) -> Any:
    return c * 0.5 + r, nn.exp(c)


def delay(c: Any, r: Any) -> Any:
    return r, c + r


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [3, 6])
@pytest.mark.parametrize("body", [all_of_it, half_of_it, behind, delay])
def test_a_last_carry_that_nobody_reads_leaves_shorter_last_steps(
    body: Any, steps: int, reverse: bool
) -> None:
    """What makes it was gone from the last step, which was then none like the others."""

    def f(x: Any, h: Any) -> Any:
        return nv.scan(body, h, x, reverse=reverse)[1]

    specs = f"f64[{steps},2,3]", "f64[2,3]"
    before = through(nv.trace(f, *specs), "canonicalize,cse,simplify-scans,cse,dce")
    unrolled = through(before, "unroll,cse,dce")
    after = through(unrolled, "reroll,cse,dce")
    assert not scans(unrolled)
    assert print_program(after) == print_program(before)
    inputs = [RNG.normal(size=(steps, 2, 3)), RNG.normal(size=(2, 3))]
    for a, b in zip(evaluate_program(after, inputs), evaluate_program(unrolled, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_carries_that_nobody_reads_at_the_end() -> None:
    def f(x: Any, h: Any) -> Any:
        def step(c: Any, r: Any) -> Any:
            state, other = c
            return (nn.tanh(state + r + other), other * 0.5 + r), state * other

        return nv.scan(step, (h, h + 1), x)[1]

    before = through(nv.trace(f, "f64[6,3]", "f64[3]"), "canonicalize,cse,simplify-scans,cse,dce")
    after = through(before, "unroll,cse,dce,reroll,cse,dce")
    assert print_program(after) == print_program(before)


def test_a_loop_over_all_rows_but_the_last_stays() -> None:
    """Its states are no step of a longer loop, unless they are joined as that one's would be."""

    def f(x: Any, w: Any) -> Any:
        h = np.zeros((2, 3))
        for t in range(4):
            h = nn.tanh(h @ w + x[t] @ w)
        return h, x[4] @ w

    program = through(nv.trace(f, "f64[5,2,3]", "f64[3,3]"), "canonicalize,cse,dce")
    assert not scans(through(program, "reroll"))


def test_a_python_loop_over_the_rows_is_found_too_with_what_reads_single_steps() -> None:
    def f(x: Any, w: Any) -> Any:
        h = np.zeros((2, 3))
        states = []
        for t in range(9):
            h = nn.tanh(h @ w + x[t] @ w)
            states.append(h)
        return states[-1], states[4] * 2, x[3]

    program = nv.trace(f, "f64[9,2,3]", "f64[3,3]")
    found = through(program, "canonicalize,cse,dce,reroll,dce")
    (scan,) = scans(found)
    assert len(scan.regions[0].nodes) == 4
    inputs = [RNG.normal(size=(9, 2, 3)), RNG.normal(size=(3, 3))]
    for a, b in zip(evaluate_program(found, inputs), evaluate_program(program, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["weights", "op", "missing"])
def test_what_differs_in_a_step_stays_written_out(kind: str) -> None:
    def f(x: Any, w: Any) -> Any:
        h = np.zeros((2, 3))
        for t in range(5 if kind != "missing" else 4):
            h = h @ (w[t] if kind == "weights" else w[0]) + x[t]
            h = nn.exp(h) if kind == "op" and t == 3 else nn.tanh(h)
        return h

    program = nv.trace(f, "f64[5,2,3]", "f64[5,3,3]")
    found = through(program, "canonicalize,cse,dce,reroll,dce")
    expected = 1 if kind == "weights" else 0
    assert len(scans(found)) == expected, "weights of each step are rows too"
    inputs = [RNG.normal(size=(5, 2, 3)), RNG.normal(size=(5, 3, 3))]
    for a, b in zip(evaluate_program(found, inputs), evaluate_program(program, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_fold_back_on_every_backend() -> None:
    nv.seed(3)
    model = nn.LSTM(4, 5, num_layers=2)
    program = nv.trace(model, "f32[6,2,4]")
    unrolled = through(program, "decompose,canonicalize,cse,unroll{max=6},cse,dce")
    found = through(unrolled, "reroll,dce")
    assert len(scans(found)) == 2
    x = RNG.normal(size=(6, 2, 4)).astype("f4")
    wanted = evaluate_program(program, [x])
    for backend in ("reference", "llvm", "onnx"):
        for a, b in zip(nv.compile(found, backend=backend)(x), wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True, "batch_first": True}],
    ids=str,
)
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_layers_that_were_exported_step_by_step_fold_back(
    layer: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    """Exporters cut the gates out of all steps, and the steps along the second axis; the batch has any size."""
    nv.seed(3)
    model = layer(4, 5, **options)
    program = nv.trace(lambda x: model(x)[0], "f32[B,6,4]" if options else "f32[6,B,4]")
    nv.export_onnx(program, tmp_path / "steps.onnx", loops="unrolled")
    again = nv.import_onnx(tmp_path / "steps.onnx")
    assert not scans(again)
    for passes in ("canonicalize,cse,reroll,dce", "decompose,canonicalize,fold-constants,cse,reroll,dce"):
        found = through(again, passes)
        assert len(scans(found)) == options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        x = RNG.normal(size=(2, 6, 4) if options else (6, 2, 4)).astype("f4")
        for backend in ("reference", "llvm"):
            a, b = nv.compile(found, backend=backend)(x), evaluate_program(program, [x])[0]
            np.testing.assert_allclose(a, b, atol=2e-6)


def cell_by_cell(x: Any, w: Any, u: Any) -> Any:
    """As Keras unrolls: batches first, the inputs' part within the step, the last step or all of them joined along axis 1."""
    h = np.zeros_like(x, shape=(x.shape[0], 4))
    steps = []
    for t in range(5):
        part = x[:, t] @ w + h @ u
        z = nn.sigmoid(part[:, :4])
        h = z * h + (1 - z) * nn.tanh(part[:, 4:])
        steps.append(h)
    return nn.stack(steps, 1)


def test_batches_that_come_first_fold_too() -> None:
    program = nv.trace(cell_by_cell, "f64[B,5,3]", "f64[3,8]", "f64[4,8]")
    found = through(program, "canonicalize,cse,reroll,cse,canonicalize,dce")
    (scan,) = scans(found)
    assert [
        n.op.mnemonic
        for n in found.main.nodes
        if n is not scan and n.op.mnemonic not in ("constant", "broadcast_in_dim")
    ] == ["permute", "permute"]
    inputs = [RNG.normal(size=s) for s in ((2, 5, 3), (3, 8), (4, 8))]
    np.testing.assert_array_equal(evaluate_program(found, inputs)[0], evaluate_program(program, inputs)[0])
    image = nv.trace(lambda x: x[:, 0] + x[:, 1] * x[:, 2, 1:2], "f64[B,3,3]")
    assert str(through(image, "reroll")) == str(image), "where nothing repeats, all stays as it is"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_steps_that_keep_an_axis_of_one_are_joined_by_it_in_either_order(axis: int, turned: bool) -> None:
    """As PyTorch's exporter writes a plain RNN, and the reverse direction over a flipped sequence."""

    def f(x: Any, w: Any) -> Any:
        h = np.zeros((1, 2, 3) if axis == 0 else (2, 1, 3))
        steps = []
        for t in range(5):
            h = nn.tanh(h @ w + (x[t] if axis == 0 else x[t].reshape(2, 1, 3)))
            steps.append(h)
        return np.concatenate(steps[::-1] if turned else steps, axis)

    program = through(nv.trace(f, "f64[5,2,3]", "f64[3,3]"), "canonicalize,cse,dce")
    found = through(program, "reroll,canonicalize,dce")
    (scan,) = scans(found)
    assert len(scan.regions[0].nodes) == 5
    assert not any(n.op.mnemonic in ("concat", "slice") for n in found.main.nodes)
    assert sum(n.op.mnemonic == "reverse" for n in found.main.nodes) == turned
    inputs = [RNG.normal(size=(5, 2, 3)), RNG.normal(size=(3, 3))]
    np.testing.assert_array_equal(evaluate_program(found, inputs)[0], evaluate_program(program, inputs)[0])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("turned", range(4))
def test_products_and_sums_match_in_either_order(turned: int, last: bool) -> None:
    """The zero that the first step begins with goes to the right of a product; others may be written either way."""

    def f(x: Any) -> Any:
        h = np.zeros_like(x, shape=(2, 4))
        steps = []
        for t in range(6):
            a, c = x[:, t, :4], x[:, t, 4:]
            swapped = (turned == 2 and t % 2) or (turned == 3 and t == 4)
            product = h * c if turned != 1 and not swapped else c * h
            h = nn.tanh(product + a if swapped else a + product)
            steps.append(h)
        return h if last else np.stack(steps, 0)

    program = nv.trace(f, "f64[2,6,8]")
    found = through(program, "canonicalize,cse,reroll,dce")
    (scan,) = scans(found)
    assert [n.op.mnemonic for n in scan.regions[0].nodes if n.op.mnemonic != "slice"] == [
        "mul",
        "add",
        "tanh",
    ]
    x = RNG.normal(size=(2, 6, 8))
    np.testing.assert_array_equal(evaluate_program(found, [x])[0], evaluate_program(program, [x])[0])


def test_differences_match_in_their_order_alone() -> None:
    def f(x: Any) -> Any:
        h = np.zeros_like(x, shape=(2, 4))
        for t in range(6):
            h = nn.tanh(x[t] - h if t != 3 else h - x[t])
        return h

    assert not scans(through(nv.trace(f, "f64[6,2,4]"), "canonicalize,cse,reroll,dce"))
