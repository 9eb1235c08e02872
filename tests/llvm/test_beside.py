"""A carry that a loop's next step reads beside other rows alone is written there; what cannot be is copied there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn

RNG = np.random.default_rng(7)
T, N, X, H = 5, 6, 7, 24

W = RNG.standard_normal((X + H, H)).astype("f4") / 6


def rnn(h: Any, x: Any) -> tuple[Any, Any]:
    y = nn.tanh(np.concatenate([x, h], 1) @ W)
    return y, y


def carry_first(h: Any, x: Any) -> tuple[Any, Any]:
    y = nn.tanh(np.concatenate([h, x], 1) @ W)
    return y, y * 2.0


def read_twice(h: Any, x: Any) -> tuple[Any, Any]:
    y = nn.tanh(np.concatenate([x, h], 1) @ W) + h
    return y, y


def turned(h: Any, x: Any) -> tuple[Any, Any]:
    """The next carry is no kernel's result: its halves change places."""
    y = nn.tanh(np.concatenate([x, h], 1) @ W)
    return np.concatenate([y[:, H // 2 :], y[:, : H // 2]], 1), y


def used_again(h: Any, x: Any) -> tuple[Any, Any]:
    """The next carry is read within its own step."""
    y = nn.tanh(np.concatenate([x, h], 1) @ W)
    return y, nn.softmax(y @ W[:H], -1)


def constant(h: Any, x: Any) -> tuple[Any, Any]:
    y = np.concatenate([x, h], 1) @ W
    return np.ones((N, H), "f4"), y


def rows(h: Any, x: Any) -> tuple[Any, Any]:
    """The next carry is made of the rows alone."""
    y = np.concatenate([x, h], 1) @ W
    return np.concatenate([x, x, x, x[:, :3]], 1), y


STEPS = [rnn, carry_first, read_twice, turned, used_again, constant, rows]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("reverse", [False, True])
def test_values_are_those_of_the_reference(step: Callable[..., Any], reverse: bool) -> None:
    def model(x: Any, h: Any) -> Any:
        last, ys = nv.scan(step, h, x, reverse=reverse)
        return ys, last

    for spec, length in ((f"f32[{T},{N},{X}]", T), (f"f32[T,{N},{X}]", 4), (f"f32[0,{N},{X}]", 0)):
        x = RNG.standard_normal((length, N, X)).astype("f4")
        h = RNG.standard_normal((N, H)).astype("f4")
        wanted = nv.compile(model, spec, f"f32[{N},{H}]", backend="reference")(x, h)
        for threads in (1, 2):
            found = nv.compile(model, spec, f"f32[{N},{H}]", threads=threads)(x, h)
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_carry_of_a_plain_recurrence_is_not_copied() -> None:
    def model(x: Any, h: Any) -> Any:
        return nv.scan(rnn, h, x)[1]

    run = nv.compile(model, f"f32[{T},{N},{X}]", f"f32[{N},{H}]")
    program = str(run.assembled.program)  # pyright: ignore[reportAttributeAccessIssue]
    assert f"f32[{N},{H}] strides [{X + H},1]" in program
    loop = program.split("for t.")[1].split("}")[0]
    assert loop.count("_map(") == 1, loop  # x[t]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("threads", [1, 2])
def test_layers_of_many_rows_agree_with_those_of_few(kind: Any, threads: int) -> None:
    """At 32 rows the inputs' product is taken into the loop; at 2 it stays in front."""
    nv.seed(3)
    layer = kind(64, 256)
    x = RNG.standard_normal((64, 32, 64)).astype("f4")
    many, few = nv.compile(layer, "f32[64,32,64]", threads=threads), nv.compile(layer, "f32[64,2,64]")

    def flat(result: Any) -> list[Any]:
        found: list[Any] = []
        for r in result if isinstance(result, tuple) else (result,):
            found += flat(r) if isinstance(r, tuple) else [r]
        return found

    for a, b in zip(flat(many(x)), flat(few(x[:, 4:6])), strict=True):
        np.testing.assert_allclose(a[..., 4:6, :], b, rtol=1e-4, atol=1e-5)
