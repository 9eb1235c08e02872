"""Gates of one sequence: each activation runs behind its own product, and no bit knows of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm import contract
from nervure.backends.llvm.kernel_ir import Buffer, Call, Let, Stmt, Var, const
from nervure.backends.llvm.parts import by_part
from nervure.ir.types import f32

CELLS = {
    "lstm": lambda units: nn.LSTM(8, units),
    "peepholes": lambda units: nn.LSTM(8, units, peepholes=True),
    "gru": lambda units: nn.GRU(8, units),
    "both ways": lambda units: nn.LSTM(8, units, bidirectional=True, num_layers=2),
}
A, B, C = sums = [Var(name, f32) for name in "abc"]


def sigmoid(x: Any) -> Call:
    return Call("sigmoid", (x,))


def text(statements: tuple[Stmt, ...]) -> list[Any]:
    return [s.value for s in statements if isinstance(s, Let)]


def test_what_is_called_on_one_sum_alone_is_taken_out() -> None:
    y = Buffer("y", f32, (4,))
    own = sigmoid(A + y[0])
    both = Let(Var("r", f32), own * B + own)
    alone, rest = by_part([both, y.store((1,), both.var * sigmoid(C))], sums)
    assert alone == {0: own, 2: alone[2]}
    product = text(rest)[0]
    assert product.b is A and product.a.a is A and product.a.b is B


@pytest.mark.parametrize(
    "value",
    [sigmoid(A + B), sigmoid(A) * B + sigmoid(A * A), A + const(1.0, f32), A],
    ids=["of two sums", "two of one", "no call", "the sum"],
)
def test_what_is_not_one_call_on_one_sum_stays(value: Any) -> None:
    statement = Let(Var("r", f32), value + B)
    alone, rest = by_part([statement], sums)
    assert alone == {} and rest == (statement,)


def test_what_needs_a_variable_or_what_was_stored_stays() -> None:
    x, y = Buffer("x", f32, (4,)), Buffer("y", f32, (4,))
    t = Let(Var("t", f32), x[0])
    behind = [t, y.store((0,), sigmoid(A + t.var) * B)]
    assert by_part(behind, sums) == ({}, tuple(behind))
    after = [y.store((0,), A + B), y.store((1,), sigmoid(A + y[0]) * B)]
    assert by_part(after, sums) == ({}, tuple(after))
    only = [y.store((0,), C), y.store((1,), sigmoid(A + y[0]) * B)]
    assert by_part(only, sums) == ({}, tuple(only))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("units", [5, 40, 160])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_place_of_activations_changes_no_bit(
    cell: str, units: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nv.seed(0)
    layer = CELLS[cell](units)
    x = np.random.default_rng(1).normal(size=(6, 1, 8)).astype("f4")
    taken: list[int] = []

    def seen(*args: Any) -> Any:
        taken.append(len(by_part(*args)[0]))
        return by_part(*args)

    monkeypatch.setattr(contract, "by_part", seen)
    found = nv.compile(layer, "f32[T,1,8]", threads=threads, cache=False)(x)
    assert max(taken) >= 1
    monkeypatch.setattr(contract, "by_part", lambda epilogue, _: ({}, tuple(epilogue)))
    plain = nv.compile(layer, "f32[T,1,8]", threads=threads, cache=False)(x)
    for a, b in zip(leaves(found), leaves(plain), strict=True):
        assert a.tobytes() == b.tobytes()


def leaves(y: Any) -> list[Any]:
    return [leaf for each in y for leaf in leaves(each)] if isinstance(y, tuple) else [np.asarray(y)]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 8, 64, 255, 256, 1025])
@pytest.mark.parametrize("n", [1, 16, 40, 96])
def test_the_tile_of_one_row_knows_its_lengths(k: int, n: int) -> None:
    rng = np.random.default_rng(k * n)
    w, x = rng.normal(size=(k, n)).astype("f4"), rng.normal(size=(1, k)).astype("f4")
    y = nv.compile(lambda x: x @ nn.Parameter(w, name="w"), f"f32[1,{k}]", cache=False)(x)
    exact = x.astype("f8") @ w.astype("f8")
    assert np.abs(np.asarray(y) - exact).max() <= 4e-7 * (np.abs(x) @ np.abs(w)).max()
