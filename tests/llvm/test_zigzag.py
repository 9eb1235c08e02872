"""Products of a loop read what stays of step to step to and fro: which ones do, and that no bit knows of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.kernel_ir import Buffer, Cast, For, Kernel, Var
from nervure.backends.llvm.lower import control
from nervure.ir.dims import symbol
from nervure.ir.types import f32

N, BACK = symbol("N", 0, 4096), symbol("back", 0, 1)
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("extent", [N, 7, 1])
@pytest.mark.parametrize("back", [0, 1])
def test_a_parallel_loop_runs_last_first_where_it_is_told_to(compiled: Any, extent: Any, back: int) -> None:
    i, j, y = Var("i"), Var("j"), Buffer("y", f32, (2,))
    inner = For(j, 3, (y.store((0,), Cast(i * 3 + j, f32)), y.store((1,), y[0])), "parallel", back=BACK)
    run = compiled(Kernel("k", (y,), (For(i, extent, (inner,), "parallel", back=BACK),)))
    out, n = np.zeros(2, "f4"), extent if isinstance(extent, int) else 7
    run(out, N=n, back=back)
    assert out[1] == (0 if back else 3 * n - 1)


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_weights_beyond_the_first_cache_are_read_to_and_fro(kind: str) -> None:
    run = nv.compile(LAYERS[kind](8, 128), "f32[T,N,8]", cache=False)
    assert " back t.odd {" in str(run.assembled.program)
    assert " t.odd=mod(t." in str(run.assembled.program)


def test_small_weights_and_those_of_one_step_are_read_as_they_lie() -> None:
    assert " back " not in str(nv.compile(nn.LSTM(8, 16), "f32[T,N,8]", cache=False).assembled.program)
    layers = nn.Parameter(np.zeros((4, 128, 128), "f4"), name="layers")
    run = nv.compile(
        lambda x: nv.scan(lambda c, w: (nn.tanh(c @ w), None), x, layers)[0], "f32[3,128]", cache=False
    )
    assert " back " not in str(run.assembled.program)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_blocks_changes_no_bit(kind: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    nv.seed(0)
    layer = LAYERS[kind](8, 160, bidirectional=True)
    x = np.random.default_rng(1).normal(size=(7, 40, 8)).astype("f4")
    found = nv.compile(layer, "f32[T,N,8]", threads=threads, cache=False)(x)
    monkeypatch.setattr(control, "zigzag", lambda steps, *_: steps)  # pyright: ignore[reportUnknownLambdaType]
    plain = nv.compile(layer, "f32[T,N,8]", threads=1, cache=False)(x)
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (found, plain)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
