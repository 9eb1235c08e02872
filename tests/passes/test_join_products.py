"""join-products: which products in front of a loop it takes in, what it says, and that the values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.interpret import evaluate_program
from nervure.ir.program import Program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(5)
BEFORE = "share-scans,inline,canonicalize,cse,dce,simplify-scans,hoist,decompose,canonicalize,cse,dce"
NOTHING_NEAR = ",join-products{near=0,far=0},canonicalize,cse,dce"
"""As if no cache held anything, so that small loops do what large ones do."""


def joined(program: Program, *inputs: Any) -> tuple[Program, str]:
    """The program behind the pass, which computes what it did before, and what the pass said."""
    result = run_pipeline(program, Pipeline.parse(BEFORE + NOTHING_NEAR))
    for a, b in zip(
        evaluate_program(result.program, list(inputs)), evaluate_program(program, list(inputs)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    return result.program, " ".join(result.notes)


def products(program: Program) -> list[list[int]]:
    """How many products each loop holds, and how many there are outside."""
    loops = [n for n in program.main.nodes if n.op.mnemonic == "scan"]
    inside = [sum(n.op.mnemonic == "dot_general" for n in s.regions[0].nodes) for s in loops]
    return [inside, [sum(n.op.mnemonic == "dot_general" for n in program.main.nodes)]]


def x_of(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("f4")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize(
    ("options", "loops"),
    [({}, 1), ({"bidirectional": True}, 2), ({"num_layers": 2}, 2), ({"bias": False}, 1)],
)
def test_a_recurrent_layer_of_many_rows_has_one_product_a_step(kind: Any, options: Any, loops: int) -> None:
    program, said = joined(nv.trace(kind(8, 16, **options), "f32[T,32,8]"), x_of(5, 32, 8))
    assert products(program) == [[1] * loops, [0]]
    assert said.count("one product in the loop") == loops


def test_lengths_of_rows_are_kept() -> None:
    layer = nn.LSTM(8, 16)
    program = nv.trace(lambda x, n: layer(x, seq_lens=n), "f32[T,32,8]", "i64[32]")
    found, _ = joined(program, x_of(5, 32, 8), RNG.integers(0, 6, 32))
    assert products(found) == [[1], [0]]


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_matrices_may_lie_either_way(turned: tuple[bool, bool]) -> None:
    w, r = RNG.normal(size=(8, 24)).astype("f4"), RNG.normal(size=(24, 24)).astype("f4")
    w, r = (
        nn.Parameter(m.T.copy() if t else m, name=n) for m, t, n in zip((w, r), turned, "wr", strict=True)
    )

    def f(x: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            h = nn.tanh((row @ w.T if turned[0] else row @ w) + (h @ r.T if turned[1] else h @ r))
            return h, h

        return nv.scan(step, np.zeros((32, 24), "f4"), x, reverse=turned[0])

    program, _ = joined(nv.trace(f, "f32[T:0..9,32,8]"), x_of(4, 32, 8))
    assert products(program) == [[1], [0]]
    for a, b in zip(
        *(evaluate_program(p, [x_of(0, 32, 8)]) for p in (program, nv.trace(f, "f32[T:0..9,32,8]"))),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("f", "spec"),
    [
        (nn.GRU(8, 16), "f32[T,32,8]"),  # the reset gate stands between the two products
        (nn.LSTM(8, 16), "f32[T,8,8]"),  # few rows: the product in front reads W once
        (nn.LSTM(8, 16), "f32[T,N,8]"),  # who knows
    ],
)
def test_others_keep_the_product_in_front(f: Any, spec: str) -> None:
    program = run_pipeline(nv.trace(f, spec), Pipeline.parse(BEFORE + NOTHING_NEAR)).program
    assert products(program)[1] == [1]


def test_a_product_that_is_read_twice_stays() -> None:
    layer = nn.RNN(8, 16)

    def f(x: Any) -> Any:
        y = x @ layer.weight_ih_l0.T
        step = lambda h, row: (nn.tanh(row + h @ layer.weight_hh_l0.T), None)  # noqa: E731
        return nv.scan(step, np.zeros((32, 16), "f4"), y)[0], y

    program, _ = joined(nv.trace(f, "f32[T,32,8]"), x_of(5, 32, 8))
    assert products(program) == [[1], [1]]


def test_it_says_what_it_would_save_where_that_is_too_little() -> None:
    program = nv.trace(nn.RNN(64, 512), "f32[64,32,64]")
    result = run_pipeline(program, Pipeline.parse(BEFORE + ",join-products"))
    assert products(result.program)[1] == [1]
    assert any("join-products" in note and "refused: saves" in note for note in result.notes)
    small = run_pipeline(nv.trace(nn.LSTM(8, 16), "f32[9,32,8]"), Pipeline.parse(BEFORE + ",join-products"))
    assert products(small.program)[1] == [1]


def test_training_steps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.LSTM(8, 16), nn.Linear(16, 3)

        def __call__(self, x: Any) -> Any:
            return self.head(self.layer(x)[0][-1])

    x, y = x_of(6, 32, 8), RNG.integers(0, 3, 32)
    losses: list[list[float]] = []
    for pipeline in (BEFORE, BEFORE + NOTHING_NEAR):
        nv.seed(3)
        program = nv.training_step(Last(), nn.cross_entropy, optim.SGD(lr=0.1), "f32[6,32,8]", "i64[32]")
        program = run_pipeline(program, Pipeline.parse(pipeline)).program
        run = nv.compile(program, backend="reference", opt=0)
        losses.append([float(run(x, y)) for _ in range(5)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_the_llvm_backend_takes_it_in_and_no_thread_changes_a_bit() -> None:
    nv.seed(0)
    layer = nn.LSTM(64, 256, batch_first=True)
    x = x_of(32, 40, 64)
    runs = [nv.compile(layer, "f32[32,T,64]", threads=n, cache=False) for n in (1, 2)]
    a, b = (run(x)[0] for run in runs)
    assert a.tobytes() == b.tobytes()
    assert any("one product in the loop" in note for note in runs[0].notes)
    (wanted,) = nv.compile(layer, "f32[32,T,64]", backend="reference")(x)[:1]
    np.testing.assert_allclose(a, wanted, rtol=1e-4, atol=1e-5)
