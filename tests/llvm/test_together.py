"""Loops that threads run together: the same bits for any number of them, whoever comes, late or never."""

from __future__ import annotations

import ctypes
import re
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_programs import random_program
from stress import arrays, beside_busy_processes, callers, forks

import nervure as nv
from nervure import nn, optim
from nervure.backends.base import find_backend
from nervure.backends.llvm import emit_steps, together
from nervure.backends.llvm.pool import pool
from nervure.inspect.profile import profile
from nervure.ir.ops.control import Scan
from nervure.passes.manager import run_pipeline
from nervure.runtime.native import NativeProgram
from nervure.runtime.threads import Team

pytestmark = pytest.mark.skipif(pool() is None, reason="this platform has no pool")

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


@pytest.fixture(name="always", params=["together", "beside each other"])
def always_fixture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every loop that can be is run together, or beside another one, whatever it costs."""
    monkeypatch.setattr(together, "MEETING", 0 if request.param == "together" else 1 << 60)
    monkeypatch.setattr(together, "LEAST", 0)
    monkeypatch.setattr(together, "PART", 1 << 40)
    monkeypatch.setattr(emit_steps, "LEAST_WORK", 0)
    return request.param


def same(make: Any, x: tuple[Any, ...], threads: tuple[int, ...] = (2, 3, 4, 8), calls: int = 5) -> Any:
    """The executable of several threads, after it gave what one thread gives."""
    want = arrays(make(1)(*x))
    for count in threads:
        run = make(count)
        for _ in range(calls):
            for got, array in zip(arrays(run(*x)), want, strict=True):
                np.testing.assert_array_equal(got, array)
    return run


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f4")


@pytest.mark.parametrize("batch", [1, 5, 32])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_gives_the_same_bits(kind: str, batch: int) -> None:
    nv.seed(0)
    layer = LAYERS[kind](40, 256)
    run = same(lambda n: nv.compile(layer, f"f32[20,{batch},40]", threads=n), (normal(20, batch, 40),))
    dump = str(run.assembled.program)
    assert " in 20 together {" in dump and ") in shares\n" in dump
    assert "call void @nv_meet" in run.text


def test_sizes_known_at_the_call_decide_there() -> None:
    nv.seed(0)
    layer = nn.LSTM(24, 160, num_layers=2, bidirectional=True)

    def make(n: int) -> Any:
        return nv.compile(layer, "f32[T:0..400,B:1..64,24]", threads=n)

    for t, b in ((0, 3), (1, 1), (7, 33), (90, 1), (3, 64)):
        same(make, (normal(t, b, 24),), (2, 5), 2)


def test_lengths_masks_and_a_block_that_is_computed_again_give_the_same_bits() -> None:
    nv.seed(0)
    layer = nn.GRU(16, 192)
    lengths = np.array([9, 0, 12, 4], np.int64)
    same(
        lambda n: nv.compile(lambda x, lens: layer(x, seq_lens=lens)[0], "f32[12,4,16]", "i64[4]", threads=n),
        (normal(12, 4, 16), lengths),
    )
    weight = normal(256, 256) / 16

    def loss(h: Any, xs: Any, w: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            after = nn.tanh(c @ w + x)
            return after, after

        last, _ = nv.scan(step, h, xs, remat=4)
        return (last * last).sum()

    spec = ("f32[32,256]", "f32[16,32,256]", "f32[256,256]")
    program = nv.grad(nv.trace(loss, *spec))
    run = same(lambda n: nv.compile(program, threads=n), (normal(32, 256), normal(16, 32, 256), weight))
    assert str(run.assembled.program).count(" together {") >= 2


def test_training_gives_the_same_bits() -> None:
    def trained(threads: int) -> dict[str, Any]:
        nv.seed(0)
        model = nn.Sequential(nn.Embedding(30, 30), Last(nn.LSTM(30, 128)), nn.Linear(128, 30))
        program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "i64[15,32]", "i64[32]")
        step = nv.compile(program, threads=threads)
        assert str(step.assembled.program).count(" together {") == 2
        rng = np.random.default_rng(1)
        for _ in range(4):
            step(rng.integers(0, 30, (15, 32)), rng.integers(0, 30, 32))
        return step.state_dict()

    one = trained(1)
    for threads in (2, 4, 8):
        for name, array in trained(threads).items():
            np.testing.assert_array_equal(array, one[name], err_msg=name)


class Last(nn.Module):
    """A recurrent layer's last output."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, x: Any) -> Any:
        return self.layer(x)[0][-1]


def loops() -> Iterator[int]:
    """Seeds of random programs with a loop."""
    for seed in range(1000):
        if any(isinstance(node.op, Scan) for node in random_program(seed)[0].main.nodes):
            yield seed


@pytest.mark.parametrize("count", [12, pytest.param(120, marks=pytest.mark.long)])
def test_random_loops_within_loops_give_the_same_bits(always: str, count: int) -> None:
    shared, backend = 0, find_backend("llvm")
    for seed, _ in zip(loops(), range(count), strict=False):
        program, inputs = random_program(seed)
        store = {name: entry.data.copy() for name, entry in program.store.items() if entry.kind != "derived"}
        legal = run_pipeline(program, backend.pipeline(2), verify=False).program
        found: list[list[Any]] = []
        for threads in (1, 3, 8):
            run: Any = backend.compile(legal, threads=threads, cache=False)
            results = [] if (got := run(*inputs)) is None else arrays(got)
            found.append(results + [program.store[name].data.copy() for name, _ in program.main.updates])
            for name, array in store.items():
                program.store[name].assign(array)
        shared += f" {always} {{" in str(run.assembled.program)
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}")
    assert shared > (count // 3 if always == "together" else 0)


# -- whoever comes ------------------------------------------------------------------------------------------------------


def rnn(threads: int, batch: int = 1) -> tuple[Any, Any]:
    nv.seed(0)
    return nv.compile(nn.RNN(8, 256), f"f32[50,{batch},8]", threads=threads), normal(50, batch, 8)


@pytest.mark.parametrize("team", [2, 5, 200])
@pytest.mark.parametrize("order", ["one after the other", "late", "side by side"])
def test_the_task_gives_the_same_however_it_is_called(team: int, order: str) -> None:
    run, x = rnn(1)
    want = [np.array(a) for a in run(x)]
    never = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)(
        lambda *_: None
    )
    address = ctypes.cast(never, ctypes.c_void_p).value
    entered = 0

    def parallel_for(_: int, task: int, arg: int, n: int) -> None:
        nonlocal entered
        entered += 1
        call = TASK(task)
        ends = [*range(min(n, 4)), n]
        ranges = list(pairwise(ends))
        if order == "one after the other":
            for begin, end in ranges:
                call(arg, begin, end)
            return
        others = [threading.Thread(target=call, args=(arg, *r)) for r in ranges[1:]]
        if order == "late":
            call(arg, *ranges[0])
        for t in others:
            t.start()
        if order == "side by side":
            call(arg, *ranges[0])
        for t in others:
            t.join()

    function = FOR(parallel_for)
    mine = Team(None, team, address)
    loaded = run._native
    program = NativeProgram(
        loaded.address, 0, parallel_for=ctypes.cast(function, ctypes.c_void_p).value or 0, team=mine
    )
    program.prepare([e.data.ctypes.data for e in run._entries] + [c.ctypes.data for c in run._constants])
    got = [np.zeros_like(a) for a in want]
    for _ in range(20):
        program.run([x.ctypes.data], [a.ctypes.data for a in got])
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
            a[...] = 0
    assert entered >= 20


def test_many_callers_at_once() -> None:
    callers(*rnn(3), 12, 40)


@pytest.mark.long
def test_eight_threads_call_five_thousand_times() -> None:
    callers(*rnn(4), 8, 5_000)


def test_beside_busy_processes_nothing_hangs() -> None:
    run, x = rnn(8, 16)
    with beside_busy_processes():
        callers(run, x, 2, 40)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_forks_after_use() -> None:
    forks(*rnn(3), 40)


@pytest.mark.parametrize("threads", [False, True])
def test_a_native_library_gives_the_same_bits(tmp_path: Path, threads: bool) -> None:
    nv.seed(0)
    layer, x = nn.LSTM(12, 128), normal(30, 3, 12)
    nv.build(layer, "f32[30,3,12]", output=tmp_path / "net.so", threads=threads)
    want = arrays(nv.compile(layer, "f32[30,3,12]", threads=1)(x))
    for count in (1, 2, 8) if threads else (None,):
        options = {} if count is None else {"threads": count}
        for got, array in zip(arrays(nv.load_native(tmp_path / "net.so", **options)(x)), want, strict=True):
            np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("kind", LAYERS)
def test_short_loops_of_both_directions_run_beside_each_other(kind: str) -> None:
    nv.seed(0)
    layer = LAYERS[kind](24, 64, num_layers=2, bidirectional=True)
    for spec, shapes in (
        ("f32[64,1,24]", [(64, 1, 24)]),
        ("f32[T:0..99,2,24]", [(0, 2, 24), (1, 2, 24), (99, 2, 24)]),
    ):
        for shape in shapes:
            run = same(lambda n, spec=spec: nv.compile(layer, spec, threads=n), (normal(*shape),))
        dump = str(run.assembled.program)
        assert dump.count("  beside each other {\n    for ") == 2 and " together {" not in dump
    callers(run, normal(90, 2, 24), 6, 50)


def test_a_pair_that_moves_another_loop_to_the_front_leaves_it_once() -> None:
    """Four loops of which some need others, of two lengths: a pair took a step twice that an earlier pair had moved."""
    nv.seed(0)
    layer = nn.GRU(5, 6, bidirectional=True, remat=3)

    def loss(x: Any) -> Any:
        y, h = layer(x)
        return (y * y).sum() + (h * h).sum()

    program = nv.grad(nv.trace(loss, "f32[11,3,5]"))
    x = normal(11, 3, 5)
    run = same(lambda n: nv.compile(program, threads=n), (x,), (2, 4))
    want = nv.compile(program, backend="reference")(x)
    np.testing.assert_allclose(run(x), want, rtol=1e-4, atol=1e-5)
    for _, once in kernel_loops(run):
        assert once == 1


def kernel_loops(run: Any) -> list[tuple[str, int]]:
    """Each loop of a program by its symbol, and how often it stands there."""
    names = re.findall(r"for (t\.\d+) in", str(run.assembled.program))
    return list(Counter(names).items())


def test_loops_that_wait_for_each_other_or_share_what_one_writes_do_not() -> None:
    nv.seed(0)
    run = nv.compile(nn.LSTM(24, 64, num_layers=3), "f32[64,1,24]", cache=False)
    assert "beside" not in str(run.assembled.program)


def test_the_profile_counts_loops_beside_each_other() -> None:
    run = nv.compile(nn.LSTM(24, 64, bidirectional=True), "f32[64,1,24]", cache=False)
    found = profile(run, [normal(64, 1, 24)], 5)
    assert any("beside of loop of" in row.kernel for row in found.rows)


def test_small_steps_stay_on_one_thread() -> None:
    run = nv.compile(nn.LSTM(8, 16), "f32[50,1,8]", cache=False)
    assert " together {" not in str(run.assembled.program)
    assert "@nv_meet" not in run.text
